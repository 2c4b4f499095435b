"""What the next value of a series should be, and how far off that usually is. Letters: R rows, T steps, W window.

Two forecasts: the median of the last window, and a line through the medians of the last two (a short Theil-Sen
line; of the newest slope and the one before, the smaller, or none where they disagree, so that a step is not
taken for a slope), weighted by how well each did lately. Medians forget everything after a few windows and are not
moved by fewer than half of one: neither a spike nor a first row of 1e13 hides what follows. What one error says about
the next (autocorrelation) is taken away by a regression on the error before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, decay_of, discounted_sum, last, previous, resolution
from detectors.temporal.window import lagged, slid, sliding

NORMAL_MAD: Final = 1.4826
"""Standard deviation over median absolute deviation, of the normal distribution."""
SUMS: Final = ("log_scale", "log_weight", "square", "product", "weight", "error_square")
FAR: Final = 1e6
"""Standardised errors end here, so that sums of them stay finite."""
LEAST: Final = 4
"""Values before the first forecast."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of each step from those before it, all (R, T)."""

    expected: Tensor
    noise: Tensor
    """Usual size (standard deviation) of the error."""
    error: Tensor
    """Value minus expected, over the noise."""
    level: Tensor
    """Median of the last window."""
    scale: Tensor
    """Usual size of what a value is off the line, before autocorrelation is taken away."""
    slope: Tensor
    """Rise per value from the last window but one to the last, over the scale."""


@dataclass(frozen=True, slots=True)
class Forecaster:
    """See the module's docstring; the parameters were chosen on the development runs of ``bench.temporal``."""

    window: int = 9
    steady: float = 100.0
    """Time constant, in values, of the mean of the scale, which a burst must not move at once."""
    short: float = 0.15
    """The newest scale counts by this part, where that is more."""
    movement: float = 0.1
    """Least scale, by what the level moved in a window: a smooth series is compared with its own pace."""
    relative: float = 1e-3
    """Least scale, by the level: less is how numbers are printed."""
    memory: float = 100.0
    """Time constant of the autocorrelation."""
    clip: float = 4.0
    prior: float = 10.0
    """How many values no autocorrelation and a size of 1 count for at the start."""

    def init(self, rows: int, like: Tensor) -> State:
        """Windows of values, medians and slopes (R, W), of both forecasts' errors and scales (R, 2, W); sums (R)."""
        W = self.window
        single = dict.fromkeys(("values", "medians", "slopes"), (rows, W))
        double = dict.fromkeys(("errors", "scales"), (rows, 2, W))
        windows = {name: like.new_full(shape, torch.nan) for name, shape in (single | double).items()}
        return windows | {name: like.new_zeros(rows) for name in (*SUMS, "residual")}

    def update(self, state: State, x: Tensor, count: Tensor, taken: Tensor) -> tuple[State, Forecast]:
        """``x`` (R, T) finite, packed to the front; ``count`` (R, T) values before each; ``taken`` (R) in the block."""
        W, x = self.window, bounded(x)
        real = torch.arange(x.shape[-1], device=x.device) < taken[:, None]
        level = sliding(state["values"], x).nanmedian(-1).values.nan_to_num(0.0)
        past = lagged(state["medians"], level)
        apart = W + ((count - W).clamp(1, W) - count.clamp(max=W)) / 2  # between the middles of the two windows
        sloped = count > W + 2
        slopes = torch.where(sloped, (level - past) / apart, torch.nan)
        slope = slopes.nan_to_num(0.0)
        ahead = _limited(slope, lagged(state["slopes"], slopes)) * (count.clamp(max=W) + 1) / 2
        lines = torch.stack([level, level + ahead], dim=1)
        errors = torch.where(count[:, None] >= LEAST - 1, (x[:, None] - lines).abs(), torch.nan)
        scales, both = self._scales(state, errors, level)
        weights = (both.amin(1, keepdim=True) / both) ** 4
        weights = weights / weights.sum(1, keepdim=True)
        line, newest = (weights * lines).sum(1), (weights * both).sum(1)
        usual, means = self._usual(state, newest, real & sloped)
        moved = self.movement * torch.where(sloped, level - past, 0.0).abs()
        least = torch.maximum(moved, self.relative * level.abs())
        scale = torch.maximum(torch.maximum(usual, self.short * newest), least)
        warm = count >= LEAST
        residual = torch.where(warm & real, ((x - line) / scale).clamp(-FAR, FAR), 0.0)
        sums, error, remembered, spread = self._whitened(state, residual, warm & real)
        windows = {"values": x, "medians": level, "slopes": slopes, "errors": errors, "scales": scales}
        end = {name: slid(state[name], value, taken) for name, value in windows.items()}
        end |= {name: last(value, taken, state[name]) for name, value in (sums | means).items()}
        return end, Forecast(line + remembered * scale, spread * scale, error, level, scale, slope / scale)

    def _scales(self, state: State, errors: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Of both forecasts (R, 2, T): the median error of the last window, and of the last two. Above 0."""
        window = sliding(state["errors"], errors)
        scales = torch.maximum(NORMAL_MAD * window.nanmedian(-1).values, 0.25 * window.nanmean(-1))
        older = lagged(state["scales"], scales)
        both = torch.where(older.isnan(), scales, 0.5 * (scales + older)).nan_to_num(0.0)
        least = torch.maximum(resolution(level), self.relative * level.abs())
        least = least.clamp(min=torch.finfo(level.dtype).tiny ** 0.5)
        return scales, torch.maximum(both, least[:, None])

    def _usual(self, state: State, scale: Tensor, real: Tensor) -> tuple[Tensor, State]:
        """Geometric mean of the scale over a longer past, and the sums that it is made of."""
        decay = decay_of(self.steady)
        total = discounted_sum(state["log_scale"], torch.where(real, scale.log(), 0.0), decay)
        weight = discounted_sum(state["log_weight"], real.to(scale.dtype), decay)
        return torch.where(weight > 0, (total / weight).exp(), scale), {"log_scale": total, "log_weight": weight}

    def _whitened(self, state: State, residual: Tensor, real: Tensor) -> tuple[State, Tensor, Tensor, Tensor]:
        """New sums; errors over their usual size; what the residual before says about this one; the usual size."""
        decay = decay_of(self.memory)
        near = residual.clamp(-self.clip, self.clip)
        before = previous(near, state["residual"])
        square = discounted_sum(state["square"], before**2, decay)
        product = discounted_sum(state["product"], near * before, decay)
        weight = discounted_sum(state["weight"], real.to(near.dtype), decay)
        correlation = previous(
            product / (square + self.prior), state["product"] / (state["square"] + self.prior)
        ).clamp(-0.5, 1.0)
        remembered = correlation * before
        left = residual - remembered
        errors = discounted_sum(state["error_square"], left.clamp(-self.clip, self.clip) ** 2, decay)
        start = (state["error_square"] + self.prior) / (state["weight"] + self.prior)
        spread = previous((errors + self.prior) / (weight + self.prior), start).sqrt()
        sums = {"square": square, "product": product, "weight": weight, "error_square": errors, "residual": near}
        return sums, left / spread, remembered, spread


def _limited(slope: Tensor, before: Tensor) -> Tensor:
    """The smaller of two slopes, 0 where they disagree (minmod); the newest alone where there is none before."""
    smaller = torch.where(slope.abs() < before.abs(), slope, before)
    return torch.where(before.isnan(), slope, torch.where(slope * before > 0, smaller, 0.0))
