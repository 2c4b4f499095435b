"""Reduced records of many runs as arrays, one line for what a record gives to a row of a pool.

Letters: M lines, V values, R rows of a block, K slots, T steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from consumers.points import Kept
from consumers.pools import Pool
from consumers.runs import StreamRow
from detectors.streams import VALUES
from losswatch.arrays import Ints

NO_LINE: Final = -1


class Origin(Protocol):
    """The record that lines are of."""

    @property
    def run(self) -> Any: ...
    @property
    def time(self) -> float:
        """When it was made, Unix seconds."""

    @property
    def step(self) -> int: ...
    @property
    def order(self) -> int:
        """See `consumers.pieces.ObjectivePiece`."""


class Given(NamedTuple):
    """What records give to rows of one stream."""

    rows: Sequence[StreamRow]
    """M, in any pools."""
    of: Sequence[int]
    """M places of the records that they are given by."""
    values: Tensor
    """(M, V), in the order of `detectors.streams.VALUES`."""
    slots: Tensor | None = None
    """(M, V', K or fewer), likewise."""


@dataclass(frozen=True, slots=True)
class Lines:
    """What records give to rows of one pool; see `Given`."""

    pool: Pool
    row: Ints
    of: Ints
    step: Ints
    values: Tensor
    slots: Tensor | None = None


class Sheet(NamedTuple):
    """Lines that go through the detectors as one block."""

    rows: list[int]
    line: Ints
    """(R, T): which line is at each place, `NO_LINE` behind a row's last one."""
    kept: list[Kept]
    """The rewind points that are to be taken after the block."""


def by_pool(given: Iterable[Given], step: Ints) -> list[Lines]:
    """The same by pool; ``step`` of all records."""
    parts: dict[Pool, list[Lines]] = {}
    for each in given:
        places: dict[Pool, list[int]] = {}
        for place, row in enumerate(each.rows):
            places.setdefault(row.pool, []).append(place)
        for pool, chosen in places.items():
            parts.setdefault(pool, []).append(_part(each, pool, chosen, step))
    return [joined(found) for found in parts.values()]


def _part(given: Given, pool: Pool, chosen: Sequence[int], step: Ints) -> Lines:
    row = np.array([given.rows[place].row for place in chosen], dtype=np.int64)
    of, values, slots = np.array(given.of, dtype=np.int64), given.values, given.slots if pool.slots else None
    if len(chosen) < len(given.rows):
        of, index = of[chosen], torch.tensor(chosen, device=values.device)
        values, slots = values[index], None if slots is None else slots[index]
    return Lines(pool, row, of, step[of], values, None if slots is None else slots[..., : pool.slots])


def joined(parts: Sequence[Lines]) -> Lines:
    """Lines of one pool together."""
    if len(parts) == 1:
        return parts[0]
    some = [part.slots for part in parts if part.slots is not None]
    elsewhere = VALUES[parts[0].pool.stream].elsewhere
    widest = max((slots.shape[-1] for slots in some), default=0)
    return Lines(
        parts[0].pool,
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.of for part in parts]),
        np.concatenate([part.step for part in parts]),
        torch.cat([part.values for part in parts]),
        torch.cat([widened(slots, widest, elsewhere) for slots in some]) if some else None,
    )


def widened(slots: Tensor, width: int, elsewhere: float) -> Tensor:
    """With so many slots, ``elsewhere`` in new ones."""
    new = width - slots.shape[-1]
    return pad(slots, (0, new), value=elsewhere) if new else slots


def sheets(lines: Lines, most: int) -> Iterator[Sheet]:
    """Pack lines into blocks of at most ``most`` steps, those of a row in the order of their records.

    A row has no line behind one after which one of its rewind points is to be taken.
    """
    order = np.lexsort((lines.of, lines.row))
    row, step = lines.row[order], lines.step[order]
    first = np.concatenate([[True], row[1:] != row[:-1]])
    ends, kept = lines.pool.points.advance_each(row, first, step)
    place = np.arange(len(row))
    start = _newest(first | np.concatenate([[False], ends[:-1]]), place)
    offset = (place - start) % most
    number = np.cumsum(offset == 0) - 1
    number -= number[_newest(first, place)]
    for now in range(number.max() + 1):
        chosen = number == now
        among = np.cumsum(offset[chosen] == 0) - 1
        line = np.full((among[-1] + 1, offset[chosen].max() + 1), NO_LINE)
        line[among, offset[chosen]] = order[chosen]
        points = [point for at, point in kept if number[at] == now]
        yield Sheet(lines.row[line[:, 0]].tolist(), line, points)


def _newest(event: npt.NDArray[np.bool_], place: Ints) -> Ints:
    """The place of the newest event."""
    found: Ints = np.maximum.accumulate(np.where(event, place, 0))
    return found
