"""A total that rises, and stays, far above its own best. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import ROLES, Advice, Facts, Kind, Reading, Threshold
from detectors.series.past import ROOM, Past

RISE: Final = Threshold("divergence_rise", 1.0, "Rise of the total above its best, relative, that counts as divergence.")
SCALES: Final = 12.0
"""Standard deviations above the best: more than a total whose noise grows with it can reach, such as a value loss."""
LOST: Final = 0.5
"""Part of what the run had gained that has to be lost."""
FROM: Final = 16

READINGS: Final = (
    Reading("divergence_ratio", "Recent total above its best, relative to the best.", roles=("total",)),
    Reading("divergence_best", "The total's best recent mean.", exported=False),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "total"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is no longer far above its best, at step {facts.step}."
    now = facts.readings
    return (
        f"{name} ({facts.phase}) rose to {1 + now['divergence_ratio']:.1f} times its best of {now['divergence_best']:.4g} "
        f"and does not come back, since step {facts.began}. Stop, and go on from a checkpoint before that step with a "
        "lower learning rate."
    )


def _advise(facts: Facts) -> Advice | None:
    return None if facts.state == "resolved" else Advice("stop")


DIVERGENCE: Final = Kind(
    "divergence",
    "critical",
    value="divergence_ratio",
    threshold=RISE.name,
    confirm=8,
    release=20,
    describe=_describe,
    advise=_advise,
    evidence=("divergence_ratio", "divergence_best"),
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    higher = past.fast - past.best
    ratio = higher / past.size(past.best)
    bad = ratio > thresholds[RISE.name][:, None]
    bad &= higher > SCALES * ROOM * past.noise * past.wander
    bad &= higher > LOST * (past.start - past.best)
    bad &= past.level >= past.fast - past.noise * past.wander  # a restart of the learning rate comes back down
    known = (past.number >= FROM) & (past.role == ROLES.index("total"))
    readings = {
        "divergence_ratio": torch.where(known, ratio, torch.nan),
        "divergence_best": torch.where(known, past.best, torch.nan),
    }
    return readings, bad, known
