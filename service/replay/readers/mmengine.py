"""``scalars.json`` and ``vis_data/*.json`` of MMEngine: evaluations are rows without a loss, at an epoch or a step."""

from __future__ import annotations

from typing import Any, Final

from service.replay.jsonlines import Row, reader
from service.replay.readers.format import Format
from service.replay.scheme import Scheme
from service.replay.steps import StepColumn


def prepare(row: dict[str, Any]) -> Row:
    """A row of an evaluation under its phase."""
    if "lr" in row or "epoch" in row or any("loss" in name for name in row):
        return row
    return {name if name == "step" else f"val/{name}": value for name, value in row.items()}


FORMAT: Final = Format(
    "mmengine",
    "MMEngine scalars.json",
    detect=lambda head: {"step", "time", "data_time"} <= head.keys,
    read=reader(prepare),
    scheme=Scheme(measured={"train": "mean_since_last"}, sums=True),
    stepper=lambda first: StepColumn("step", " (an evaluation whose step is its epoch is put at the last of training)"),
)
