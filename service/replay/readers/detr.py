"""``log.txt`` of DETR and its descendants: an object per epoch; parts are weighted, and there again without weight."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import numpy as np

from service.replay.columns import Columns
from service.replay.jsonlines import Row, reader
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme
from service.replay.weights import Weights

COCO: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""What the numbers of a COCO evaluation are."""
PART: Final = re.compile(r"(?:train|test)_(loss_.+)(?<!_unscaled)")
"""The columns of the weighted parts."""
EXACT: Final = 1e-3
"""Relative difference of a part and its weighted twin: a mean over the epoch is printed in full."""
WITHOUT: Final = "a part of the total without its weight, which is declared"


def prepare(row: dict[str, Any]) -> Row:
    """Lists of COCO results as one number each."""
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, list) and len(value) <= len(COCO):
            out |= {f"{name}/{part}": one for part, one in zip(COCO, value, strict=False)}
        else:
            out[name] = value
    return out


def weighed(scheme: Scheme, first: Columns, weights: Weights) -> tuple[Scheme, str]:
    """The scheme with the parts as they are without their weights, which are declared instead; and a sentence on it.

    Only where the weights make of every part what the log holds of it.
    """
    unused = f"the weights of {weights.source} are not used"
    found: dict[str, float] = {}
    for name, column in first.values.items():
        if (part := PART.fullmatch(name)) is None:
            continue
        weight, raw = weights.of(part[1]), first.values.get(f"{name}_unscaled")
        if weight is None:
            return scheme, f"{unused}: {part[1]} has none there"
        if raw is None:
            return scheme, f"{unused}: the log has {name} with its weight alone"
        if not np.allclose(column, weight * raw, rtol=EXACT, atol=0.0, equal_nan=True):
            return scheme, f"{unused}: that of {part[1]} is not {weight:g} in the log"
        found[part[1]] = weight
    if not found:
        return scheme, f"{unused}: the log has no parts"
    parts = "|".join(map(re.escape, sorted(found, key=len, reverse=True)))
    own = (
        rule(rf"(?:train|test)_(?:{parts})", "left out", "the same with its weight"),
        rule(rf"train_({parts})_unscaled", "component", WITHOUT, r"\1", "train"),
        rule(rf"test_({parts})_unscaled", "component", WITHOUT, r"\1", "val"),
    )
    told = ", ".join(f"{name} {weight:g}" for name, weight in weights.by_loss.items())
    return replace(scheme, rules=(*own, *scheme.rules), weights=found), f"weights from {weights.source}: {told}"


FORMAT: Final = Format(
    "detr",
    "DETR log.txt",
    detect=lambda head: "epoch" in head.keys and {"train_lr", "train_loss"} <= head.keys,
    read=reader(prepare),
    weighed=weighed,
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
