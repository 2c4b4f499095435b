"""A total that has learned little and learns no more. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import decay_of
from detectors.series.past import SLOW, Past
from detectors.streams import ROLES

IMPROVEMENT: Final = Threshold(
    "plateau_improvement",
    0.01,
    "Improvement of the total over half of the run, relative, below which it learns no more.",
)
LEARNED: Final = 0.3
"""Part of the first values by which a total has to have fallen to count as converged, and no longer as stuck."""
SCALES: Final = 3.0
"""Standard deviations from which a smaller improvement counts all the same."""
SEEN: Final = 0.05
"""An improvement by this much has to be visible: no plateau is claimed of a total that is too noisy for it."""
SPREAD: Final = (2 * (1 - decay_of(SLOW)) / (1 + decay_of(SLOW))) ** 0.5
"""Standard deviation of the difference of two independent slow means, in noise scales."""

READINGS: Final = (
    Reading(
        "total_improvement_ratio", "Improvement of the total since a half to a quarter of its steps.", roles=("total",)
    ),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "total"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) improves again, or got far enough, at step {facts.step}."
    gained = facts.readings["total_improvement_ratio"]
    return (
        f"{name} ({facts.phase}) improved by {gained:.1%} in more than half of the run, and by little before, at step "
        f"{facts.began}. If it is at the value of guessing, check the labels, the learning rate and that gradients "
        "arrive; else it may be all there is to learn."
    )


PLATEAU: Final = Kind(
    "plateau",
    "info",
    value="total_improvement_ratio",
    threshold=IMPROVEMENT.name,
    confirm=16,
    release=48,
    describe=_describe,
    roles=("total",),
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    fall = past.anchor - past.slow
    ratio = fall / past.size(past.anchor)
    unseen = SCALES * SPREAD * past.noise * past.wander
    bad = (ratio < thresholds[IMPROVEMENT.name][:, None]) & (ratio > -SEEN) & (fall < unseen)
    bad &= past.start - past.slow < LEARNED * past.start.abs()
    bad &= unseen < SEEN * past.anchor.abs()
    known = past.anchor.isfinite() & (past.role == ROLES.index("total"))
    return {"total_improvement_ratio": ratio}, bad, known
