"""The pasts of a run's series, copied when the view is made and put together when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consumers.fleet import Fleet
from consumers.runs import RowKey
from consumers.view import Trace
from detectors.series.trace import Trace as TraceCell


@dataclass(frozen=True, slots=True)
class _Copy:
    """The state of one trace cell: counts, first and newest steps (R), values (R, P)."""

    keys: Sequence[RowKey | None]
    count: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    newest: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def trace(self, row: int) -> Trace | None:
        key, count = self.keys[row], int(self.count[row])
        if key is None or count == 0:
            return None
        stride = 1
        while count > stride * self.values.shape[1]:
            stride *= 2
        number = np.arange(0, count, stride, dtype=np.float64)
        steps = self.first[row] + (self.newest[row] - self.first[row]) * number / max(count - 1, 1)
        assert key.series is not None
        return Trace(
            key.run,
            key.phase,
            key.series.role,
            key.series.label,
            steps,
            self.values[row, : len(number)].astype(np.float64),
        )


class Traces(Mapping[str, Sequence[Trace]]):
    """By run. Made on the worker's thread, read on any."""

    def __init__(self, fleet: Fleet) -> None:
        self._copies = [
            _Copy(
                list(pool.keys),
                *(
                    pool.state[f"{cell.name}.{name}"][: len(pool.keys)].cpu().numpy().copy()
                    for name in ("count", "first", "newest", "values")
                ),
            )
            for pool in fleet.rows.pools.values()
            for cell in pool.cells
            if isinstance(cell, TraceCell)
        ]
        self._runs = list(fleet.runs)

    def __getitem__(self, run: str) -> Sequence[Trace]:
        found = [
            trace
            for copy in self._copies
            for row, key in enumerate(copy.keys)
            if key is not None and key.run == run and (trace := copy.trace(row)) is not None
        ]
        if not found and run not in self._runs:
            raise KeyError(run)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._runs)

    def __len__(self) -> int:
        return len(self._runs)
