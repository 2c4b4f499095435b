"""Where a short, noisy series stands: its level and its noise. Letters: R rows, T steps, W window.

The level is a running median of five, which one outlier does not move; the mean is a longer, exponential one of the
levels. The noise comes from second differences, ``x[t] - 2 x[t-1] + x[t-2]``: white noise of deviation s makes their
mean size ``s sqrt(6) sqrt(2 / pi)``, a straight trend makes none. Noise that remembers makes smaller ones, and means of
it wander further: for AR(1) noise of correlation r they are smaller by ``sqrt((1 - r) (3 - r) / 3)``. One difference
and the next tell r, as their correlation is ``(r - 1) / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, pi, sqrt
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, decay_of, discounted_sum, last, resolution, weight_of

WINDOW: Final = 5
MEDIAN: Final = 0.536
"""Standard deviation of the median of five normal values, of one value's."""
_SECOND: Final = sqrt(6) * sqrt(2 / pi)
MOST_CORRELATED: Final = 0.85
"""Correlation beyond which the estimate says too little."""
FEW: Final = 32.0
"""Values from which on their correlation is known in part, and from three times as many on in full. A level, which it
matters less to, takes twice as many."""


@dataclass(frozen=True, slots=True)
class Standing:
    """At every value (R, T)."""

    level: Tensor
    mean: Tensor
    noise: Tensor
    """Standard deviation of one value, if they are independent; NaN before the third."""
    level_error: Tensor
    """Standard deviation of the level."""
    mean_error: Tensor
    """Standard deviation of the mean."""
    count: Tensor


@dataclass(frozen=True, slots=True)
class Course:
    """Time constants in values: ``tau`` of the mean, ``memory`` of the noise, ``long`` of its correlation."""

    tau: float = 8.0
    memory: float = 16.0
    long: float = 48.0

    def init(self, rows: int, like: Tensor) -> State:
        """``newest`` (R, W - 1), the rest (R)."""
        state = {name: like.new_zeros(rows) for name in ("size", "drift", "square", "product", "mean", "count")}
        return state | {"newest": like.new_full((rows, WINDOW - 1), nan)}

    def update(self, state: State, x: Tensor, steps: Tensor) -> tuple[State, Standing]:
        """Take values (R, T), finite in the first ``steps`` (R) places of a row, which are those that are there."""
        there = torch.arange(x.shape[-1], device=x.device) < steps[:, None]
        run = torch.cat([state["newest"], torch.where(there, bounded(x), nan)], dim=-1)  # (R, W - 1 + T)
        level = run.unfold(-1, WINDOW, 1).nanmedian(-1).values
        count = state["count"][:, None] + torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        step, before = run[:, 4:] - run[:, 3:-1], run[:, 3:-1] - run[:, 2:-2]
        there = there & (count > 2)
        step, before = torch.where(there, step, 0.0), torch.where(there, before, 0.0)
        terms = {
            "size": ((step - before).abs(), self.memory),
            "drift": (step, self.long),
            "square": (step**2, self.long),
            "product": (step * before, self.long),
            "mean": (level.nan_to_num(), self.tau),
        }
        sums = {name: discounted_sum(state[name], term, decay_of(tau)) for name, (term, tau) in terms.items()}
        known = (count - 2).clamp(min=0)  # as many second differences, of which 0 / 0 is not known
        size = sums["size"] / weight_of(known, decay_of(self.memory))
        noise = torch.maximum(size / _SECOND, resolution(level))
        drift = sums["drift"] ** 2 / weight_of(known, decay_of(self.long))
        alike = (sums["product"] - drift) / (sums["square"] - drift)
        r = (1 + 2 * alike).nan_to_num(0.0).clamp(0.0, MOST_CORRELATED)
        soon, r = r * _trusted(count / 2), r * _trusted(count)
        d = decay_of(self.tau)
        spread = ((1 - d) / (1 + d) * (1 + d * r) / (1 - d * r)).sqrt()
        standing = Standing(
            level=level,
            mean=sums["mean"] / weight_of(count, d),
            noise=noise,
            level_error=noise * _wider(soon) * (MEDIAN + (1 - MEDIAN) * soon),
            mean_error=noise * _wider(r) * torch.maximum(spread, MEDIAN / count.sqrt()),
            count=count,
        )
        end = {name: last(values, steps, state[name]) for name, values in sums.items()}
        at = steps[:, None] + torch.arange(WINDOW - 1, device=steps.device)
        return end | {"count": state["count"] + steps, "newest": run.gather(-1, at)}, standing


def _trusted(count: Tensor) -> Tensor:
    return ((count / FEW - 1) / 2).clamp(0.0, 1.0)


def _wider(r: Tensor) -> Tensor:
    """Standard deviation of AR(1) noise over what its second differences make of it."""
    return (3 / ((1 - r) * (3 - r))).sqrt()
