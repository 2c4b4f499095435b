"""Rows of a job, gathered into blocks by phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

BLOCK_STEPS: Final = 4096
"""Most steps of a block, which is what the wire allows a record."""
BLOCK_VALUES: Final = 32_768
"""About how many numbers a block has at most: a quarter of a megabyte in the binary encoding."""
BLOCK_SECONDS: Final = 1.0
CHUNK_ROWS: Final = 256
"""Rows that are taken, and made columns of, at a time. As tuples they would keep the garbage collector busy, and
the job waits while they are worked on."""
PHASES: Final = 64
"""How many phases of a run have their first step sent at once."""

GROUPS: Final = ("components", "weights", "log_vars", "metrics")
Group = Mapping[Any, Any] | None
Measure = tuple[str, int]
"""How the numbers were measured, and what the total had been divided by."""
PER_STEP: Final[Measure] = ("step", 1)
Row = tuple[Any, Any, float, Any, Group, Group, Group, Group, Any, Any, Measure]
"""Phase, step, Unix seconds, total, one mapping for each of `GROUPS`, slices, checkpoint, measure: as captured."""
PHASE: Final = 0
STEP: Final = 1
AT: Final = 2
TOTAL: Final = 3
COMPONENTS: Final = 4
SLICES: Final = 8
MEASURE: Final = 10

Fields = dict[str, Any]
"""Fields of a ``steps`` record, with arrays as columns."""
Fold = Callable[[Sequence[Row]], list[Fields]]
"""Makes columns of rows of one phase and measure."""


class Blocks:
    """Gathers rows: a block is due when it is full, or a second after its first row; the first rows of a phase
    are due at once."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._open: dict[str, _Block] = {}
        self._seen: set[str] = set()
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, rows: Sequence[Row], now: float) -> list[list[Fields]]:
        """Add rows at monotonic time ``now``; the blocks that became full by it, or that were measured in
        another way than the rows that follow them."""
        closed = []
        for (phase, measure), run in groupby(rows, key=itemgetter(PHASE, MEASURE)):
            block = self._open.get(phase)
            if block is not None and block.measure != measure:
                closed.append(self._close(phase))
            left = list(run)
            while left:
                block = self._open.get(phase) or self._begin(phase, left[0], now)
                taken, left = left[: block.room], left[block.room :]
                self._rows += len(taken)
                if block.takes(taken, self._fold):
                    closed.append(self._close(phase))
        return closed

    def due(self, now: float) -> list[list[Fields]]:
        """The blocks whose time has come; ``inf`` for all."""
        return [self._close(phase) for phase, block in list(self._open.items()) if block.due <= now]

    def _begin(self, phase: str, row: Row, now: float) -> _Block:
        first = phase not in self._seen and len(self._seen) < PHASES
        if first:
            self._seen.add(phase)
        block = self._open[phase] = _Block(row, now if first else now + BLOCK_SECONDS)
        return block

    def _close(self, phase: str) -> list[Fields]:
        block = self._open.pop(phase)
        self._rows -= block.length
        return block.fields(self._fold)


class _Block:
    """Rows of one phase, those of before as columns."""

    def __init__(self, row: Row, due: float) -> None:
        self.due, self.measure = due, row[MEASURE]
        self.length = 0
        self.room = max(1, min(BLOCK_STEPS, BLOCK_VALUES // width(row)))
        self._rows: list[Row] = []
        self._folded: list[Fields] = []

    def takes(self, rows: Sequence[Row], fold: Fold) -> bool:
        """Take rows, as many as there is room for; whether it is full."""
        self._rows += rows
        self.length += len(rows)
        self.room -= len(rows)
        if len(self._rows) >= CHUNK_ROWS:
            self._folded += fold(self._rows)
            self._rows = []
        return self.room == 0

    def fields(self, fold: Fold) -> list[Fields]:
        return self._folded + (fold(self._rows) if self._rows else [])


def width(row: Row) -> int:
    """How many numbers a row has, its step and its time among them."""
    groups = sum(len(group) for group in row[COMPONENTS:SLICES] if group)
    return 3 + groups + sum(map(len, (row[SLICES] or {}).values()))
