"""Plots of a report as SVG path data, in the units of the viewBox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from losswatch.arrays import Floats
from service.page.sparkline import path_data, scale

WIDTH: Final = 480.0
HEIGHT: Final = 120.0
MARGIN: Final = 4.0
OUTLYING: Final = 10.0
"""Values so many times the usual span away from it are drawn at the edge: the rest would be a flat line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A step to point at."""

    step: float
    tone: str
    """A severity, or ``pending``."""
    kind: str
    """``began`` or ``confirmed``."""
    words: str
    x: float = 0.0


@dataclass(frozen=True, slots=True)
class Plot:
    """One or more series over the same steps, drawn into `WIDTH` x `HEIGHT`."""

    lines: Sequence[str]
    """Path data of each series; broken where it is not finite and where the steps go back."""
    marks: Sequence[Mark]
    bad: Sequence[float]
    """x of values that were not finite."""
    low: float | None
    high: float | None
    beyond: int
    """How many of the points lie outside of ``low`` to ``high``."""
    first_step: float
    last_step: float


def plot(series: Sequence[tuple[Floats, Floats]], marks: Sequence[Mark] = ()) -> Plot | None:
    """The plot of series, each as steps and values (T); nothing where there is no step.

    >>> plot([(np.array([0.0, 1.0, 2.0, 0.0, 1.0]), np.array([1.0, np.nan, 3.0, 1.0, 2.0]))]).lines
    ['M4.0 116.0h0M476.0 4.0h0M4.0 116.0L240.0 60.0']
    """
    steps = np.concatenate([step for step, _ in series])
    if not len(steps):
        return None
    first, last = float(steps.min()), float(steps.max())
    values = np.concatenate([value for _, value in series])
    finite = values[np.isfinite(values)]
    low, high = _span(finite) if len(finite) else (0.0, 1.0)
    inside = [mark for mark in marks if first <= mark.step <= last]
    at = scale(np.array([mark.step for mark in inside]), first, last, MARGIN, WIDTH - MARGIN).tolist()
    return Plot(
        lines=[_line(step, value, (first, last), (low, high)) for step, value in series],
        marks=[Mark(mark.step, mark.tone, mark.kind, mark.words, x) for mark, x in zip(inside, at, strict=True)],
        bad=scale(steps[~np.isfinite(values)], first, last, MARGIN, WIDTH - MARGIN).tolist(),
        low=low if len(finite) else None,
        high=high if len(finite) else None,
        beyond=int(((finite < low) | (finite > high)).sum()),
        first_step=first,
        last_step=last,
    )


def _span(finite: Floats) -> tuple[float, float]:
    """What the axis shows: all values, unless a few lie far outside of where the others do."""
    low, high = (float(part) for part in np.percentile(finite, [2, 98]))
    with np.errstate(over="ignore"):
        room = OUTLYING * (high - low)
    least, most = float(finite.min()), float(finite.max())
    if not 0 < room < np.inf:
        return least, most
    return (max(least, low - (high - low)) if least < low - room else least), (
        min(most, high + (high - low)) if most > high + room else most
    )


def _line(step: Floats, value: Floats, steps: tuple[float, float], span: tuple[float, float]) -> str:
    finite = np.isfinite(value)
    x = scale(step, *steps, MARGIN, WIDTH - MARGIN)
    y = scale(np.clip(np.where(finite, value, span[0]), *span), *span, HEIGHT - MARGIN, MARGIN)
    cut = (np.diff(finite.astype(np.int8)) != 0) | (np.diff(step) < 0)
    pieces = np.split(np.arange(len(x)), np.flatnonzero(cut) + 1)
    return "".join(path_data(x[piece], y[piece]) for piece in pieces if len(piece) and finite[piece[0]])
