"""What is wrong before the first step, by the run's own declaration. Letters: R rows (declared phases), T declarations.

Case E of the requirements: 22.5 million parameters for a few thousand windows, and a split by index that let
validation data from before the end of training into both parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.streams import Stream

OVERLAP = Threshold(
    "split_overlap_limit", 0.0, "Share of a part's declared time range that may lie within the training range."
)
CAPACITY = Threshold("over_capacity_limit", 1000.0, "Parameters per training sample above which capacity is remarked.")


def _describe_leakage(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"The declared time range of {facts.phase} no longer lies within that of the training data."
    return (
        f"{facts.readings['split_overlap_ratio']:.1%} of the declared time range of {facts.phase} lies within that of "
        "the training data: scores will be too good. Split by time, the training data first."
    )


def _describe_capacity(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"The model no longer has too many parameters for the samples of phase {facts.phase}."
    return (
        f"The model has {facts.readings['parameters_per_sample']:,.0f} parameters for each sample of "
        f"phase {facts.phase}: it can learn them by heart. Watch the gap to validation; a "
        "smaller model, more data or regularisation help."
    )


def _describe_precision(facts: Facts) -> str:
    if facts.state == "resolved":
        return f"Phase {facts.phase} now declares the number format of the training phase."
    return (
        f"Phase {facts.phase} declares another number format than the training phase: compare their losses with "
        "care, small differences may be rounding. Evaluate in the format that was trained in, or in both."
    )


LEAKAGE = Kind(
    "split_leakage", "critical", "split_overlap_ratio", OVERLAP.name, 1, 1, _describe_leakage, conditional=True
)
OVER_CAPACITY = Kind(
    "over_capacity", "info", "parameters_per_sample", CAPACITY.name, 1, 1, _describe_capacity, conditional=True
)
PRECISION = Kind("precision_mismatch", "info", "precision_differs", None, 1, 1, _describe_precision, conditional=True)


@dataclass(frozen=True, slots=True)
class Declaration:
    """Judged at once: a declaration is a fact. Unknown where the run does not declare what it takes."""

    name: str = "declaration"
    stream: Stream = "declaration"
    thresholds: tuple[Threshold, ...] = (OVERLAP, CAPACITY)
    kinds: tuple[Kind, ...] = (LEAKAGE, OVER_CAPACITY, PRECISION)
    readings: tuple[Reading, ...] = (
        Reading("split_overlap_ratio", "Share of a part's declared time range that lies within the training range."),
        Reading("parameters_per_sample", "Declared parameters by declared training samples."),
        Reading("precision_differs", "1 where a phase declares another number format than training.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Nothing to remember."""
        del rows, slots, like
        return {}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values = block.values
        readings = {
            "split_overlap_ratio": values["overlap"],
            "parameters_per_sample": torch.where(
                values["samples"] > 0, values["parameters"] / values["samples"], torch.nan
            ),
            "precision_differs": values["precision_differs"],
        }
        limits = {
            "split_leakage": ("split_overlap_ratio", thresholds[OVERLAP.name][:, None]),
            "over_capacity": ("parameters_per_sample", thresholds[CAPACITY.name][:, None]),
            "precision_mismatch": ("precision_differs", torch.zeros_like(values["overlap"])),
        }
        verdicts = {}
        for kind, (name, limit) in limits.items():
            known = block.mask & readings[name].isfinite()
            verdicts[kind] = verdict_of(known, readings[name] > limit)
        return Output(dict(state), readings, verdicts)


def overlap(part: tuple[float, float], training: tuple[float, float]) -> float:
    """Share of a time range that lies within another one; a single moment is in or out; NaN where an end is no time.

    >>> overlap((1710000001, 1712000000), (1700000000, 1710000000))
    0.0
    >>> overlap((8.0, 12.0), (0.0, 10.0))
    0.5
    """
    if not all(map(math.isfinite, (*part, *training))):
        return math.nan
    first, final = sorted(part)
    begin, end = sorted(training)
    if final <= first:
        return float(begin <= first <= end)
    return max(0.0, min(final, end) - max(first, begin)) / (final - first)
