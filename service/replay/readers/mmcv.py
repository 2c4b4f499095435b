"""``*.log.json`` of MMCV: the iteration counts within the epoch, evaluations have ``"mode": "val"``."""

from __future__ import annotations

from typing import Any, Final

from service.replay.jsonlines import Row, reader
from service.replay.readers.format import Format
from service.replay.scheme import Scheme
from service.replay.steps import EpochAndBatch

OF_TRAINING: Final = frozenset({"mode", "epoch", "iter", "lr"})


def prepare(row: dict[str, Any]) -> Row | None:
    """A row of an evaluation under its phase; its iteration counts batches of the evaluation."""
    mode = row.pop("mode", None)
    if mode == "train":
        return row
    if mode in ("val", "test"):
        return {f"{mode}/{name}": value for name, value in row.items() if name not in OF_TRAINING}
    return None


FORMAT: Final = Format(
    "mmcv",
    "MMCV .log.json",
    detect=lambda head: {"mode", "epoch", "iter"} <= head.keys,
    read=reader(prepare),
    scheme=Scheme(measured={"train": "mean_since_last"}, sums=True),
    stepper=lambda first: EpochAndBatch("epoch", "iter"),
)
