"""Values that jump from side to side, further and further. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.series.past import Past
from detectors.streams import ROLES

ALTERNATION: Final = Threshold(
    "oscillation_alternation", 0.85, "Regularity of jumps to the other side (0.5 is noise, 1 is every time)."
)
SWING: Final = 0.1
"""Size of the jumps relative to the level from which they matter."""
GROWTH: Final = 1.5
"""Growth of the jumps over their calmest: a job that reports two kinds of batches in turn alternates from the start."""
FROM: Final = 24

READINGS: Final = (
    Reading("alternation_ratio", "Regularity of jumps from side to side: 0.5 is noise, 1 is every time."),
    Reading("oscillation_swing_ratio", "Size of the jumps, relative to the level.", exported=False),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "value"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) no longer jumps from side to side at step {facts.step}."
    swing = facts.readings["oscillation_swing_ratio"]
    return (
        f"{name} ({facts.phase}) jumps from side to side at nearly every step, by {swing:.0%} of its level and more "
        f"than before, since step {facts.began}. That is what a learning rate beyond the edge of stability looks "
        "like: lower it, or raise the batch size."
    )


OSCILLATION: Final = Kind(
    "oscillation",
    "warning",
    value="alternation_ratio",
    threshold=ALTERNATION.name,
    confirm=5,
    release=20,
    describe=_describe,
    evidence=("alternation_ratio", "oscillation_swing_ratio"),
    roles=("total", "component"),
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    swing = past.noise * 2**0.5 / past.size(past.slow)  # root mean square of a jump
    bad = past.alternation > thresholds[ALTERNATION.name][:, None]
    bad &= (swing > SWING) & (past.noise > GROWTH * past.calm)
    known = (past.number >= FROM) & (past.role <= ROLES.index("component"))
    return {"alternation_ratio": past.alternation, "oscillation_swing_ratio": swing}, bad, known
