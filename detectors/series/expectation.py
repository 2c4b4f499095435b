"""A series outside the band in which the job declared to expect it. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.streams import Stream


def _describe(facts: Facts) -> str:
    name, now = facts.subject or "value", facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is within what the job expects of it again, at step {facts.step}."
    outside = now["expectation_excess"]
    side, bound = ("below", now["expectation_low"]) if outside < 0 else ("above", now["expectation_high"])
    return (
        f"{name} ({facts.phase}) is {now['value']:.4g}, {abs(outside):.4g} {side} the {bound:.4g} that the job "
        f"expects by now, since step {facts.began}. Look at this term before the total hides it, "
        "or declare another band."
    )


EXPECTATION_MISSED = Kind(
    "expectation_missed",
    "warning",
    value="expectation_excess",
    threshold=None,
    confirm=3,
    release=3,
    describe=_describe,
    evidence=("value", "expectation_excess", "expectation_low", "expectation_high"),
    conditional=True,
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Compares series of all roles with the declared band; unknown where none is declared.

    A bound may be missing: a band that is open on that side. Case C of the requirements: a contrastive loss that was to
    be 0.6 by epoch 10 and stood at 0.599 by the end, beside three terms of 0.00005.
    """

    name: str = "expectation"
    stream: Stream = "series"
    thresholds: tuple[Threshold, ...] = ()
    kinds: tuple[Kind, ...] = (EXPECTATION_MISSED,)
    readings: tuple[Reading, ...] = (
        Reading("expectation_excess", "How far a series is above (or, negative, below) its declared band; 0 inside."),
        Reading("expectation_low", "Lower bound of the declared band.", exported=False),
        Reading("expectation_high", "Upper bound of the declared band.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Nothing to remember."""
        del rows, slots, like
        return {}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        del thresholds
        value, low, high = (block.values[name] for name in ("value", "low", "high"))
        above, below = value - high, low - value
        known = block.mask & value.isfinite() & ~(above.isnan() & below.isnan())
        outside = torch.where(below > 0, -below, above.clamp(min=0).nan_to_num())
        excess = torch.where(known, outside, torch.nan)
        verdict = verdict_of(known, outside != 0)
        return Output(
            dict(state),
            {"expectation_excess": excess, "expectation_low": low, "expectation_high": high},
            {"expectation_missed": verdict},
        )
