"""A value, or a short stretch of values, far above the series' own level. Letters: R rows (series), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Facts, Kind, Reading, Threshold
from detectors.series.past import FAST, SLOW, Past
from detectors.series.reference import FIRST
from detectors.trend import Trend

RISE: Final = Threshold("spike_rise", 0.3, "Rise above the series' own level, relative, that counts as a spike.")
SCALES: Final = 6.0
"""Noise scales that a single value has to rise by: normal noise does so once in 10^9 values."""
OVER_RECORD: Final = 1.6
"""Heavy tails: and by this much more than the largest rise before it."""
LOG_SCALES: Final = 4.0
"""Noise that multiplies, such as that of reinforcement learning losses: and this many in the logarithm."""
YOUNG: Final = 8.0
"""With n values the limit is 1 + YOUNG / (n - 4) times as high: the noise of few values is not well known."""
STRETCH: Final = 6.0
"""Standard deviations that the mean of a stretch has to rise by."""
STRETCH_FROM: Final = 20
SPREAD: Final = Trend(FAST, SLOW).spread()

READINGS: Final = (
    Reading("spike_rise_ratio", "Rise of the value above the series' own level, relative to it."),
    Reading("spike_noise_scales", "The same in scales of the series' own noise.", exported=False),
)


def _describe(facts: Facts) -> str:
    name = facts.subject or "value"
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is back at its level since step {facts.step}."
    now = facts.readings
    return (
        f"{name} ({facts.phase}) is {now['spike_rise_ratio']:.0%} worse than its level, {now['spike_noise_scales']:.0f} times "
        f"its noise, since step {facts.began}. Look at the batch of that step and at the gradient norm; clip gradients "
        "if it comes again."
    )


SPIKE: Final = Kind(
    "spike",
    "warning",
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
    limit = torch.maximum(OVER_RECORD * past.record, past.record.new_tensor(SCALES))
    young = 1 + YOUNG / (past.number - 4).clamp(min=1)
    tiny = torch.finfo(rise.dtype).tiny
    logs = (past.value.clamp(min=tiny) / past.level.clamp(min=tiny)).log()
    single = (scales > limit * young) & (rise > least)
    single &= (logs > LOG_SCALES * past.log_scale) | (past.level <= 0)
    higher = past.fast - past.slow
    stretched = higher / past.size(past.slow)
    stretch = (higher > STRETCH * SPREAD * past.noise * past.wander) & (stretched > least)
    stretch &= past.number >= STRETCH_FROM
    bad = single | stretch
    known = (past.number > FIRST) & past.directed
    readings = {
        "spike_rise_ratio": torch.where(known, torch.where(stretch, torch.maximum(stretched, rise), rise), torch.nan),
        "spike_noise_scales": torch.where(known, scales, torch.nan),
    }
    return readings, bad, known
