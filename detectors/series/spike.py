"""A value, or a short stretch of values, far above the series' own level. Letters: R rows (series), T steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import ROLES, Facts, Kind, Reading, Threshold
from detectors.series.past import SLOW, Past
from detectors.series.reference import FIRST, LEVEL_TAU
from detectors.trend import Trend

RISE: Final = Threshold("spike_rise", 0.2, "Rise above the series' own level, relative, that counts as a spike.")
SCALES: Final = 6.0
"""Noise scales that a single value has to rise by: normal noise does so once in 10^9 values."""
NORMAL_RECORD: Final = 3.5
OVER_RECORD: Final = 2.5
"""Heavy tails: and by so much more for every scale by which the largest jump before it is above that of normal noise.
Of noise with the tail of Student's t with 3 degrees of freedom, value n is above r times the largest of those before it
with a chance of 1 / (n r^3)."""
LOG_SCALES: Final = 4.0
"""Noise that multiplies, such as that of reinforcement learning losses: and this many in the logarithm."""
YOUNG: Final = 8.0
"""With n values the limit is 1 + YOUNG / (n - 4) times as high: the noise of few values is not well known."""
STRETCH: Final = 5.5
"""Standard deviations that the mean of a stretch has to rise by."""
ABRUPT: Final = 0.2
"""Part of the rise by which the level leads the slower mean: 0.05 on a steady drift, 0.14 on a rise of 5 % a value,
more for 9 values after a jump."""
STRETCH_FROM: Final = 20
SPREAD: Final = Trend(-1 / math.log(1 - 1 / LEVEL_TAU), SLOW).spread()

READINGS: Final = (
    Reading("spike_rise_ratio", "Rise of the value above the series' own level, relative to it."),
    Reading("spike_noise_scales", "The same in scales of the series' own noise.", exported=False),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "value"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is back at its level since step {facts.step}."
    rise, scales = facts.readings["spike_rise_ratio"], facts.readings["spike_noise_scales"]
    return (
        f"{name} ({facts.phase}) is {rise:.0%} worse than its level, {scales:.0f} times its noise, since step "
        f"{facts.began}. Look at the batch of that step and at the gradient norm; clip gradients if it comes again."
    )


SPIKE: Final = Kind(
    "spike",
    "info",
    value="spike_rise_ratio",
    threshold=RISE.name,
    confirm=1,
    release=5,
    describe=_describe,
    evidence=("spike_rise_ratio", "spike_noise_scales"),
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    least = thresholds[RISE.name][:, None]
    offset = past.value - past.level
    scales, rise = offset / past.scale, offset / past.size(past.level)
    limit = SCALES + OVER_RECORD * (past.record - NORMAL_RECORD).clamp_(min=0)
    young = 1 + YOUNG / (past.number - 4).clamp_(min=1)
    single = (scales > limit * young) & (rise > least)
    single &= past.value > past.level * (LOG_SCALES * past.log_scale).exp_()
    higher = past.level_now - past.slow
    stretched = higher / past.size(past.slow)
    stretch = (higher > (STRETCH * SPREAD) * past.noise * past.wander) & (stretched > least)
    stretch &= (past.number >= STRETCH_FROM) & (past.level_now - past.fast > ABRUPT * higher)
    directed = (past.role <= ROLES.index("component")) | ((past.role < ROLES.index("reading")) & (past.direction != 0))
    known = (past.number > FIRST) & directed
    readings = {
        "spike_rise_ratio": torch.where(stretch, torch.maximum(stretched, rise), rise),
        "spike_noise_scales": torch.where(stretch, torch.maximum(higher / past.noise, scales), scales),
    }
    return readings, single | stretch, known
