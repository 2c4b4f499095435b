"""A value, or a short stretch of values, far above the series' own level. Letters: R rows (series), T steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.series.past import SLOW, Past
from detectors.series.reference import DEVIATION, FIRST
from detectors.series.stretch import LENGTH, SPAN
from detectors.streams import ROLES

RISE: Final = Threshold("spike_rise", 0.2, "Rise above the series' own level, relative, that counts as a spike.")
SCALES: Final = 4.5
"""Noise scales that a single value has to jump by: normal noise does so once in 300,000 values."""
NORMAL_RECORD: Final = 3.2
OVER_RECORD: Final = 5.0
"""Heavy tails: and by so much more for every scale by which the largest jump before it is above that of normal noise.
Of noise with the tail of Student's t with 3 degrees of freedom, value n is above r times the largest of those before it
with a chance of 1 / (n r^3)."""
LOG_SCALES: Final = 3.5
"""Noise that multiplies, such as that of reinforcement learning losses: and this many in the logarithm."""
YOUNG: Final = 16.0
"""With n values the limit is 1 + YOUNG / (n - 4) times as high: the noise of few values is not well known."""
STEEP: Final = 0.5
"""Part of the rise above the level that the last step makes: less is a smooth rise."""
ENDS: Final = 0.7
"""Part of the limit by which a stretch has to begin, and to end, if both are seen: noise does not do both."""
DEVIATIONS: Final = 3.2
"""Standard deviations that the mean of a stretch has to rise by."""
MEAN_NOISE: Final = 0.41
"""Standard deviation of that rise on white noise of unit variance, and over that of two neighbouring means: 0.82."""
CONTRAST: Final = 0.82 * DEVIATION
LOG_MEAN: Final = 0.9
"""As `LOG_SCALES`, for the mean of a stretch."""
ABRUPT: Final = 0.4
"""Part of the rise that is between the stretch and what is before it, as it would go on: all of it after a jump."""
LEFT: Final = math.exp(-LENGTH / SLOW)
"""Weight in the slower mean of what was before the stretch."""

READINGS: Final = (
    Reading("spike_rise_ratio", "Rise of the value above the series' own level, relative to it."),
    Reading("spike_noise_scales", "The same in scales of the series' own noise.", exported=False),
)


def _describe(facts: Facts) -> str:
    name, more = f"{facts.subject or 'value'} ({facts.phase})", facts.series - 1
    if facts.state == "resolved":
        back = f"and {more} other series are back at their levels" if more else "is back at its level"
        return f"{name} {back} since step {facts.step}."
    scales = facts.readings["spike_noise_scales"]
    several = f" At the same step {more} other series got worse{facts.listed(_rise)}." if more else ""
    return (
        f"{name} got {_rise(facts)} worse than its level, {scales:.0f} times its noise, by step {facts.began}.{several}"
        " Look at the batches up to it and at the gradient norm; clip gradients if it comes again."
    )


def _rise(facts: Facts) -> str:
    return f"{facts.readings['spike_rise_ratio']:.0%}"


SPIKE: Final = Kind(
    "spike",
    "info",
    value="spike_rise_ratio",
    threshold=RISE.name,
    confirm=1,
    release=5,
    describe=_describe,
    evidence=("spike_rise_ratio", "spike_noise_scales"),
    together="spike_noise_scales",
)


def judge(past: Past, thresholds: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The readings, where it is bad, and where that is known, each (R, T)."""
    least = thresholds[RISE.name][:, None]
    young = 1 + YOUNG / (past.number - 4).clamp_(min=1)
    limit = (SCALES + OVER_RECORD * (past.record - NORMAL_RECORD).clamp_(min=0)).mul_(young)
    logs = LOG_SCALES * past.log_scale * past.surprise / past.scale
    offset = past.value - past.level
    rise = offset / past.size(past.level)
    single = (past.jump > limit) & (rise > least) & (past.value - past.before > STEEP * offset)
    single &= past.value > past.expected * logs.exp()
    fall = (past.expected - past.value) / past.size(past.value)
    ended = (torch.minimum(past.risen, -past.jump) > ENDS * limit) & (fall > least)
    ended &= past.expected > past.value * (ENDS * logs).exp_()
    was, higher = _risen(past)
    stretched = higher / past.size(was)
    noise = torch.maximum(MEAN_NOISE * past.noise * past.wander, CONTRAST * past.stretch.contrast)
    stretch = (higher > DEVIATIONS * young * noise) & (stretched > least) & (past.number >= SPAN)
    stretch &= past.stretch.mean > was * (LOG_MEAN * past.log_scale * past.wander).exp_()
    stretch &= past.stretch.edge > ABRUPT * higher
    directed = (past.role <= ROLES.index("component")) | ((past.role < ROLES.index("reading")) & (past.direction != 0))
    known = (past.number > FIRST) & directed
    rise = torch.where(ended, fall, torch.where(stretch, torch.maximum(stretched, rise), rise))
    scales = torch.where(stretch, torch.maximum(higher / past.noise, past.jump), past.jump)
    readings = {"spike_rise_ratio": rise, "spike_noise_scales": torch.where(ended, past.risen, scales)}
    return readings, single | stretch | ended, known


def _risen(past: Past) -> tuple[Tensor, Tensor]:
    """Where the series was before the stretch, and how far the mean of the stretch is above it."""
    slow = (past.slow - (1 - LEFT) * past.stretch.mean) / LEFT
    was = torch.maximum(slow, past.stretch.before)
    return was, past.stretch.mean - was
