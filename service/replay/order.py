"""The order of rows: where a log goes back, a second writer's rows, rows that belong to one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from losswatch.arrays import Floats, reported
from service.replay import notes
from service.replay.notes import Notes

Rows = npt.NDArray[np.intp]
LOOKAHEAD: Final = 8
"""Rows after one that goes back that tell a restart from a second writer."""


@dataclass(slots=True)
class Order:
    """What is known of the training steps of one run so far."""

    first: int | None = None
    """The first step of the first run in the file: whoever goes back to it begins anew."""
    newest: int | None = None


class Cut(NamedTuple):
    """A place where the log goes back and stays there."""

    row: int
    new_run: bool


@dataclass(slots=True)
class Course:
    """What came of looking at some rows."""

    cuts: list[Cut] = field(default_factory=list)
    strays: list[int] = field(default_factory=list)
    """Rows of a second writer."""


def follow(order: Order, rows: Rows, steps: Floats, ready: int) -> Course:
    """Look at the first ``ready`` of the training rows (N, indices) and their steps (N).

    A step below the newest is a second writer's if one of the next rows is beyond the newest and the log then falls
    again, not below this step. Otherwise the log went on from there: as a new run if that is where the first one
    began, else as the same run, restarted from a checkpoint.

    >>> steps = np.array([10.0, 20, 30, 20, 30, 40, 10, 20])
    >>> follow(Order(), np.arange(8), steps, 8).cuts
    [Cut(row=3, new_run=False), Cut(row=6, new_run=True)]
    """
    course = Course()
    if not ready:
        return course
    if order.first is None:
        order.first = order.newest = int(steps[0])
    newest = order.newest if order.newest is not None else int(steps[0])
    if steps[0] >= newest and (ready == 1 or np.all(np.diff(steps[:ready]) >= 0)):
        order.newest = int(steps[ready - 1])
        return course
    values = steps.tolist()
    for i in range(ready):
        step = values[i]
        if step >= newest:
            newest = step
        elif _second_writer(newest, values[i : i + 1 + LOOKAHEAD]):
            course.strays.append(int(rows[i]))
        else:
            course.cuts.append(Cut(int(rows[i]), new_run=step <= order.first))
            newest = step
    order.newest = int(newest)
    return course


def _second_writer(newest: float, steps: list[float]) -> bool:
    """Whether the first of the steps, which is below the newest, is an odd one out among those that follow."""
    beyond = next((i for i, step in enumerate(steps) if step > newest), len(steps))
    return any(steps[0] <= b < a for a, b in pairwise(steps[beyond:]))


def merged(
    steps: Floats, columns: dict[str, Floats], newest: int | None, said: Notes
) -> tuple[Rows, dict[str, Floats], Rows]:
    """One row per step, later than ``newest``, of the rows (N) of a phase: steps (M), columns (M) and first rows (M).

    The rows of a step complete each other; where two have the same column the first counts. ``steps`` do not fall.
    """
    later = np.ones(len(steps), dtype=np.bool_)
    if newest is not None or np.any(np.diff(steps) < 0):
        before = np.maximum.accumulate(np.concatenate([[-1.0 if newest is None else float(newest)], steps[:-1]]))
        floor = -1 if newest is None else newest
        later = (steps > floor) & (steps >= before)
        said.count(notes.STEP_AGAIN, int((~later).sum()))
    kept = np.flatnonzero(later)
    steps = steps[kept]
    rising = np.diff(steps) > 0
    if rising.all():
        chosen = columns if later.all() else {name: values[kept] for name, values in columns.items()}
        return steps.astype(np.int64), chosen, kept
    starts = np.concatenate([[0], np.flatnonzero(rising) + 1])
    group = np.cumsum(np.concatenate([[0], rising.astype(np.intp)]))
    out = {}
    fresh, repeats, differs = np.zeros((3, len(kept)), dtype=np.bool_)
    places = np.arange(len(kept))
    for name, values in columns.items():
        mine = values[kept]
        given = reported(mine)
        first = np.minimum.reduceat(np.where(given, places, len(kept)), starts)
        out[name] = mine[np.where(first < len(kept), first, starts)]
        again = given & (places != first[group])
        same = (mine == out[name][group]) | (np.isnan(mine) & np.isnan(out[name][group]))
        fresh |= given & ~again
        repeats |= again & same
        differs |= again & ~same
    said.count(notes.DUPLICATE, int((repeats & ~differs & ~fresh).sum()))
    said.count(notes.STEP_AGAIN, int(differs.sum()))
    return steps[starts].astype(np.int64), out, kept[starts]
