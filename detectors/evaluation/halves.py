"""What values were when a series had a quarter to a half of its length. Letters: R rows, K values, T steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import last, packed, unpacked


@dataclass(frozen=True, slots=True)
class Halves:
    """Remembers the values at the numbers ``first``, and twice, four times, eight times as many.

    >>> halves = Halves(first=2)
    >>> x = torch.arange(1.0, 10.0)[None, None]
    >>> halves.update(halves.init(1, 1, x), x, torch.ones(1, 9, dtype=torch.bool))[1]
    tensor([[[nan, nan, nan, 2., 2., 2., 2., 4., 4.]]])
    """

    first: int = 4

    def init(self, rows: int, values: int, like: Tensor) -> State:
        """``count`` (R); ``newer``, ``older`` and ``begin`` (R, K): at the newest such number, at the one before, and
        at the first."""
        names = ("newer", "older", "begin")
        return {"count": like.new_zeros(rows)} | {name: like.new_full((rows, values), nan) for name in names}

    def update(self, state: State, x: Tensor, valid: Tensor) -> tuple[State, Tensor, Tensor]:
        """Take values (R, K, T), all of a step or none, ``valid`` (R, T).

        Returns the state, the values at the last number but one (R, K, T), NaN where not known, and the first (R, K).
        """
        rows, values, length = x.shape
        wide = valid[:, None].expand_as(x).reshape(-1, length)
        front = packed(x.nan_to_num().reshape(-1, length), wide).view(x.shape)
        before, steps = state["count"][:, None], valid.sum(-1)
        number = before + torch.arange(1, length + 1, dtype=x.dtype, device=x.device)  # (R, T)
        newest = self._newest(number)

        def at(wanted: Tensor) -> Tensor:
            """The values (R, K, T) at numbers (R, T): of this block, or of those that are remembered."""
            place = (wanted - before - 1).clamp(0, length - 1).long()[:, None].expand(rows, values, -1)
            old = torch.where(
                (wanted == self._newest(before))[:, None], state["newer"][..., None], state["older"][..., None]
            )
            return torch.where((wanted > before)[:, None], front.gather(-1, place), old)

        older = torch.where((newest >= 2 * self.first)[:, None], at(newest / 2), nan)
        newer = torch.where((newest >= self.first)[:, None], at(newest), nan)
        first = at(torch.full_like(before, self.first)).squeeze(-1)
        reached = (before < self.first) & (before + steps[:, None] >= self.first)
        end = {
            "count": state["count"] + steps,
            "newer": last(newer, steps, state["newer"]),
            "older": last(older, steps, state["older"]),
            "begin": torch.where(reached, first, state["begin"]),
        }
        then = unpacked(older.reshape(-1, length), wide).view(x.shape)
        return end, then, end["begin"]

    def _newest(self, number: Tensor) -> Tensor:
        """The largest of the numbers that is not above ``number``; half of the first, or less, where there is none."""
        return self.first * 2 ** (number / self.first).clamp(min=0.25).log2().floor()
