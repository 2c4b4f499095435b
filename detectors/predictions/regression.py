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


@dataclass(frozen=True, slots=True)
class Line:
    """The fitted line at every value, each (R, T); NaN before the third value."""

    level: Tensor
    slope: Tensor
    """Per value."""
    slope_error: Tensor
    """Standard error of the slope if the values are independent around the line."""
    count: Tensor


@dataclass(frozen=True, slots=True)
class Regression:
    """``tau`` is the memory in values."""

    tau: float = 24.0

    def init(self, rows: int, like: Tensor) -> State:
        """Fresh state, every tensor (R)."""
        return {name: like.new_zeros(rows) for name in ("y", "y1", "square", "newest", "count")}

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
        square = discounted_sum(state["square"], difference**2, decay)
        table = _weights(self.tau, x.dtype, x.device)
        s0, s1, s2, gain = (by_count[count.long().clamp(max=len(by_count) - 1)] for by_count in table)
        determinant = s0 * s2 - s1**2
        weight = s0 - decay ** (count - 1)  # every value but the first has a difference
        level = (s2 * y - s1 * y1) / determinant
        noise = torch.maximum((0.5 * square / weight).sqrt(), resolution(level))
        line = Line(level, (s1 * y - s0 * y1) / determinant, noise * gain, count)
        new = {"y": y, "y1": y1, "square": square, "newest": value, "count": count}
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
