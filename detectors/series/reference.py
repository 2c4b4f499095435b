"""A series' own level and noise, which a spike does not move. Letters: R rows (series), T steps, N first values.

metaseq's rule against loss spikes leaves a spike out of the average that the next value is compared with. Here a value
counts as far as ``REACH`` noise scales from the level (Huber's location, 1964, as an exponential average), so that one
value moves the level by no more than ``REACH / LEVEL_TAU`` scales, whatever it is. Values beyond reach ``PATIENCE``
times in a row are the new level.

What the next value may reach depends on whether this one was in reach: the recurrence is not linear and has no closed
form, so `follow` goes step by step, all rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import last

FIRST: Final = 8
"""Values of which the first level and noise are made: medians, since the first row of a log is often special."""
REACH: Final = 4.0
LEVEL_TAU: Final = 6.0
SCALE_TAU: Final = 32.0
PATIENCE: Final = 8.0
DEVIATION: Final = 1.2533141373155003
"""Standard deviation over mean absolute deviation of normal noise, ``sqrt(pi / 2)``."""
MEDIAN_STEP: Final = 0.9538726
"""Median of the absolute difference of two normal values: ``sqrt(2) * 0.6745``."""


@dataclass(frozen=True, slots=True)
class Referred:
    """At every step, each (R, T); before value number `FIRST` without meaning."""

    level: Tensor
    """What the value is compared with, made of the values before it."""
    scale: Tensor
    """Standard deviation of values around ``level``."""
    within: Tensor
    """The value, moved into reach of the level."""


def begin(first: Tensor) -> tuple[Tensor, Tensor]:
    """Level and noise scale (R) of the first values (R, N): the median of the last three, and of their differences.

    >>> begin(torch.tensor([[1e13, 5.0, 4.0, 4.0, 3.0, 3.0, 3.0, 2.0]]))[0]
    tensor([3.])
    """
    level = first[:, -3:].median(-1).values
    return level, first.diff(dim=-1).abs().median(-1).values / MEDIAN_STEP


@dataclass(frozen=True, slots=True)
class Reference:
    """See the module's docstring."""

    def init(self, rows: int, like: Tensor) -> State:
        """``level``, ``scale`` and how many values in a row were ``beyond`` reach, each (R)."""
        return {name: like.new_zeros(rows) for name in ("level", "scale", "beyond")}

    def update(self, state: State, x: Tensor, number: Tensor, first: Tensor, steps: Tensor) -> tuple[State, Referred]:
        """Take T finite values (R, T), of which ``steps`` (R) are not padding.

        ``number`` (R, T) counts a row's values from 1. ``first`` (R, N) is looked at when it is complete.
        """
        level, scale = begin(first)
        fresh = number[:, 0] <= FIRST
        level, scale = torch.where(fresh, level, state["level"]), torch.where(fresh, scale, state["scale"])
        early = number <= FIRST
        values = torch.where(early, level[:, None], x).T.clone(memory_format=torch.contiguous_format)
        paces = torch.where(early, 0.0, (1 / number).clamp(min=1 / SCALE_TAU)).T.contiguous()
        kept = x.new_empty(3, x.shape[1] + 1, x.shape[0])
        for place, start in enumerate((level, scale * REACH, state["beyond"])):
            kept[place, 0] = start
        arrays = (*kept, values, 1 - paces, paces * (DEVIATION * REACH))
        grain = torch.finfo(x.dtype).eps * 2**8
        if x.device.type == "cpu":  # on few rows a call of numpy takes a third of the time of one of torch
            follow(np, grain, *(array.numpy() for array in arrays))
        else:
            follow(torch, grain, *arrays)
        level, scale, beyond = (array.T.contiguous() for array in kept)  # each (R, 1 + T)
        scale /= REACH
        end = {"level": level, "scale": scale, "beyond": beyond}
        within = values.T.contiguous().add_(level[:, :-1])
        return {name: last(value[:, 1:], steps, state[name]) for name, value in end.items()}, Referred(
            level[:, :-1], scale[:, :-1], within
        )


def follow(xp: Any, grain: float, levels: Any, reaches: Any, runs: Any, values: Any, rests: Any, gains: Any) -> None:
    """The recurrence, on arrays of ``xp``: numpy, or torch itself.

    ``levels``, ``reaches`` (`REACH` times the scale) and ``runs`` (values beyond reach in a row) are (1 + T, R): the
    first row is where they stand, the others are written. ``values`` (T, R) are moved to how far each value counts.
    ``rests`` (T, R) of a reach remain, ``gains`` of a deviation are added to it. ``grain`` is what is rounding, of the
    level.
    """
    size, reach, beyond = xp.empty_like(levels[0]), xp.empty_like(levels[0]), levels[0] > 0
    level, room, run = levels[0], reaches[0], runs[0]
    for offset, rest, gain, level_now, room_now, run_now in zip(
        values, rests, gains, levels[1:], reaches[1:], runs[1:], strict=True
    ):
        xp.subtract(offset, level, out=offset)
        xp.absolute(offset, out=size)
        xp.absolute(level, out=reach)
        xp.multiply(reach, grain, out=reach)
        xp.add(reach, room, out=reach)
        xp.greater(size, reach, out=beyond)
        xp.add(run, 1, out=run_now)
        xp.multiply(run_now, beyond, out=run_now)
        xp.greater_equal(run_now, PATIENCE, out=beyond)
        xp.multiply(size, beyond, out=level_now)  # as far as it likes where it was beyond for long
        xp.maximum(reach, level_now, out=reach)
        xp.minimum(size, reach, out=size)
        xp.copysign(size, offset, out=offset)
        xp.multiply(offset, 1 / LEVEL_TAU, out=level_now)
        xp.add(level_now, level, out=level_now)
        xp.multiply(room, rest, out=room_now)
        xp.multiply(size, gain, out=size)
        xp.add(room_now, size, out=room_now)
        level, room, run = level_now, room_now, run_now
