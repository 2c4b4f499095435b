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
from detectors.recurrence import after, decay_of, discounted_sums, previous, weight_of
from detectors.temporal.window import WINDOW, empty, lagged, medians, slid, totals

NORMAL_MAD: Final = 1.4826
"""Standard deviation over median absolute deviation, of the normal distribution."""
SUMS: Final = ("log_scale", "square", "product", "error_square")
FAR: Final = 1e6
"""Standardised errors end here, so that sums of them stay finite."""
LEAST: Final = 4
"""Values before the first forecast."""
SLOPED: Final = WINDOW + 3
"""Values before the first slope."""
TINY: Final = 1e-30
"""Least scale of all."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of each step from those before it, all (R, T)."""

    value: Tensor
    """The value itself, as far as it was taken."""
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
        plain = {"medians": (rows,), "slopes": (rows,), "scales": (rows, 2)}
        state = {name: like.new_zeros(*shape, WINDOW) for name, shape in plain.items()}
        state |= {"values": empty((rows,), like), "errors": empty((rows, 2), like, LEAST - 1)}
        return state | {name: like.new_zeros(rows) for name in (*SUMS, "residual")}

    def update(self, state: State, x: Tensor, count: Tensor, taken: Tensor) -> tuple[State, Forecast]:
        """``x`` (R, T) finite, packed to the front; ``count`` (R, T) values before each; ``taken`` (R) in the block."""
        real = torch.arange(x.shape[-1], device=x.device) < taken[:, None]
        level = torch.where(count > 0, medians(state["values"], x), 0.0)
        sloped, full = count >= SLOPED, count.clamp(max=WINDOW)
        rise = torch.where(sloped, level - lagged(state["medians"], level), 0.0)
        slope = rise / (WINDOW + ((count - WINDOW).clamp(1, WINDOW) - full) / 2)  # between the middles of both windows
        before = torch.where(count >= SLOPED + WINDOW, lagged(state["slopes"], slope), slope)
        lines = torch.stack([level, level + _limited(slope, before) * (full + 1) / 2], dim=1)
        errors = torch.where(
            (count >= LEAST - 1)[:, None],
            (x[:, None] - lines).abs_(),
            torch.where(count == 1, torch.inf, -torch.inf)[:, None],
        )
        least = (self.relative * level.abs()).clamp_(min=TINY)
        scales, both = self._scales(state, errors, least, count)
        weights = both.amin(1, keepdim=True).div(both).square_().square_()
        weights /= weights.sum(1, keepdim=True)
        line, newest = (weights * lines).sum(1), (weights * both).sum(1)
        usual, logs = self._usual(state, newest, real & sloped, count)
        least = torch.maximum(self.movement * rise.abs(), least)
        scale = torch.maximum(torch.maximum(usual, self.short * newest), least)
        warm = count >= LEAST
        residual = torch.where(warm & real, ((x - line) / scale).clamp_(-FAR, FAR), 0.0)
        sums, error, remembered, spread = self._whitened(state, residual, count, taken)
        windows = {"values": x, "medians": level, "slopes": slope, "errors": errors, "scales": scales}
        end = {name: slid(state[name], value, taken) for name, value in windows.items()}
        end |= {"log_scale": after(logs, taken), **sums}
        return end, Forecast(x, line + remembered * scale, spread * scale, error, level, scale, slope / scale)

    def _scales(self, state: State, errors: Tensor, least: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Of both forecasts (R, 2, T): the median error of the last window, and of the last two. Above 0."""
        number = (count - (LEAST - 1)).clamp_(1, WINDOW)[:, None]
        middle = NORMAL_MAD * medians(state["errors"], errors)
        scales = torch.maximum(middle, (0.25 * totals(state["errors"], errors)).div_(number))
        scales = torch.where((count >= LEAST)[:, None], scales, 0.0)
        older = torch.where((count >= LEAST + WINDOW)[:, None], lagged(state["scales"], scales), scales)
        return scales, torch.maximum(older.add_(scales).mul_(0.5), least[:, None])

    def _usual(self, state: State, scale: Tensor, real: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Geometric mean of the scale over a longer past, and the sums that it is made of."""
        decay = decay_of(self.steady)
        logs = discounted_sums(state["log_scale"], torch.where(real, scale.log(), 0.0), decay)
        weight = weight_of((count - (SLOPED - 1)).clamp_(min=0.0), decay)
        return torch.where(weight > 0, (logs[..., 1:] / weight).exp_(), scale), logs

    def _whitened(
        self, state: State, residual: Tensor, count: Tensor, taken: Tensor
    ) -> tuple[State, Tensor, Tensor, Tensor]:
        """New sums; errors over their usual size; what the residual before says about this one; the usual size."""
        decay = decay_of(self.memory)
        near = residual.clamp(-self.clip, self.clip)
        before = previous(near, state["residual"])
        lags = torch.stack([before * before, near * before], dim=1)
        lagged_sums = discounted_sums(torch.stack([state["square"], state["product"]], dim=1), lags, decay)
        square, product = lagged_sums[..., :-1].unbind(1)
        remembered = (product / (square + self.prior)).clamp_(-0.5, 1.0).mul_(before)
        left = residual - remembered
        errors = discounted_sums(state["error_square"], left.clamp(-self.clip, self.clip).square_(), decay)
        weight = weight_of((count - LEAST).clamp_(min=0.0), decay)
        spread = (errors[..., :-1] + self.prior).div_(weight + self.prior).sqrt_()
        ends = (*after(lagged_sums, taken).unbind(1), after(errors, taken))
        newest = after(torch.cat([state["residual"][:, None], near], dim=-1), taken)
        return dict(zip(SUMS[1:], ends, strict=True)) | {"residual": newest}, left / spread, remembered, spread


def _limited(slope: Tensor, before: Tensor) -> Tensor:
    """The smaller of two slopes, 0 where they disagree (minmod)."""
    # Without a choice by sign, which a processor cannot foresee.
    return (slope.sign() + before.sign()).mul_(0.5).mul_(torch.minimum(slope.abs(), before.abs()))
