"""Rows of a log as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from losswatch.arrays import NOT_REPORTED, Bools, Floats, reported
from service.replay.numbers import ABSENT, of_values


@dataclass(frozen=True, slots=True)
class Columns:
    """N rows: the numbers (N) of each column, not reported where a row has none."""

    rows: int
    values: Mapping[str, Floats]
    texts: frozenset[str] = frozenset()
    """Columns that hold no number."""
    part: str = ""
    """The run that they are of, in a log of several runs side by side."""


@dataclass(frozen=True, slots=True)
class Batch:
    """N rows that have a step."""

    steps: Floats
    """The step (N) of each, a whole number."""
    leads: Bools
    """Which (N) hold something of training."""
    values: Mapping[str, Floats]
    """As in `Columns`."""

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, rows: slice | Bools) -> Batch:
        """Some of the rows."""
        return Batch(self.steps[rows], self.leads[rows], {name: values[rows] for name, values in self.values.items()})

    def __add__(self, other: Batch) -> Batch:
        """These rows and then the others."""
        if not len(self):
            return other
        values = {
            name: np.concatenate(
                [batch.values[name] if name in batch.values else empty(len(batch)) for batch in (self, other)]
            )
            for name in dict.fromkeys((*self.values, *other.values))
        }
        steps, leads = np.concatenate([self.steps, other.steps]), np.concatenate([self.leads, other.leads])
        return Batch(steps, leads, values)


def empty(rows: int) -> Floats:
    """A column (N) in which nothing is reported."""
    return np.full(rows, NOT_REPORTED)


def any_reported(columns: Iterable[Floats], rows: int) -> Bools:
    """Where (N) any of the columns has a value."""
    out = np.zeros(rows, dtype=np.bool_)
    for column in columns:
        out |= reported(column)
    return out


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Columns of JSON objects; objects in objects are joined by ``/``.

    >>> of_rows([{"step": 1, "loss": {"a": 0.5}}, {"step": 2, "note": "hello"}]).values
    {'step': array([1., 2.]), 'loss/a': array([0.5, nan])}
    """
    if any(dict in set(map(type, row.values())) for row in rows):
        rows = [_flat(row) for row in rows]
    names = dict.fromkeys(name for row in rows for name in row)
    alike = all(len(row) == len(names) for row in rows)
    values, texts = {}, []
    for name in names:
        cells = [row[name] for row in rows] if alike else [row.get(name, ABSENT) for row in rows]
        column = of_values(cells)
        if column is None:
            texts.append(name)
        else:
            values[name] = column
    return Columns(len(rows), values, frozenset(texts))


def _flat(row: Mapping[str, Any], prefix: str = "", depth: int = 8) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and depth:
            out |= _flat(value, f"{prefix}{name}/", depth - 1)
        else:
            out[f"{prefix}{name}"] = value
    return out
