"""Exponentially weighted least squares of a line, online. Letters: R rows, T values.

Fits ``x = level - slope * age`` with weight ``d^age``, ages in values before the newest. The sums
of weights depend on the number of values alone; only two sums of the values are carried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, carry, decay_of, discounted, discounted_sum, last, previous, resolution
from detectors.trend import NOISE, correlation, usable, wander_of


@dataclass(frozen=True, slots=True)
class Line:
    """The fitted line at every value, each (R, T); NaN before the third value."""

    level: Tensor
    slope: Tensor
    """Per value."""
    slope_error: Tensor
    """Standard error of the slope; the noise around the line may be autocorrelated (AR(1))."""
    count: Tensor


@dataclass(frozen=True, slots=True)
class Regression:
    """``tau`` is the memory of the line in values, ``noise_tau`` that of its noise."""

    tau: float = 24.0
    noise_tau: float = 192.0

    def init(self, rows: int, like: Tensor) -> State:
        """Fresh state, every tensor (R)."""
        return {name: like.new_zeros(rows) for name in ("y", "y1", *NOISE, "newest", "difference", "count")}

    def update(self, state: State, x: Tensor, mask: Tensor) -> tuple[State, Line]:
        """Take T finite values ``x`` (R, T), padded on the right where ``mask`` is false."""
        decay, steps = decay_of(self.tau), mask.sum(-1)
        value = torch.where(mask, bounded(x), 0.0)
        count = state["count"][:, None] + torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)  # (R, T)
        y = discounted_sum(state["y"], value, decay)
        age = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
        aged = (state["y1"][:, None] + age * state["y"][:, None]) * carry(decay, x.shape[1], x)
        y1 = discounted(value, decay, power=1) + aged
        difference = torch.where(mask & (count > 1), value - previous(value, state["newest"]), 0.0)
        double = torch.where(mask & (count > 2), difference + previous(difference, state["difference"]), 0.0)
        terms = (difference, difference**2, (mask & (count > 1)).to(x.dtype), double**2)
        noise_decay = decay_of(self.noise_tau)
        sums = {name: discounted_sum(state[name], term, noise_decay) for name, term in zip(NOISE, terms, strict=True)}
        s0, s1, s2, gain = (
            by_count[count.long().clamp(max=len(by_count) - 1)] for by_count in _weights(self.tau, x.dtype, x.device)
        )
        determinant = s0 * s2 - s1**2
        level = (s2 * y - s1 * y1) / determinant
        estimate, error = correlation(sums)
        wandering = wander_of(usable(estimate + 2 * error, 0.95))  # measured: see docs/findings/predictions.md
        noise = torch.maximum((0.5 * sums["square"] / sums["square_weight"]).sqrt() * wandering, resolution(level))
        line = Line(level, (s1 * y - s0 * y1) / determinant, noise * gain, count)
        new = {"y": y, "y1": y1, **sums, "newest": value, "difference": difference, "count": count}
        return {name: last(values, steps, state[name]) for name, values in new.items()}, line


@lru_cache(maxsize=16)
def _weights(tau: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """By number of values n: the sums of d^k, k d^k and k^2 d^k, and the slope's error for unit noise."""
    age = torch.arange(math.ceil(30 * tau), dtype=torch.float64)  # beyond it d^k is below 1e-13
    w = decay_of(tau) ** age

    def upto(terms: Tensor) -> Tensor:
        return torch.cat([terms.new_zeros(1), terms.cumsum(0)])

    s0, s1, s2 = upto(w), upto(w * age), upto(w * age**2)
    q0, q1, q2 = upto(w**2), upto(w**2 * age), upto(w**2 * age**2)
    gain = (s0**2 * q2 - 2 * s0 * s1 * q1 + s1**2 * q0).sqrt() / (s0 * s2 - s1**2)
    return s0.to(device, dtype), s1.to(device, dtype), s2.to(device, dtype), gain.to(device, dtype)
