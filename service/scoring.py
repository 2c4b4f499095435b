"""Series of CSV files on their way through the temporal detector, many in one batch."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from detectors.cell import Block, State
from detectors.temporal.anomaly import RUN_LENGTH, TemporalAnomaly

SCORE: Final = "anomaly_score"
BLOCK: Final = 64


class NotReadable(ValueError):
    """A file that turned out not to be a table; the message names it."""


@dataclass(slots=True)
class Series:
    """A CSV file on its way through the detector. Raises NotReadable."""

    path: Path
    rows: Iterator[list[str]]
    writer: Any
    column: int
    time: int | None
    width: int
    taken: int = 0
    missing: list[int] = field(default_factory=list)
    """Rows without a number, counted from 1."""
    backwards: int = 0
    newest: str = ""

    def next_rows(self) -> list[list[str]]:
        """The next rows, as many as go through the detector at once."""
        try:
            return list(islice(self.rows, BLOCK))
        except (csv.Error, UnicodeDecodeError) as error:
            raise NotReadable(f"{self.path}: not a CSV file in UTF-8 after row {self.taken}: {error}") from None

    def value(self, row: Sequence[str]) -> float:
        """The row's value; NaN where there is none."""
        self.taken += 1
        if self.time is not None and self.time < len(row):
            self.backwards += _before(row[self.time], self.newest)
            self.newest = row[self.time]
        try:
            value = float(row[self.column])
        except (ValueError, IndexError):
            value = math.nan
        if not math.isfinite(value):
            self.missing.append(self.taken)
            return math.nan
        return value

    def write(self, rows: Iterable[Sequence[str]], scores: Iterable[float], values: Iterable[float]) -> None:
        """The rows again, each with its score; 0 while warming up."""
        for row, score, value in zip(rows, scores, values, strict=True):
            known = 0.0 if math.isnan(score) else score
            cells = [*row, *[""] * (self.width - len(row))]
            self.writer.writerow([*cells, "" if math.isnan(value) else f"{known:.6f}"])


def scored(series: Sequence[Series], direction: float) -> Iterator[int]:
    """Let all series through the detector together, a block of each at a time; how many rows each turn took."""
    cell, open_ = TemporalAnomaly(dtype=torch.float64), list(series)
    state = cell.init(len(open_), 0, torch.zeros((), dtype=torch.float64))
    while open_:
        turns = [each.next_rows() for each in open_]
        going = [r for r, rows in enumerate(turns) if rows]
        open_, turns = [open_[r] for r in going], [turns[r] for r in going]
        if not open_:
            return
        values = [[each.value(row) for row in rows] for each, rows in zip(open_, turns, strict=True)]
        state, scores = _judge(cell, {name: x[going] for name, x in state.items()}, values, direction)
        for each, rows, found, taken in zip(open_, turns, scores.tolist(), values, strict=True):
            each.write(rows, found[: len(rows)], taken)
        yield sum(len(rows) for rows in turns)


def _judge(
    cell: TemporalAnomaly, state: State, values: Sequence[Sequence[float]], direction: float
) -> tuple[State, Tensor]:
    """The new state and the scores (R, T)."""
    steps = max(map(len, values))
    x = torch.tensor([[*row, *[math.nan] * (steps - len(row))] for row in values], dtype=torch.float64)
    step = torch.arange(steps).expand(x.shape)
    mask = step < torch.tensor([len(row) for row in values])[:, None]
    facts = {"direction": x.new_full((len(values),), direction)}
    limits = {RUN_LENGTH.name: x.new_full((len(values),), RUN_LENGTH.default)}
    found = cell.update(state, Block(step, mask, {"value": x}, {}, facts), limits)
    return dict(found.state), found.readings[SCORE]


def _before(time: str, newest: str) -> bool:
    """Whether a time is before another; numbers as numbers, others as ISO 8601 sorts."""
    try:
        return float(time) < float(newest)
    except ValueError:
        return len(time) == len(newest) and time < newest
