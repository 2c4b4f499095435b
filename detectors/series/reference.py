"""A series' own level and noise, which a spike does not move. Letters: R rows (series), T steps, N first values.

metaseq's rule against loss spikes leaves a spike out of the average that the next value is compared with. Here a value
counts as far as ``REACH`` noise scales from the level (Huber's location, 1964, as an exponential average), so that one
value moves the level by no more than ``REACH / LEVEL_TAU`` scales, whatever it is. Values beyond reach ``PATIENCE``
times in a row are the new level.

What the next value may reach depends on whether this one was in reach: the recurrence is not linear and has no closed
form, so `Reference.update` goes step by step, all rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
        values = torch.where(early, level[:, None], x).T.contiguous().unbind()
        paces = torch.where(early, 0.0, (1 / number).clamp(min=1 / SCALE_TAU)).T.contiguous().unbind()
        beyond, grain = state["beyond"], torch.finfo(x.dtype).eps * 2**8
        levels, scales, runs = [level], [scale], [beyond]
        offsets: list[Tensor] = []
        for value, pace in zip(values, paces, strict=True):
            offset = value - level
            size = offset.abs()
            reach = torch.add(level.abs() * grain, scale, alpha=REACH)
            beyond = (beyond + 1) * (size > reach)
            size = torch.where(beyond >= PATIENCE, size, torch.minimum(size, reach))
            offset = torch.copysign(size, offset)
            level = torch.add(level, offset, alpha=1 / LEVEL_TAU)
            scale = torch.lerp(scale, size * DEVIATION, pace)
            for kept, now in ((levels, level), (scales, scale), (offsets, offset), (runs, beyond)):
                kept.append(now)
        level, scale, beyond = (torch.stack(kept, -1) for kept in (levels, scales, runs))
        end = {"level": level, "scale": scale, "beyond": beyond}
        within = level[:, :-1] + torch.stack(offsets, -1)
        return {name: last(value[:, 1:], steps, state[name]) for name, value in end.items()}, Referred(
            level[:, :-1], scale[:, :-1], within
        )
