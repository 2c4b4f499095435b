"""A series' past, thinned to a bounded number of points for a sparkline. Letters: R rows, T steps, P points.

Every ``stride``-th value is kept; when the P places are full every second one is dropped and the
stride doubles. What is kept depends on the number of values alone, not on how they arrived.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.cell import Block, Output, State
from detectors.kinds import Kind, Reading, Threshold
from detectors.recurrence import last
from detectors.streams import Stream


@dataclass(frozen=True, slots=True)
class Trace:
    """Keeps ``source`` of the block. ``values`` (R, P) is float32, NaN where empty or not a number.

    ``latest`` (R) is the last value, as exact as it came. Steps are not kept one by one: value number n stands at
    ``first + (newest - first) * n / (count - 1)``, which is exact for a series reported at even intervals.
    """

    stream: Stream = "series"
    source: str = "value"
    points: int = 64
    at_points: bool = False
    name: str = "trace"
    thresholds: tuple[Threshold, ...] = ()
    kinds: tuple[Kind, ...] = ()
    readings: tuple[Reading, ...] = ()

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """``count`` of values, ``first`` and ``newest`` step (R) int64; ``values`` (R, P)."""
        del slots
        state = {name: like.new_zeros(rows, dtype=torch.int64) for name in ("count", "first", "newest")}
        values = like.new_full((rows, self.points), torch.nan, dtype=torch.float32)
        return state | {"values": values, "latest": like.new_full((rows,), torch.nan)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        del thresholds
        count, steps = state["count"], block.mask.sum(-1)
        after = count + steps
        before_stride, stride = self._stride(count), self._stride(after)  # (R)
        place = torch.arange(self.points, device=count.device) * (stride // before_stride)[:, None]  # (R, P)
        held = state["values"].gather(1, place.clamp(max=self.points - 1))
        thinned = torch.where(place < self.points, held, torch.nan)
        number = count[:, None] + block.mask.cumsum(-1) - 1  # (R, T) of each value in its series
        taken = block.mask & (number % stride[:, None] == 0)
        target = torch.where(taken, number // stride[:, None], self.points)  # place P is thrown away
        roomy = torch.cat([thinned, thinned[:, :1]], dim=1)
        values = block.values[self.source].to(torch.float32)
        fresh = (count == 0) & (steps > 0)
        return Output(
            {
                "count": after,
                "first": torch.where(fresh, block.step[:, 0], state["first"]),
                "newest": last(block.step, steps, state["newest"]),
                "values": roomy.scatter(1, target, values)[:, : self.points],
                "latest": last(block.values[self.source], steps, state["latest"]),
            }
        )

    def rewind(self, now: State, then: State, step: int) -> State:
        """What is drawn of the steps before ``step``; a value stands for those after it that were thinned out."""
        count, first, newest = now["count"], now["first"], now["newest"]
        apart = (newest - first).double() / (count - 1).clamp(min=1)
        before = torch.where(apart > 0, ((step - first) / apart.clamp(min=1e-300)).ceil(), count).long()
        left = torch.where(newest < step, count, before.clamp(min=0).minimum(count - 1)).clamp(min=0)  # (R)
        places = torch.arange(self.points, device=count.device)
        number = places * self._stride(left)[:, None]
        values = now["values"].gather(1, number // self._stride(count)[:, None])
        some = left > 0
        return {
            "count": left,
            "first": torch.where(some, first, then["first"]),
            "newest": torch.where(some, first + (apart * (left - 1)).round().long(), then["newest"]),
            "values": torch.where(number < left[:, None], values, torch.nan),
            "latest": torch.where(newest < step, now["latest"], torch.nan),
        }

    def _stride(self, count: Tensor) -> Tensor:
        """The smallest power of two with which ``count`` values fit into P places."""
        needed = (count.clamp(min=1) + self.points - 1) // self.points
        return 2 ** needed.to(torch.float64).log2().ceil().long()
