"""The step of every row, from the columns of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from losswatch.arrays import Bools, Floats, reported
from losswatch.fields import WHOLE_LIMIT
from service.replay.columns import Columns, empty
from service.replay.rules import EPOCHS, STEPS, WITHIN_EPOCH


class Stepper(Protocol):
    """Gives the rows of a log their steps, chunk by chunk."""

    columns: tuple[str, ...]
    """The columns it reads."""
    why: str
    """How the step comes about, for people."""
    by_epoch: bool
    """Whether a step is an epoch."""

    def __call__(self, rows: Columns) -> Floats:
        """The step (N) of each row; not reported where the row has none."""
        ...


class StepColumn:
    """The step stands in a column."""

    def __init__(self, column: str, why: str = "") -> None:
        self.columns: tuple[str, ...] = (column,)
        self.why = f'column "{column}"{why}'
        self.by_epoch = plain(column) in EPOCHS

    def __call__(self, rows: Columns) -> Floats:
        """See `Stepper`."""
        return rows.values.get(self.columns[0], empty(rows.rows))


class RowNumber:
    """The log has no step: its rows are counted from 0."""

    columns: tuple[str, ...] = ()
    why = "no column holds whole numbers under a name of a step: rows are counted from 0"
    by_epoch = False

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, rows: Columns) -> Floats:
        """See `Stepper`."""
        start, self._next = self._next, self._next + rows.rows
        return np.arange(start, self._next, dtype=np.float64)


class EpochAndBatch:
    """A count within the epoch, which begins again at each: epochs are put after each other.

    An epoch begins where its count falls and the epoch rises. It begins one usual increment after the last row before;
    an epoch that was there already begins where it began then.

    >>> step = EpochAndBatch("epoch", "iter")
    >>> step(Columns(4, {"epoch": np.array([1.0, 1, 2, 2]), "iter": np.array([50.0, 100, 50, 100])}))
    array([ 50., 100., 150., 200.])
    """

    by_epoch = False

    def __init__(self, epoch: str, count: str) -> None:
        self.columns: tuple[str, ...] = (epoch, count)
        self.why = f'column "{count}" counts within the epoch: epochs of column "{epoch}" are put after each other'
        self._offsets: dict[float, float] = {}
        self._offset = 0.0
        self._last: tuple[float, float] | None = None
        self._increment = 1.0

    def __call__(self, rows: Columns) -> Floats:
        """See `Stepper`."""
        epoch = rows.values.get(self.columns[0], empty(rows.rows))
        count = rows.values.get(self.columns[1], empty(rows.rows))
        out = empty(rows.rows)
        given = np.flatnonzero(reported(count) & np.isfinite(count) & np.isfinite(epoch))
        if not len(given):
            return out
        e, c = epoch[given], count[given]
        before_e, before_c = self._last if self._last is not None else (e[0], c[0])
        changed = np.flatnonzero((np.diff(e, prepend=before_e) != 0) | (np.diff(c, prepend=before_c) < 0))
        start = 0
        for at in [*changed.tolist(), len(given)]:
            self._take(out, given[start:at], e[start:at], c[start:at])
            start = at
        return out

    def _take(self, out: Floats, rows: npt.NDArray[np.intp], epoch: Floats, count: Floats) -> None:
        """Rows of one epoch whose count does not fall."""
        if not len(rows):
            return
        now = float(epoch[0])
        if self._last is not None:
            was, last = self._last
            if now > was and count[0] <= last:
                self._offset += last + self._increment - float(count[0])
            elif now < was:
                self._offset = self._offsets.get(now, 0.0)
        self._offsets.setdefault(now, self._offset)
        if len(count) > 1 and count[-1] > count[-2]:
            self._increment = float(count[-1] - count[-2])
        self._last = now, float(count[-1])
        out[rows] = count + self._offset


def plain(name: str) -> str:
    """A name as the table of steps has it.

    >>> plain(" Total Timesteps")
    'total_timesteps'
    """
    return re.sub(r"[ \-]+", "_", name.strip().lower())


def find(names: Iterable[str], head: Columns, preferred: Iterable[str] = ()) -> Stepper:
    """The step that a log's head shows: the first of the preferred names and of `STEPS` whose numbers can be steps."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(plain(name), name)
    for candidate in (*map(plain, preferred), *STEPS):
        column = by_name.get(candidate)
        if column is None or not could_be(head.values, column):
            continue
        epoch = next((by_name[name] for name in EPOCHS if name in by_name), None)
        if candidate in WITHIN_EPOCH and epoch is not None and _restarts(head.values, epoch, column):
            return EpochAndBatch(epoch, column)
        return StepColumn(column)
    return RowNumber()


def could_be(values: Mapping[str, Floats], column: str) -> bool:
    """Whether all numbers of a column could be steps, and they rise somewhere if there are several."""
    found = values.get(column)
    if found is None:
        return False
    given = found[reported(found)]
    return bool(len(given)) and bool(np.all(usable(given))) and (len(given) < 3 or bool((np.diff(given) > 0).any()))


def usable(steps: Floats) -> Bools:
    """Where (N) a number is a step of the wire: whole, not negative, not too large."""
    with np.errstate(invalid="ignore"):
        mask: Bools = (steps >= 0) & (steps < WHOLE_LIMIT) & (np.floor(steps) == steps)
    return mask


def _restarts(values: Mapping[str, Floats], epoch: str, count: str) -> bool:
    """Whether the count falls, or stays, where the epoch rises."""
    if epoch not in values:
        return False
    both = reported(values[epoch]) & reported(values[count])
    e, c = values[epoch][both], values[count][both]
    rises = np.diff(e) > 0
    return bool(rises.any() and np.mean(np.diff(c)[rises] <= 0) > 0.5)
