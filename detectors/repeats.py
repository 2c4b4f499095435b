"""A series that has stopped at one exact value: at a clamp, not because it converged or was rounded.

Noise does not repeat itself: a computed number that is exactly the same for many values in a row is held by something.
Three other things hold one and are no clamp, so they are told apart by what the series did before it stopped:

- coarse printing: the last change is about as small as the smallest one ever seen, the printed digit;
- convergence: changes fade before they end, while what runs into a clamp does so with a change of a size that matters;
- a value that is reported many times over, or takes few values only: earlier values were repeated too.

Letters: R rows, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import bounded, held, last, least, previous


@dataclass(frozen=True, slots=True)
class Stop:
    """Each (R, ..., T)."""

    length: Tensor
    """How many values in a row, the newest included, were the same; 0 before the first."""
    count: Tensor
    """How many values were seen."""
    lowest: Tensor
    """Of all values so far; infinite before the first."""
    sharp: Tensor
    """bool: it moved before, without repeating itself, and stopped with a change that was neither fine nor small."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """How long a series has stood exactly still, and whether something holds it.

    ``moved`` is how many changes must have been seen; ``repeated`` how many values, by change, may have been the same
    as the one before, not counting those since the last change; ``fine`` how many of the smallest change the last one
    must be; ``small`` what part of the value it must be.
    """

    moved: int = 16
    repeated: float = 0.5
    fine: float = 8.0
    small: float = 1e-3

    def init(self, shape: tuple[int, ...], like: Tensor) -> State:
        """Fresh state, every tensor of ``shape``."""
        zeros = ("newest", "count", "length", "changes", "change")
        infinite = ("lowest", "smallest")
        return {name: like.new_zeros(shape) for name in zeros} | {
            name: like.new_full(shape, torch.inf) for name in infinite
        }

    def rest(self, state: State) -> Stop:
        """Where a series stands of which nothing came: (R, ..., 1)."""
        held_still = torch.zeros_like(state["count"], dtype=torch.bool)
        return Stop(*(x[..., None] for x in (state["length"], state["count"], state["lowest"], held_still)))

    def update(self, state: State, x: Tensor, valid: Tensor, steps: Tensor) -> tuple[State, Stop]:
        """Take T values: ``x`` and ``valid`` (R, ..., T); ``steps`` (R) is how many are not padding."""
        valid = valid & x.isfinite()
        value = held(bounded(x), valid, state["newest"])
        before = previous(value, state["newest"])
        count = state["count"][..., None] + valid.to(x.dtype).cumsum(-1)
        change = (value - before).abs()
        changed = valid & (count > 1) & (change > 0)
        changes = state["changes"][..., None] + changed.to(x.dtype).cumsum(-1)
        begun = torch.where(changed, count - 1, 0.0).cummax(-1).values  # values before those that are the same
        length = count - torch.maximum(begun, (state["count"] - state["length"])[..., None])
        lowest = least(value, valid, state["lowest"])
        smallest = least(change, changed, state["smallest"])
        change = held(change, changed, state["change"])
        sharp = (changes >= self.moved) & (count - changes - length <= self.repeated * changes)
        sharp &= change >= torch.maximum(self.fine * smallest, self.small * value.abs())
        every = {
            "newest": value,
            "count": count,
            "length": length,
            "changes": changes,
            "change": change,
            "lowest": lowest,
            "smallest": smallest,
        }
        end = {name: last(values, steps, state[name]) for name, values in every.items()}
        return end, Stop(length, count, lowest, sharp)
