"""Rows of a job, gathered into blocks by phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

BLOCK_STEPS: Final = 64
BLOCK_SECONDS: Final = 1.0
PHASES: Final = 64
"""How many phases of a run have their first step sent at once."""

GROUPS: Final = ("components", "weights", "log_vars", "metrics")
Group = Mapping[Any, Any] | None
Measure = tuple[str, int]
"""How the numbers were measured, and what the total had been divided by."""
PER_STEP: Final[Measure] = ("step", 1)
Row = tuple[Any, Any, float, Any, tuple[Group, Group, Group, Group], Any, Any, Measure]
"""Phase, step, Unix seconds, total, one mapping for each of `GROUPS`, slices, checkpoint, all as captured."""


class Blocks:
    """Gathers rows: a block is due when it has 64 steps, or a second after its first one; the first
    rows of a phase are due at once."""

    def __init__(self) -> None:
        self._open: dict[str, list[Row]] = {}
        self._due: dict[str, float] = {}
        self._seen: set[str] = set()
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, row: Row, now: float) -> list[Row] | None:
        """Add a row at monotonic time ``now``; its phase's block where that made it full, or where the
        row was measured in another way than those of the block."""
        phase = row[0]
        closed = None
        rows = self._open.get(phase)
        if rows is not None and rows[0][-1] != row[-1]:
            closed, rows = self._close(phase), None
        if rows is None:
            first = phase not in self._seen and len(self._seen) < PHASES
            if first:
                self._seen.add(phase)
            self._due[phase] = now if first else now + BLOCK_SECONDS
            rows = self._open[phase] = []
        rows.append(row)
        self._rows += 1
        return self._close(phase) if len(rows) >= BLOCK_STEPS else closed

    def due(self, now: float) -> list[list[Row]]:
        """The blocks whose time has come; ``inf`` for all."""
        return [self._close(phase) for phase, when in list(self._due.items()) if when <= now]

    def _close(self, phase: str) -> list[Row]:
        del self._due[phase]
        rows = self._open.pop(phase)
        self._rows -= len(rows)
        return rows
