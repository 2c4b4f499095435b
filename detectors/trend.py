"""Where a noisy series is going: its recent mean against its longer past.

Two exponential averages, bias-corrected like Adam's moments (Kingma and Ba 2015, section 3), and the
series' noise from its successive differences (von Neumann 1941: half the mean squared difference
estimates the variance and is blind to slow trends).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, decay_of, discounted_sum, held, last, previous, resolution


@dataclass(frozen=True, slots=True)
class Movement:
    """A trend at every step, each (..., T); NaN before the first value."""

    recent: Tensor
    past: Tensor
    noise: Tensor
    """Standard deviation of one value around the trend."""
    count: Tensor
    """How many values were seen."""

    def change(self) -> Tensor:
        """Relative change of the recent mean against the past one, by the past's size."""
        return (self.recent - self.past) / torch.maximum(self.past.abs(), self.noise)


@dataclass(frozen=True, slots=True)
class Trend:
    """The recent mean (time constant ``fast``, in values) against the past one (``slow``)."""

    fast: float = 8.0
    slow: float = 64.0

    def init(self, shape: tuple[int, ...], like: Tensor) -> State:
        """Fresh state, every tensor of ``shape``."""
        names = ("fast", "fast_weight", "slow", "slow_weight", "square", "square_weight", "newest", "count")
        return {name: like.new_zeros(shape) for name in names}

    def update(self, state: State, x: Tensor, valid: Tensor, steps: Tensor) -> tuple[State, Movement]:
        """Take T values: ``x`` and ``valid`` (R, ..., T); ``steps`` (R) is how many are not padding."""
        valid = valid & x.isfinite()
        value = torch.where(valid, bounded(x), 0.0)
        ones = valid.to(x.dtype)
        count = state["count"][..., None] + ones.cumsum(-1)
        before = previous(held(value, valid, state["newest"]), state["newest"])
        difference = torch.where(valid & (count > 1), value - before, 0.0)
        sums = {
            "fast": discounted_sum(state["fast"], value, decay_of(self.fast)),
            "fast_weight": discounted_sum(state["fast_weight"], ones, decay_of(self.fast)),
            "slow": discounted_sum(state["slow"], value, decay_of(self.slow)),
            "slow_weight": discounted_sum(state["slow_weight"], ones, decay_of(self.slow)),
            "square": discounted_sum(state["square"], difference**2, decay_of(self.slow)),
            "square_weight": discounted_sum(state["square_weight"], ones * (count > 1), decay_of(self.slow)),
        }
        past = sums["slow"] / sums["slow_weight"]
        noise = (0.5 * sums["square"] / sums["square_weight"]).sqrt()
        movement = Movement(
            recent=sums["fast"] / sums["fast_weight"],
            past=past,
            noise=torch.maximum(noise, resolution(past)),
            count=count,
        )
        end = {name: last(values, steps, state[name]) for name, values in sums.items()}
        end["newest"] = last(held(value, valid, state["newest"]), steps, state["newest"])
        end["count"] = last(count, steps, state["count"])
        return end, movement

    def spread(self) -> float:
        """Standard deviation of ``recent - past`` on white noise of unit variance, once warm.

        The difference is a linear filter; this is the root of the sum of its squared weights.
        """
        a, b = decay_of(self.fast), decay_of(self.slow)
        cross = 2 * (1 - a) * (1 - b) / (1 - a * b)
        variance = (1 - a) / (1 + a) + (1 - b) / (1 + b) - cross
        return float(variance**0.5)

    def significance(self, movement: Movement) -> Tensor:
        """``recent - past`` in standard deviations of what noise alone would make of it."""
        return (movement.recent - movement.past) / (movement.noise * self.spread())
