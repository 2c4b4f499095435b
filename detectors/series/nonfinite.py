"""NaN and infinities in a reported series. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import UNKNOWN, Block, Output, State
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.streams import Stream


def _describe(facts: Facts) -> str:
    name = facts.subject or "value"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is finite again since step {facts.step}."
    value = facts.readings["value"]
    if facts.role == "reading":
        what = "Embeddings" if name.startswith("embedding") else "Predictions"
        return (
            f"{what} of phase {facts.phase} are not finite at step {facts.began} ({name} is {value}): an input or a "
            "weight of the model is not. If it is a weight, restart from a checkpoint before that step."
        )
    became = f"{name} ({facts.phase}) became {value} at step {facts.began}"
    if facts.role in {"metric", "slice"}:
        return (
            f"{became}: this is a metric, the weights may be sound. Look whether the loss and the predictions are "
            "finite; do not report a metric where it is undefined, as of a class without samples."
        )
    return (
        f"{became}: every weight that a non-finite loss was propagated to is lost; restart from a checkpoint before "
        "that step."
    )


NON_FINITE = Kind("non_finite", "critical", value="value", threshold=None, confirm=1, release=10, describe=_describe)


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Fires at once on NaN or an infinity; resolved after 10 finite values in a row.

    A value that was not reported is not NaN: such steps are not in the series at all.
    """

    name: str = "non_finite"
    stream: Stream = "series"
    thresholds: tuple[Threshold, ...] = ()
    kinds: tuple[Kind, ...] = (NON_FINITE,)
    readings: tuple[Reading, ...] = (
        Reading("value", "The series' value.", exported=False),
        Reading("metric_value", "A metric as the job reported it.", roles=("metric", "slice")),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Nothing to remember."""
        del rows, slots, like
        return {}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        del thresholds
        value = block.values["value"]
        bad = (~value.isfinite()).to(torch.int8)
        verdict = torch.where(block.mask, bad, UNKNOWN).to(torch.int8)
        return Output(dict(state), {"value": value, "metric_value": value}, {"non_finite": verdict})
