"""Where a noisy series is going: its recent mean against its longer past.

Two exponential averages, bias-corrected like Adam's moments (Kingma and Ba 2015, section 3), and the
series' noise from its successive differences (von Neumann 1941: half the mean squared difference
estimates the variance and is blind to slow trends).

Losses remember: a value above the trend is followed by another one. Means of such values wander further than
means of independent ones. The autocorrelation is estimated from differences too, which a trend does not disturb:
for noise with lag-1 correlation rho (AR(1)) the variances of the differences over one and over two values are
``2 s^2 (1 - rho)`` and ``2 s^2 (1 - rho^2)``; their ratio is ``1 + rho``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, decay_of, discounted_sum, held, last, previous, resolution

MEANS: Final = ("fast", "fast_weight", "slow", "slow_weight", "long", "long_weight")
NOISE: Final = ("drift", "square", "square_weight", "wide")
MOST_CORRELATED: Final = 0.9
"""Correlation beyond which the estimate, made of some hundred values, says too little."""
CAUTIOUS: Final = 0.95
"""The same of the long view, whose correlation is raised by one standard error: its means are as long as it says."""


@dataclass(frozen=True, slots=True)
class Movement:
    """A trend at every step, each (..., T); NaN before the first value."""

    recent: Tensor
    past: Tensor
    noise: Tensor
    """Standard deviation of one value around the trend, if values are independent."""
    correlation: Tensor
    """Of a value with the one before it."""
    count: Tensor
    """How many values were seen."""
    spread: float
    """Standard deviation of ``recent - past`` on white noise of unit variance, once warm."""

    def significance(self) -> Tensor:
        """``recent - past`` in standard deviations of what noise alone would make of it."""
        return (self.recent - self.past) / (self.noise * wander_of(self.correlation) * self.spread)

    def change(self) -> Tensor:
        """Relative change of the recent mean against the past one, by the past's size."""
        return (self.recent - self.past) / torch.maximum(self.past.abs(), self.noise)

    def deviation(self) -> Tensor:
        """Standard deviation of one value around the trend."""
        return self.noise / (1 - self.correlation).sqrt()

    def deviation_of_mean(self, values: int) -> Tensor:
        """Standard deviation of the mean of so many values in a row, of AR(1) noise.

        >>> still, white = torch.tensor([0.0]), torch.tensor([1.0])
        >>> Movement(still, still, white, still, still, 1.0).deviation_of_mean(16)
        tensor([0.2500])
        """
        rho = self.correlation
        longer = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**values) / (values * (1 - rho) ** 2)
        return self.deviation() * (longer / values).sqrt()


@dataclass(frozen=True, slots=True)
class Trend:
    """The recent mean (time constant ``fast``, in values) against the past one (``slow``), and, the long view, that
    against the mean of a longer past (``long``).

    Noise that remembers hides a movement from means as short as its memory; the long view sees it, later.
    """

    fast: float = 8.0
    slow: float = 64.0
    long: float = 256.0

    def init(self, shape: tuple[int, ...], like: Tensor) -> State:
        """Fresh state, every tensor of ``shape``."""
        return {name: like.new_zeros(shape) for name in (*MEANS, *NOISE, "newest", "difference", "count")}

    def update(self, state: State, x: Tensor, valid: Tensor, steps: Tensor) -> tuple[State, Movement, Movement]:
        """Take T values: ``x`` and ``valid`` (R, ..., T); ``steps`` (R) is how many are not padding.

        Returns the state, the movement, and that of the long view.
        """
        valid = valid & x.isfinite()
        value = torch.where(valid, bounded(x), 0.0)
        ones = valid.to(x.dtype)
        count = state["count"][..., None] + ones.cumsum(-1)
        newest = held(value, valid, state["newest"])
        before = previous(newest, state["newest"])
        second, third = valid & (count > 1), valid & (count > 2)
        difference = torch.where(second, value - before, 0.0)
        step = held(difference, second, state["difference"])
        before_that = previous(step, state["difference"])
        terms = {
            "fast": (value, self.fast),
            "fast_weight": (ones, self.fast),
            "slow": (value, self.slow),
            "slow_weight": (ones, self.slow),
            "long": (value, self.long),
            "long_weight": (ones, self.long),
            "drift": (difference, self.slow),
            "square": (difference**2, self.slow),
            "square_weight": (second.to(x.dtype), self.slow),
            "wide": (torch.where(third, difference + before_that, 0.0) ** 2, self.slow),
        }
        sums = {name: discounted_sum(state[name], term, decay_of(tau)) for name, (term, tau) in terms.items()}
        past = sums["slow"] / sums["slow_weight"]
        noise = torch.maximum((0.5 * sums["square"] / sums["square_weight"]).sqrt(), resolution(past))
        estimate, error = correlation(sums)
        movement = Movement(
            recent=sums["fast"] / sums["fast_weight"],
            past=past,
            noise=noise,
            correlation=usable(estimate, MOST_CORRELATED),
            count=count,
            spread=spread_of(self.fast, self.slow),
        )
        longer = Movement(
            recent=past,
            past=sums["long"] / sums["long_weight"],
            noise=noise,
            correlation=usable(estimate + error, CAUTIOUS),
            count=count,
            spread=spread_of(self.slow, self.long),
        )
        end = {name: last(values, steps, state[name]) for name, values in sums.items()}
        end["newest"] = last(newest, steps, state["newest"])
        end["difference"] = last(step, steps, state["difference"])
        end["count"] = last(count, steps, state["count"])
        return end, movement, longer


def spread_of(fast: float, slow: float) -> float:
    """Standard deviation of the difference of two exponential means on white noise of unit variance, once warm.

    The difference is a linear filter; this is the root of the sum of its squared weights.
    """
    a, b = decay_of(fast), decay_of(slow)
    cross = 2 * (1 - a) * (1 - b) / (1 - a * b)
    variance = (1 - a) / (1 + a) + (1 - b) / (1 + b) - cross
    return float(variance**0.5)


def wander_of(correlation: Tensor) -> Tensor:
    """Standard deviation of a long mean of AR(1) noise over what `Movement.noise` makes of it.

    The difference-based noise is too small by ``sqrt(1 - rho)``, and a mean of correlated values wanders
    ``sqrt((1 + rho) / (1 - rho))`` further.
    """
    return (1 + correlation).sqrt() / (1 - correlation)


def correlation(sums: State) -> tuple[Tensor, Tensor]:
    """The lag-1 correlation as estimated, which may be of any size, and its standard error, about ``1 / sqrt(2 n)``.

    From discounted sums of differences: ``drift`` and ``square`` of those over one value, ``wide`` of the squares
    of those over two, ``square_weight`` of how many there are.
    """
    drift = sums["drift"] / sums["square_weight"]
    single = sums["square"] / sums["square_weight"] - drift**2
    double = sums["wide"] / sums["square_weight"] - 4 * drift**2  # one term fewer: forgotten once warm
    noisy = single > 1e-9 * drift**2  # else it is a straight line, and what is left of it is rounding
    found = torch.where(noisy, double / single - 1, 0.0).nan_to_num(0.0)
    return found, 1 / (2 * sums["square_weight"]).sqrt()


def usable(correlation: Tensor, most: float) -> Tensor:
    """An estimated correlation from 0 to ``most``, which is below 1; 0 where it is not known."""
    return correlation.nan_to_num(0.0).clamp(0.0, most)
