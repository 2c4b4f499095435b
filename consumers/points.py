"""Rewind points: what a row's detectors knew a while ago, for a job that goes back to a checkpoint.

Each row has two places. A point at a power of two of its steps takes the newer place, and what was there moves to the
older one; a checkpoint that the job tells takes the newer place alone. So without checkpoints whoever goes back by less
than half of a row's steps finds a point, and with them the last one, and one from before the last power of two. A point
is taken at the end of a record, the first one that reaches its number of steps: it does not depend on how records were
batched. Letters: R rows, P places.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectors.cell import State
from detectors.streams import Stream
from losswatch.arrays import Bools, Ints

OLDER: Final = 0
NEWER: Final = 1
PLACES: Final = 2
FIRST: Final = 8
"""Steps of a row before its first point."""
MOST_SLOTS: Final = 64
"""Rows with more have no points: hundreds of classes would not fit into a snapshot three times."""
APART: Final = 16
"""Steps between two checkpoints that each become a point."""
NARROW: Final[frozenset[Stream]] = frozenset({"series", "objective", "labels"})
"""Streams with much state, none of which is a step number: their points are kept in single precision."""
UNSEEN: Final = -1
HEAD: Final = np.dtype([("taken", "<i8"), ("newest", "<i8"), ("at", "<i8", PLACES), ("step", "<i8", PLACES)])
"""What a row's packed points begin with."""


class Kept(NamedTuple):
    """A point that is to be taken of a row."""

    row: int
    taken: int
    """Steps the row has taken."""
    step: int
    """The newest of them."""
    moves: bool
    """Whether the newer point becomes the older one, and is not just replaced."""


