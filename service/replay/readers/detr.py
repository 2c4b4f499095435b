"""``log.txt`` of DETR and its descendants: an object per epoch; parts are weighted, and there again without weight."""

from __future__ import annotations

from typing import Any, Final

from service.replay.jsonlines import Row, reader
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme

COCO: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""What the numbers of a COCO evaluation are."""


def prepare(row: dict[str, Any]) -> Row:
    """Lists of COCO results as one number each."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list) and len(value) <= len(COCO):
            out |= {f"{name}/{part}": one for part, one in zip(COCO, value, strict=False)}
        else:
            out[name] = value
    return out


FORMAT: Final = Format(
    "detr",
    "DETR log.txt",
    detect=lambda head: "epoch" in head.keys and {"train_lr", "train_loss"} <= head.keys,
    read=reader(prepare),
    scheme=Scheme(
        steps=("epoch",),
        rules=(
            rule(r"n_parameters|epoch", "left out", "not about the model's course"),
            rule(r"(?:train|test)_.*_\d+_unscaled", "left out", "a part of an intermediate layer without its weight"),
            rule(r"(?:train|test)_(?:loss|class_error).*_unscaled", "left out", "the same without its weight"),
            rule(r"test_loss", "total", "the total of the evaluation after each epoch", "total", "val"),
            rule(r"test_(loss_.+)", "component", "a part of the evaluation's total", r"\1", "val"),
            rule(r"test_(?:coco_eval_)?(.+?)(?:_unscaled)?", "metric", "a result of the evaluation", r"\1", "val"),
        ),
        sums=True,
    ),
)
