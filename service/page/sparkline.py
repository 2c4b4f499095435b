"""Small line charts as SVG path data, in the units of the viewBox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

WIDTH: Final = 240.0
HEIGHT: Final = 64.0
MARGIN: Final = 4.0
"""Kept free all around, so that strokes and dots are not cut."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A series drawn into `WIDTH` x `HEIGHT`."""

    line: str
    """Path data; broken where the series is not finite."""
    area: str
    """The same, closed along the bottom."""
    floor: float | None
    """y of the floor line."""
    marks: tuple[float, ...]
    """x of steps to point at."""
    infinite: tuple[float, ...]
    """x of values that were infinite."""
    end: tuple[float, float] | None
    """The newest finite point."""
    low: float | None
    high: float | None
    first_step: float
    last_step: float


def sparkline(
    steps: Floats, values: Floats, floor: float | None = None, marks: Sequence[float] = ()
) -> Sparkline | None:
    """The chart of a series (T) over its steps (T); nothing where there is no point to draw.

    >>> chart = sparkline(np.array([0.0, 1.0, 2.0]), np.array([1.0, np.nan, 3.0]))
    >>> chart.line, chart.low, chart.high
    ('M4.0 60.0h0M236.0 4.0h0', 1.0, 3.0)
    """
    known = np.isfinite(steps)
    steps, values = steps[known], values[known]
    finite = np.isfinite(values)
    if not len(steps):
        return None
    x = scale(steps, steps[0], steps[-1], MARGIN, WIDTH - MARGIN)
    shown = values[finite]
    bounds = np.append(shown, floor) if floor is not None else shown
    low, high = (float(bounds.min()), float(bounds.max())) if len(bounds) else (0.0, 1.0)
    y = scale(np.where(finite, values, low), low, high, HEIGHT - MARGIN, MARGIN)
    pieces = np.split(np.arange(len(x)), np.flatnonzero(np.diff(finite.astype(np.int8))) + 1)
    drawn = [piece for piece in pieces if finite[piece[0]]]
    at = np.array(marks, dtype=np.float64)
    inside = at[(at >= steps[0]) & (at <= steps[-1])]
    return Sparkline(
        line="".join(path_data(x[piece], y[piece]) for piece in drawn),
        area="".join(
            f"{path_data(x[piece], y[piece])}V{HEIGHT:.1f}H{x[piece[0]]:.1f}Z" for piece in drawn if len(piece) > 1
        ),
        floor=None if floor is None else float(scale(np.array([floor]), low, high, HEIGHT - MARGIN, MARGIN)[0]),
        marks=tuple(scale(inside, steps[0], steps[-1], MARGIN, WIDTH - MARGIN).tolist()),
        infinite=tuple(x[np.isinf(values)].tolist()),
        end=(float(x[finite][-1]), float(y[finite][-1])) if finite.any() else None,
        low=float(shown.min()) if len(shown) else None,
        high=float(shown.max()) if len(shown) else None,
        first_step=float(steps[0]),
        last_step=float(steps[-1]),
    )


def scale(values: Floats, low: float, high: float, start: float, end: float) -> Floats:
    """``low`` to ``start`` and ``high`` to ``end``; the middle where there is no span. Halved first,
    so that the span of the largest floats does not overflow."""
    span = high / 2 - low / 2
    part: Floats = (values / 2 - low / 2) / span if span > 0 else np.full(values.shape, 0.5)
    scaled: Floats = start + part * (end - start)
    return scaled


def path_data(x: Floats, y: Floats) -> str:
    """A line through points (T); a single one is a dot."""
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
    return f"M{points[0]}" + ("".join(f"L{p}" for p in points[1:]) or "h0")
