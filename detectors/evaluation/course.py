"""Where a short, noisy series stands: its level and its noise. Letters: R rows, T steps, W window.

The level is a running median of five, which one outlier does not move. The noise comes from second differences,
``x[t] - 2 x[t-1] + x[t-2]``: white noise of deviation s makes their mean size ``s sqrt(6) sqrt(2 / pi)``, a straight
trend makes none. The wander is how far the level strays from its own longer course, which is a double exponential
average (Brown 1959) and follows a straight trend without lag: for noise that remembers it is what matters, and second
differences do not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, pi, sqrt
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, decay_of, discounted_sum, last, previous, resolution

WINDOW: Final = 5
MEDIAN: Final = 0.536
"""Standard deviation of the median of five normal values, of one value's."""
_SECOND: Final = sqrt(6) * sqrt(2 / pi)
_SIZE: Final = sqrt(pi / 2)
"""Standard deviation of normal values over their mean size."""
SUMS: Final = ("size", "size_weight", "slow", "slow_weight", "slower", "slower_weight", "stray", "stray_weight")


@dataclass(frozen=True, slots=True)
class Standing:
    """At every value (R, T)."""

    level: Tensor
    noise: Tensor
    """Standard deviation of one value, if they are independent; NaN before the third."""
    wander: Tensor
    """Standard deviation of the level around its longer mean."""
    count: Tensor


@dataclass(frozen=True, slots=True)
class Course:
    """Time constants in values: ``slow`` of the longer mean, ``memory`` of the noise and the wander."""

    slow: float = 16.0
    memory: float = 16.0

    def init(self, rows: int, like: Tensor) -> State:
        """``newest`` (R, W - 1), the rest (R)."""
        state = {name: like.new_zeros(rows) for name in (*SUMS, "count")}
        return state | {"newest": like.new_full((rows, WINDOW - 1), nan)}

    def update(self, state: State, x: Tensor, valid: Tensor, steps: Tensor) -> tuple[State, Standing]:
        """Take values (R, T) of which the first ``steps`` (R) of a row, those in ``valid``, are there and finite."""
        value = torch.where(valid, bounded(x), nan)
        run = torch.cat([state["newest"], value], dim=-1)  # (R, W - 1 + T)
        level = run.unfold(-1, WINDOW, 1).nanmedian(-1).values
        count = state["count"][:, None] + valid.to(x.dtype).cumsum(-1)
        second = (run[:, 4:] - 2 * run[:, 3:-1] + run[:, 2:-2]).abs()
        sums: State = {}
        sums |= self._mean(state, "size", second, valid & (count > 2), self.memory)
        sums |= self._mean(state, "slow", level, valid, self.slow)
        slow = _ratio(sums, "slow")
        sums |= self._mean(state, "slower", slow, valid, self.slow)
        course = 2 * slow - _ratio(sums, "slower")
        longer = previous(course, 2 * _ratio(state, "slow") - _ratio(state, "slower"))
        sums |= self._mean(state, "stray", (level - longer).abs(), valid & (count > 1), self.memory)
        noise, wander = _ratio(sums, "size") / _SECOND, _ratio(sums, "stray") * _SIZE
        end = {name: last(values, steps, state[name]) for name, values in sums.items()}
        end["count"] = last(count, steps, state["count"])
        at = steps[:, None] + torch.arange(WINDOW - 1, device=steps.device)
        end["newest"] = run.gather(-1, at)
        return end, Standing(level, torch.maximum(noise, resolution(level)), wander, count)

    def _mean(self, state: State, name: str, x: Tensor, valid: Tensor, memory: float) -> State:
        """Numerator and denominator of an exponential mean."""
        decay = decay_of(memory)
        weight = f"{name}_weight"
        return {
            name: discounted_sum(state[name], torch.where(valid, x, 0.0), decay),
            weight: discounted_sum(state[weight], valid.to(x.dtype), decay),
        }


def _ratio(state: State, name: str) -> Tensor:
    return state[name] / state[f"{name}_weight"]
