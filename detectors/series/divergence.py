"""A total that rises, and stays, far above its own best. Letters: R rows (series), T steps.

Where a phase reports no total, its components are judged, each for itself. From the first total on they are good,
whatever they do, so that what was found in one of them is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Final

import torch
from torch import Tensor

from detectors.kinds import Advice, Facts, Kind, Reading, Threshold
from detectors.series.past import ROOM, Past
from detectors.streams import ROLES

RISE: Final = Threshold(
    "divergence_rise", 1.0, "Rise of the total above its best, relative, that counts as divergence."
)
SCALES: Final = 12.0
"""Standard deviations that the recent mean has to be above the best."""
LOG_SCALES: Final = 8.0
"""Noise that multiplies: and so many of its scales in the logarithm. Value losses grow with the rewards, fivefold at a
noise of 30 %, and nothing is wrong with them."""
CLEAR: Final = 4.0
"""And so many of the noise that there is now, by the estimate that a jump matters less to: no divergence is claimed of
a total whose noise is 25 % of it."""
SMALL: Final = 0.1
"""Part of where the run began below which a best is not told from zero."""
LOST: Final = 0.3
"""Part of what the run had gained that has to be lost."""
FROM: Final = 16

READINGS: Final = (
    Reading("divergence_ratio", "Recent total above its best, relative to the best.", roles=("total",)),
    Reading("divergence_best", "The total's best recent mean.", exported=False),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "total"
    if facts.state == "resolved" and isnan(facts.readings["divergence_ratio"]):
        return f"{name} ({facts.phase}) is no longer judged by itself, at step {facts.step}: the total of its phase is."
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is no longer far above its best, at step {facts.step}."
    now = facts.readings
    times, best = 1 + now["divergence_ratio"], now["divergence_best"]
    return (
        f"{name} ({facts.phase}) rose to {times:.1f} times its best of {best:.4g} and does not come back, since step "
        f"{facts.began}. Stop, and go on from a checkpoint before that step with a lower learning rate."
    )


def _advise(facts: Facts) -> Advice | None:
    return None if facts.state == "resolved" else Advice("stop")


DIVERGENCE: Final = Kind(
    "divergence",
    "critical",
    value="divergence_ratio",
    threshold=RISE.name,
    confirm=12,
    release=20,
    describe=_describe,
    advise=_advise,
    evidence=("divergence_ratio", "divergence_best"),
    roles=("total", "component"),
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    small = SMALL * past.start
    higher = past.fast - past.best
    ratio = higher / torch.maximum(past.best.abs(), small.abs() + torch.finfo(higher.dtype).tiny)
    bad = ratio > thresholds[RISE.name][:, None]
    bad &= higher > (SCALES * ROOM) * past.best_noise
    bad &= higher > CLEAR * torch.minimum(past.noise, past.surprise)
    bad &= past.fast > torch.maximum(past.best, small) * (LOG_SCALES * past.best_logs).exp_()
    bad &= higher > LOST * (past.start - past.best)
    bad &= past.level >= past.fast - ROOM * past.best_noise  # a restart of the learning rate comes back down
    judged = (past.role == ROLES.index("total")) | (past.alone > 0)
    known = (past.number >= FROM) & (judged | (past.role == ROLES.index("component")))
    best = torch.where(past.direction > 0, -past.best, past.best)
    readings = {"divergence_ratio": ratio, "divergence_best": best}
    return {name: torch.where(judged, value, torch.nan) for name, value in readings.items()}, bad & judged, known