class Points:
    """The points of a pool's rows. ``fresh`` is the state of one fresh row, by name; those that are kept."""

    def __init__(self, fresh: Mapping[str, Tensor], *, narrow: bool) -> None:
        self._fresh = dict(fresh)
        self._narrow = narrow
        self._layout: dict[torch.dtype, list[str]] = {}
        for name, value in self._fresh.items():
            self._layout.setdefault(self._fitting(value).dtype, []).append(name)
        self._kept = {
            dtype: torch.cat([_flat(fresh[name]) for name in names], dim=1)[:0, None].repeat(1, PLACES, 1).to(dtype)
            for dtype, names in self._layout.items()
        }
        """(R, P, F) by number format: the numbers of all names in a row, one large tensor each."""
        self._taken = array("q")
        """(R) steps of rows whose pieces are packed; rows that are fed by others follow those."""
        self._due = array("q")
        self._newest = array("q")
        self._last = array("q")
        """(R) steps of the row at its newest point, even if that is still to be taken."""
        self._at = np.zeros((0, PLACES), dtype=np.int64)
        """(R, P) steps the row had taken, 0 where a place is empty."""
        self._step = np.zeros((0, PLACES), dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Have room for so many rows."""
        more = rows - len(self._taken)
        self._taken.extend([0] * more)
        self._due.extend([FIRST] * more)
        self._last.extend([0] * more)
        self._newest.extend([UNSEEN] * more)
        self._at = np.concatenate([self._at, np.zeros((more, PLACES), dtype=np.int64)])
        self._step = np.concatenate([self._step, np.zeros((more, PLACES), dtype=np.int64)])
        for dtype, value in self._kept.items():
            self._kept[dtype] = value.new_empty(rows, *value.shape[1:])  # pages that no row uses cost nothing
            self._kept[dtype][: len(value)] = value

    def clear(self, row: int) -> None:
        """Forget the points of a row."""
        self._taken[row], self._due[row], self._newest[row] = 0, FIRST, UNSEEN
        self._at[row], self._last[row] = 0, 0

    def advance(self, row: int, steps: int, newest: int, saved: bool) -> Kept | None:
        """Count ``steps`` more of a row, and the point that is to be taken after them."""
        before = self._taken[row]
        taken = self._taken[row] = before + steps
        newest = self._newest[row] = max(newest, self._newest[row])
        if not self._kept or (taken < self._due[row] and not saved):
            return None
        last, self._due[row] = self._last[row], _next(taken)
        moves = last == 0 or taken.bit_length() > max(before, FIRST - 1).bit_length()
        if taken < FIRST or not (moves or taken - last >= APART):
            return None
        self._last[row] = taken
        return Kept(row, taken, newest, moves)

    def advance_each(self, row: Ints, first: Bools, step: Ints) -> tuple[Bools, list[tuple[int, Kept]]]:
        """As `advance` for M single steps without checkpoints. ``row`` (M) is sorted, ``first`` where a row begins.

        After which of them a point is to be taken (M), and those points with their places.
        """
        begins = np.flatnonzero(first)
        rows, counts = row[begins], np.diff(begins, append=len(row))
        all_taken, all_newest = (np.frombuffer(x, dtype=np.int64) for x in (self._taken, self._newest))
        before, known = all_taken[rows], all_newest[rows]
        all_taken[rows] = before + counts
        all_newest[rows] = np.maximum(known, np.maximum.reduceat(step, begins))
        taken = np.repeat(before + 1 - begins, counts) + np.arange(len(row))
        ends = (taken >= FIRST) & ((taken & (taken - 1)) == 0) & bool(self._kept)
        kept = []
        for at in np.flatnonzero(ends).tolist():
            of = int(np.searchsorted(rows, row[at]))
            count, newest = int(taken[at]), max(int(known[of]), int(step[begins[of] : at + 1].max()))
            self._last[rows[of]], self._due[rows[of]] = count, _next(count)
            kept.append((at, Kept(int(rows[of]), count, newest, moves=True)))
        return ends, kept

    def keep(self, state: Mapping[str, Tensor], points: Sequence[Kept]) -> None:
        """Take points, of each row at most one, of the whole ``state`` (R, ...)."""
        self._move([point.row for point in points if point.moves], NEWER, OLDER)
        rows = [point.row for point in points]
        for dtype, value in self._kept.items():
            index = torch.tensor(rows, device=value.device)
            now = [_flat(self._fitting(state[name].index_select(0, index))) for name in self._layout[dtype]]
            value[index, NEWER] = torch.cat(now, dim=1)
        self._at[rows, NEWER] = [point.taken for point in points]
        self._step[rows, NEWER] = [point.step for point in points]

    def behind(self, rows: Iterable[int], step: int) -> list[int]:
        """Those of the rows that may have learned from ``step`` or a later one."""
        return [row for row in rows if not 0 <= self._newest[row] < step]

    def rewind(self, rows: Sequence[int], step: int) -> State:
        """Go back to the newest points before ``step``, and forget those after: (R, ...), fresh where there is none."""
        at = np.where(self._step[rows] < step, self._at[rows], 0)  # (R, P)
        place, taken = at.argmax(1), at.max(1)
        self._at[rows] = at
        then: State = {}
        for dtype, value in self._kept.items():
            kept = value[list(rows), place.tolist()]
            then |= {name: part.to(self._fresh[name].dtype) for name, part in self._parts(dtype, kept).items()}
        known = torch.from_numpy(taken > 0)
        for name, part in then.items():
            there = known.to(part.device).view(-1, *[1] * (part.dim() - 1))
            then[name] = torch.where(there, part, self._fresh[name])
        for row, count, newest in zip(rows, taken.tolist(), self._step[rows, place].tolist(), strict=True):
            self._taken[row], self._due[row] = count, _next(count)
            if self._newest[row] != UNSEEN:
                self._newest[row] = newest if count else UNSEEN
            self._last[row] = count
        self._move([row for row, chosen in zip(rows, place.tolist(), strict=True) if chosen == OLDER], OLDER, NEWER)
        return then

    def _move(self, rows: Sequence[int], source: int, target: int) -> None:
        if not rows:
            return
        for value in self._kept.values():
            index = torch.tensor(rows, device=value.device)
            value[index, target] = value[index, source]
        self._at[rows, target], self._step[rows, target] = self._at[rows, source], self._step[rows, source]
        self._at[rows, source] *= target == OLDER

    def _parts(self, dtype: torch.dtype, kept: Tensor) -> State:
        """The numbers (..., F) of a format by name, each (..., shape)."""
        names = self._layout[dtype]
        parts = torch.split(kept, [self._fresh[name].numel() for name in names], dim=-1)
        return {
            name: part.reshape(*kept.shape[:-1], *self._fresh[name].shape[1:])
            for name, part in zip(names, parts, strict=True)
        }

    def _fitting(self, value: Tensor) -> Tensor:
        """As it is kept; finite values stay finite in single precision."""
        if not self._narrow or value.dtype is not torch.float64:
            return value
        most = torch.finfo(torch.float32).max
        return torch.where(value.isfinite(), value.clamp(-most, most), value).float()

    def copy(self, row: int, wider: Points, to: int) -> None:
        """Give the points of a row to one of a pool with more slots, or with none."""
        head = self._dump(row)
        if not wider._kept:
            head["at"] = 0
        for dtype, value in self._kept.items() if wider._kept else ():
            wide = wider._kept[dtype][to]
            roomy = wider._parts(dtype, wide)
            for name, source in self._parts(dtype, value[row]).items():
                both = tuple(slice(min(sizes)) for sizes in zip(source.shape, roomy[name].shape, strict=True))
                roomy[name][both] = source[both]
            wide.copy_(torch.cat([_flat(part) for part in roomy.values()], dim=1))
        wider._load(to, head)

    def layout(self) -> list[tuple[str, str]]:
        """What `pack` depends on."""
        return [(name, str(dtype)) for dtype, names in self._layout.items() for name in names]

    def pack(self, rows: Sequence[int]) -> list[bytes]:
        """The points of each row as bytes; places that are empty take none."""
        parts = [value[list(rows)].view(torch.uint8) for value in self._kept.values()]
        places = torch.cat(parts, dim=2).cpu().numpy() if parts else np.zeros((len(rows), PLACES, 0), dtype=np.uint8)
        return [
            b"".join([self._dump(row).tobytes(), *(found[place].tobytes() for place in np.flatnonzero(self._at[row]))])
            for row, found in zip(rows, places, strict=True)
        ]

    def unpack(self, row: int, data: bytes) -> None:
        """Set the points of a row from `pack`; raises ValueError if the bytes are of another layout."""
        if len(data) < HEAD.itemsize:
            raise ValueError(f"{len(data)} bytes of rewind points are too short for this layout")
        head = np.frombuffer(data[: HEAD.itemsize], dtype=HEAD)
        self._load(row, head)
        start = HEAD.itemsize
        for place in np.flatnonzero(self._at[row]).tolist():
            for value in self._kept.values():
                target = value[row, place]
                size = target.numel() * target.element_size()
                piece = bytearray(data[start : start + size])
                if len(piece) != size:
                    raise ValueError(f"{len(data)} bytes of rewind points are too short for this layout")
                target.copy_(torch.frombuffer(piece, dtype=target.dtype).view(target.shape))
                start += size
        if start != len(data):
            raise ValueError(f"{len(data)} bytes of rewind points are too long for this layout")

    def _dump(self, row: int) -> npt.NDArray[np.void]:
        head = np.zeros(1, dtype=HEAD)
        head["taken"], head["newest"] = self._taken[row], self._newest[row]
        head["at"], head["step"] = self._at[row], self._step[row]
        return head

    def _load(self, row: int, head: npt.NDArray[np.void]) -> None:
        self._taken[row], self._newest[row] = int(head["taken"][0]), int(head["newest"][0])
        self._due[row] = _next(self._taken[row])
        self._at[row], self._step[row] = head["at"][0], head["step"][0]
        self._last[row] = int(self._at[row, NEWER])


def _flat(value: Tensor) -> Tensor:
    """(R, ...) to (R, F)."""
    return value.flatten(1) if value.dim() > 1 else value[:, None]


def _next(taken: int) -> int:
    """How many steps a row has at its next point without a checkpoint.

    >>> [_next(taken) for taken in (0, 8, 100)]
    [8, 16, 128]
    """
    return FIRST if taken < FIRST else 1 << taken.bit_length()
