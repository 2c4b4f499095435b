"""Pieces of single runs, and how those of many are packed into rounds.

Pieces of a row are packed one behind the other into rounds of `STEPS` steps, or what the fleet allows; a round
holds each row at most once and goes through the detectors as one block. Letters: R rows, K slots, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from consumers.points import Kept, Points
from losswatch.arrays import Bools, Floats, Ints

STEPS: Final = 64
"""Most steps of a row in one block; the products of `detectors.recurrence` grow with its square."""

CLOSED: Final = -1


@dataclass(frozen=True, slots=True)
class ObjectivePiece:
    """Consecutive steps of one phase of one run, as columns."""

    row: int
    owner: Any
    """Who it belongs to: returned with what the detectors find."""
    time: float
    """When its record was made, Unix seconds."""
    step: Ints
    total: Floats | None
    components: Sequence[tuple[int, Floats]]
    """By slot."""
    declared: npt.NDArray[np.float64]
    """(K) weights."""
    weights: Sequence[tuple[int, Floats]]
    """By slot, where they were reported with the step."""
    series: npt.NDArray[np.int64]
    """(1 + K) series rows of the total and the slots; -1 where there is none."""
    log_vars: Sequence[tuple[int, Floats, Bools]] = ()
    """By slot: the newest known at each step, and whether it was reported with it."""
    measured: int = 0
    """Place in `detectors.streams.MEASURED`."""
    divided_by: int = 1
    order: int = 0
    """Counts the records of a batch: what is made of several pieces is put in this order again."""
    saved: bool = False
    """Whether the job made a checkpoint at its last step."""


@dataclass(frozen=True, slots=True)
class SeriesPiece:
    """Consecutive reported values of one series."""

    row: int
    owner: Any
    time: float
    step: Ints
    value: Floats
    order: int = 0
    """See `ObjectivePiece`."""
    saved: bool = False
    """As in `ObjectivePiece`."""


@dataclass(frozen=True, slots=True)
class PairPiece:
    """Consecutive steps of a pair of series."""

    row: int
    owner: Any
    time: float
    step: Ints
    values: Mapping[str, Floats]
    """By name in the block; what is not there was not reported."""
    saved: bool = False
    """As in `ObjectivePiece`."""


class Bands(NamedTuple):
    """What a series is expected to keep to; each holds from its first step on, until the next one's."""

    from_step: Ints
    low: Floats
    high: Floats


Piece = TypeVar("Piece", ObjectivePiece, SeriesPiece, PairPiece)


@dataclass(slots=True)
class Round(Generic[Piece]):
    """Pieces that go into one block, each with its row of the block and its offset in time."""

    rows: list[int] = field(default_factory=list)
    placed: list[tuple[int, int, Piece]] = field(default_factory=list)
    fill: list[int] = field(default_factory=list)
    """Steps taken, by row of the block."""
    kept: list[Kept] = field(default_factory=list)
    """The rewind points that are to be taken after the block, of rows whose last piece here asks for one."""

    @property
    def shape(self) -> tuple[int, int]:
        """(R, T)."""
        return len(self.rows), max(self.fill)

    def piece_at(self, row: int, offset: int) -> Piece:
        """The piece that brought a step."""
        return max((p for p in self.placed if p[0] == row and p[1] <= offset), key=lambda p: p[1])[2]


def pack(pieces: Sequence[Piece], most: int = STEPS, points: Points | None = None) -> Iterator[Round[Piece]]:
    """Pack pieces (each of at most `STEPS` steps) into rounds of at most ``most`` steps, keeping the order within
    each row. A row has no piece behind one after which one of its ``points`` is to be taken."""
    rounds: list[Round[Piece]] = []
    at: dict[int, tuple[int, int]] = {}
    """By row: its newest round and its place there, `CLOSED` where it takes no more."""
    for piece in pieces:
        number, place = at.get(piece.row, (-1, 0))
        length = len(piece.step)
        if number >= 0 and place != CLOSED and rounds[number].fill[place] + length <= most:
            target = rounds[number]
        else:
            number += 1
            if number == len(rounds):
                rounds.append(Round())
            target = rounds[number]
            place = len(target.rows)
            target.rows.append(piece.row)
            target.fill.append(0)
            at[piece.row] = (number, place)
        target.placed.append((place, target.fill[place], piece))
        target.fill[place] += length
        if points is not None and (kept := points.advance(piece.row, length, int(piece.step[-1]), piece.saved)):
            target.kept.append(kept)
            at[piece.row] = (number, CLOSED)
    yield from rounds
