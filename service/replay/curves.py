"""What a run's series looked like, in a bounded number of points that still show every outlier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from consumers.runs import Run
from detectors.aggregation.formulas import declared_weights
from losswatch.arrays import NOT_REPORTED, Floats, Ints, reported
from losswatch.schema import Steps

BUCKETS: Final = 256
"""Most buckets of a curve, each with its lowest and its highest value. Even."""
MAX_CURVES: Final = 120
"""Most curves of a run."""


class CurveKey(NamedTuple):
    """Which series of a run."""

    phase: str
    role: str
    """``total``, ``component``, ``share``, ``metric``, ``slice`` or ``reading``."""
    name: str


class Curve:
    """One series. Every bucket stands for equally many values; their number doubles whenever the buckets are full.

    >>> curve = Curve()
    >>> curve.add(np.arange(1000), np.where(np.arange(1000) == 500, 9.0, 1.0))
    >>> steps, values = curve.points()
    >>> len(steps), float(values.max()), float(steps[values.argmax()])
    (500, 9.0, 500.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self._per = 1
        empty = np.full((3, BUCKETS), np.nan)
        self._low, self._high = empty, empty.copy()
        """Value, step and number of each bucket's lowest and highest finite value; NaN where it has none."""
        self._bad = np.full((2, BUCKETS), np.nan)
        """Step and number of each bucket's first NaN or infinity."""

    def add(self, step: Ints, value: Floats) -> None:
        """The next values (T)."""
        number = np.arange(self.count, self.count + len(step))
        self.count += len(step)
        while number[-1] // self._per >= BUCKETS:
            self._halve()
        bucket, finite = number // self._per, np.isfinite(value)
        if not finite.all():
            for n in np.flatnonzero(~finite)[::-1]:
                if not self._bad[1, bucket[n]] < number[n]:
                    self._bad[:, bucket[n]] = step[n], number[n]
            bucket, number, step, value = bucket[finite], number[finite], step[finite], value[finite]
        if not len(value):
            return
        order = np.lexsort((value, bucket))
        sorted_bucket = bucket[order]
        edge = np.flatnonzero(np.diff(sorted_bucket)) + 1
        candidates = np.stack([value, step.astype(np.float64), number.astype(np.float64)])
        lowest, highest = order[np.append(0, edge)], order[np.append(edge, len(order)) - 1]
        into = bucket[lowest]
        self._low[:, into] = _lower(self._low[:, into], candidates[:, lowest])
        self._high[:, into] = -_lower(-self._high[:, into], -candidates[:, highest])

    def points(self) -> tuple[Floats, Floats]:
        """Steps and values in the order in which they came; NaN stands for what was not finite."""
        bad = np.stack([np.full(BUCKETS, np.nan), *self._bad])
        points = np.concatenate([self._low, self._high, bad], axis=1)
        points = points[:, ~np.isnan(points[2])]
        _, places = np.unique(points[2], return_index=True)
        return points[1, places], points[0, places]

    def _halve(self) -> None:
        self._per *= 2
        empty = np.full((3, BUCKETS // 2), np.nan)
        self._low = np.concatenate([_lower(self._low[:, ::2], self._low[:, 1::2]), empty], axis=1)
        self._high = np.concatenate([-_lower(-self._high[:, ::2], -self._high[:, 1::2]), empty], axis=1)
        first = np.where(np.isnan(self._bad[:, ::2]), self._bad[:, 1::2], self._bad[:, ::2])
        self._bad = np.concatenate([first, empty[:2]], axis=1)


class Curves:
    """All curves of one run. Shares are those of the declared or reported weights, as `Contributions` has them."""

    def __init__(self) -> None:
        self.by_key: dict[CurveKey, Curve] = {}
        self.left_out: set[CurveKey] = set()
        """Series beyond the first `MAX_CURVES`."""

    def add(self, run: Run, record: Steps) -> None:
        """Take a block in."""
        for key, value in _series(run, record):
            given = reported(value)
            if not given.any():
                continue
            if (curve := self.by_key.get(key)) is None:
                if len(self.by_key) >= MAX_CURVES:
                    self.left_out.add(key)
                    continue
                curve = self.by_key[key] = Curve()
            curve.add(record.step[given], value[given])

    def add_reading(self, phase: str, name: str, step: Floats, value: Floats) -> None:
        """Take in the past (T) of a number that losswatch made itself."""
        curve = self.by_key[CurveKey(phase, "reading", name)] = Curve()
        curve.add(step.astype(np.int64), value)


def _series(run: Run, record: Steps) -> Iterator[tuple[CurveKey, Floats]]:
    phase = record.phase
    if record.total is not None:
        yield CurveKey(phase, "total", "total"), record.total
    for name, values in record.components.items():
        yield CurveKey(phase, "component", name), values
    for name, values in _shares(run, record):
        yield CurveKey(phase, "share", name), values
    for name, values in record.metrics.items():
        yield CurveKey(phase, "metric", name), values
    for part, named in record.slices.items():
        for name, values in named.items():
            yield CurveKey(phase, "slice", f"{part}/{name}"), values


def _shares(run: Run, record: Steps) -> Iterator[tuple[str, Floats]]:
    names = list(record.components)
    if len(names) < 2:
        return
    objective = run.objective(record.phase)
    declared = declared_weights(objective.form, objective.weights, objective.scale, names)
    weights = [record.weights.get(name, np.full(len(record.step), NOT_REPORTED)) for name in names]
    with np.errstate(all="ignore"):
        size = np.abs(
            [
                np.where(reported(weight), weight, constant) * record.components[name]
                for name, weight, constant in zip(names, weights, declared, strict=True)
            ]
        )
        finite = np.isfinite(size)
        share = np.where(finite, size / np.where(finite, size, 0.0).sum(0), NOT_REPORTED)
    yield from zip(names, share, strict=True)


def _lower(one: Floats, two: Floats) -> Floats:
    """Column by column the one whose value (row 0) is lower; NaN is never chosen over a number."""
    chosen: Floats = np.where(np.isnan(one[0]) | (two[0] < one[0]), two, one)
    return chosen
