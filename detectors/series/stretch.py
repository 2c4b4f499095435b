"""A short stretch of values against those before it. Letters: R rows (series), T steps.

Means of neighbouring stretches differ by what noise makes of them, whatever its memory: how much that is on average is
kept from the stretches before, and needs no model of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import decay_of, discounted_sum, last, weight_of
from detectors.series.reference import FIRST

LENGTH: Final = 8
"""Values of a stretch."""
SPAN: Final = 3 * LENGTH
TAU: Final = 96.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """At every step, each (R, T); without meaning until value number `SPAN`."""

    mean: Tensor
    """Of the stretch that ends at the step."""
    before: Tensor
    """The mean of the one before it."""
    edge: Tensor
    """The jump between the two: a line or a parabola through their four halves has none."""
    contrast: Tensor
    """Mean absolute difference of two neighbouring stretches that end before this one; 0 until it is known."""


def init(rows: int, like: Tensor) -> State:
    """``recent`` (R, `SPAN` - 1) values, and the discounted sum of ``contrast`` (R)."""
    return {"recent": like.new_zeros(rows, SPAN - 1), "contrast": like.new_zeros(rows)}


def update(state: State, x: Tensor, number: Tensor, steps: Tensor) -> tuple[State, Stretch]:
    """Take T values (R, T), of which ``steps`` (R) are not padding and the first `FIRST` of the series without meaning.

    ``number`` (R, T) counts them from 1.
    """
    recent = torch.cat([state["recent"], x], -1)
    halves = recent[:, :-3] + recent[:, 1:-2] + recent[:, 2:-1] + recent[:, 3:]
    means = (halves[:, 4:] + halves[:, :-4]) / LENGTH
    older, old, new, newer = (halves[:, first : first + x.shape[1]] for first in (8, 12, 16, 20))
    mean, before = means[:, 16:], means[:, 8:-8]
    known = (number - FIRST - SPAN + 1).clamp_(min=0)
    difference = (before - means[:, :-16]).abs_().mul_(known > 0)
    decay = decay_of(TAU)
    total = discounted_sum(state["contrast"], difference, decay)
    kept = steps[:, None] + torch.arange(SPAN - 1, device=x.device)
    end = {"recent": recent.gather(1, kept), "contrast": last(total, steps, state["contrast"])}
    edge = (1.5 * (new - old) - 0.5 * (newer - older)) / (LENGTH // 2)
    return end, Stretch(mean, before, edge, total / weight_of(known.clamp_(min=1), decay))
