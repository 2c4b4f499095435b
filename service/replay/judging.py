"""Which detectors ever judged: a cell that counts its own verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from consumers.rows import Rows
from detectors.cell import UNKNOWN, Block, Cell, Output, State
from detectors.kinds import Kind, Reading, Threshold
from detectors.streams import Stream

PREFIX = "judged "
"""Before a kind's name; no state of a cell has a space in it."""


@dataclass(frozen=True, slots=True)
class Judging:
    """``cell``, and at how many steps it said good or bad instead of unknown, by kind."""

    cell: Cell

    @property
    def name(self) -> str:
        """The cell's own: see `detectors.cell.Cell`."""
        return self.cell.name

    @property
    def stream(self) -> Stream:
        """The cell's own."""
        return self.cell.stream

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The cell's own."""
        return self.cell.thresholds

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The cell's own."""
        return self.cell.readings

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The cell's own."""
        return self.cell.kinds

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """The cell's state and a count (R) int64 per kind."""
        counts = {PREFIX + kind.name: like.new_zeros(rows, dtype=torch.int64) for kind in self.kinds}
        return self.cell.init(rows, slots, like) | counts

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        own = {name: value for name, value in state.items() if not name.startswith(PREFIX)}
        output = self.cell.update(own, block, thresholds)
        counts = {
            PREFIX + name: state[PREFIX + name] + _steps_judged(verdict) for name, verdict in output.verdicts.items()
        }
        return Output(output.state | counts, output.readings, output.verdicts)


def judging(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells; those that judge count it."""
    return tuple(Judging(cell) if cell.kinds else cell for cell in cells)


def judged_steps(rows: Rows, run: str) -> dict[str, int]:
    """At how many steps a run was judged, by kind: the most of all its rows. Kinds that had no row are not in it."""
    found: dict[str, int] = {}
    for pool in rows.pools.values():
        mine = [row for row, key in enumerate(pool.keys) if key is not None and key.run == run]
        if mine:
            for kind, counts in _counts(pool.state):
                found[kind] = max(found.get(kind, 0), int(counts[mine].max()))
    return found


def _counts(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        _, found, kind = name.partition(f".{PREFIX}")
        if found:
            yield kind, value


def _steps_judged(verdict: Tensor) -> Tensor:
    """(R[, K], T) int8 to (R)."""
    known = verdict != UNKNOWN
    return (known.any(1) if known.dim() == 3 else known).sum(-1)
