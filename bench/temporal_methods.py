"""Scores to compare the temporal anomaly score with, each strictly online: a series in, a score a value out."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from river.anomaly import HalfSpaceTrees
from river.drift import ADWIN, PageHinkley

from bench.temporal_own import own
from bench.temporal_runs import Floats, Labelled

Method = Callable[[Sequence[Labelled]], list[Floats]]
WARM_UP: Final = 20


def each(score: Callable[[Labelled], Floats]) -> Method:
    """A method that takes one series at a time."""
    return lambda runs: [score(run) for run in runs]


def ewma_z(run: Labelled, alpha: float = 0.05) -> Floats:
    """Distance from an exponential average in standard deviations; for the worse only, where that is known."""
    scores, mean, variance = np.zeros(len(run.values)), run.values[0], 0.0
    for t, x in enumerate(run.values):
        if t >= WARM_UP:
            z = (x - mean) / (math.sqrt(variance) + 1e-12)
            scores[t] = abs(z) if run.direction == 0 else max(-run.direction * z, 0.0)
        mean, variance = mean + alpha * (x - mean), (1 - alpha) * (variance + alpha * (x - mean) ** 2)
    return scores


def detrended(run: Labelled, alpha: float = 0.05) -> Floats:
    """The series minus the exponential average before each value."""
    rest, mean = np.zeros(len(run.values)), run.values[0]
    for t, x in enumerate(run.values):
        rest[t], mean = x - mean, mean + alpha * (x - mean)
    return rest


def novelty(run: Labelled, memory: int = 4000) -> Floats:
    """Distance of the detrended value to the nearest in memory, over the range of the memory."""
    scores, kept, order = np.zeros(len(run.values)), deque[float](), list[float]()
    for t, y in enumerate(detrended(run).tolist()):
        if t >= WARM_UP:
            place = bisect.bisect(order, y)
            scores[t] = min(abs(y - near) for near in order[max(place - 1, 0) : place + 1]) / (
                order[-1] - order[0] or 1.0
            )
        bisect.insort(order, y)
        kept.append(y)
        if len(kept) > memory:
            order.pop(bisect.bisect_left(order, kept.popleft()))
    return scores


def half_space_trees(run: Labelled) -> Floats:
    """river's, on the detrended value scaled by its usual size."""
    model, scores, size = (
        HalfSpaceTrees(seed=0, window_size=250, limits={"y": (-8.0, 8.0)}),
        np.zeros(len(run.values)),
        0.0,
    )
    for t, y in enumerate(detrended(run).tolist()):
        point = {"y": float(np.clip(y / (size or 1.0), -8, 8))}
        scores[t] = model.score_one(point) if t >= WARM_UP else 0.0
        model.learn_one(point)
        size = 0.98 * size + 0.02 * abs(y) if t else abs(y)
    return scores


def adwin(run: Labelled) -> Floats:
    """river's, on the standardised detrended value; a drift counts by the size of the value that gave it away."""
    detector, scores = ADWIN(delta=0.002), np.zeros(len(run.values))
    for t, y in enumerate(_standard(run)):
        detector.update(y)
        scores[t] = float(detector.drift_detected) * (1 + abs(y)) if t >= WARM_UP else 0.0
    return scores


def page_hinkley(run: Labelled) -> Floats:
    """river's, on the standardised detrended value; a drift counts by the size of the value that gave it away."""
    detector, scores = PageHinkley(min_instances=WARM_UP, threshold=20.0), np.zeros(len(run.values))
    for t, y in enumerate(_standard(run)):
        detector.update(y)
        scores[t] = float(detector.drift_detected) * (1 + abs(y)) if t >= WARM_UP else 0.0
    return scores


def _standard(run: Labelled) -> list[float]:
    size, found = 0.0, []
    for t, y in enumerate(detrended(run).tolist()):
        found.append(y / size if size else 0.0)
        size = 0.98 * size + 0.02 * abs(y) if t else abs(y)
    return found


METHODS: Final[Mapping[str, Method]] = {
    "temporal score": own,
    "value novelty, detrended": each(novelty),
    "EWMA z": each(ewma_z),
    "HalfSpaceTrees (river)": each(half_space_trees),
    "ADWIN (river)": each(adwin),
    "Page-Hinkley (river)": each(page_hinkley),
    "always fire": each(lambda run: np.ones(len(run.values))),
    "never fire": each(lambda run: np.zeros(len(run.values))),
}
