"""How good scores are as alarms: precision, recall, delay, false alarms, area under the precision-recall curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bench.temporal_runs import GRACE, Floats, Labelled

APART: Final = 80
"""A score counts only where it is the largest of so many; alarms nearer than this are one."""

Names = dict[str, dict[int, int]]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of all series: each anomaly's largest score, each false alarm's score, and how many values there were."""

    found: Floats
    kinds: tuple[str, ...]
    false: Floats
    values: int

    def curve(self) -> tuple[Floats, Floats, Floats]:
        """Thresholds from high to low, with precision and recall at each."""
        thresholds = np.unique(self.found[self.found > 0])[::-1]
        hits = (self.found[None] >= thresholds[:, None]).sum(1)
        wrong = (self.false[None] >= thresholds[:, None]).sum(1)
        return thresholds, hits / np.maximum(hits + wrong, 1), hits / max(len(self.found), 1)

    def area(self) -> float:
        """Area under the precision-recall curve, in steps (average precision)."""
        _, precision, recall = self.curve()
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))

    def best(self) -> float:
        """The threshold of the largest F1."""
        thresholds, precision, recall = self.curve()
        if not len(thresholds):
            return np.inf
        return float(thresholds[np.argmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))])


def largest(scores: Floats) -> Floats:
    """A score where it is the largest of the last `APART`, else 0."""
    window = sliding_window_view(np.concatenate([np.full(APART - 1, -np.inf), scores]), APART)
    counted: Floats = np.where(scores >= window.max(1), scores, 0.0)
    return counted


def peaks(runs: Sequence[Labelled], scores: Sequence[Floats]) -> Peaks:
    """What a method's scores come to."""
    found, kinds, false = [], [], []
    for run, raw in zip(runs, scores, strict=True):
        counted = largest(raw)
        free = np.ones(len(counted), dtype=bool)
        for window in run.windows:
            found.append(counted[window.start : window.end].max())
            kinds.append(window.kind)
            free[window.start : window.end + GRACE] = False
        false += _alarms(np.where(free, counted, 0.0))
    values = sum(len(run.values) for run in runs)
    return Peaks(np.array(found), tuple(kinds), np.array(false), values)


def _alarms(scores: Floats) -> list[float]:
    """The largest scores that are `APART` from each other."""
    left, found = scores.copy(), []
    while len(left) and (score := left.max()) > 0:
        at = int(left.argmax())
        left[max(at - APART, 0) : at + APART + 1] = 0
        found.append(float(score))
    return found


def delays(runs: Sequence[Labelled], scores: Sequence[Floats], threshold: float) -> list[int]:
    """Values from the beginning of an anomaly to the first alarm in it."""
    found = []
    for run, raw in zip(runs, scores, strict=True):
        counted = largest(raw)
        for window in run.windows:
            hits = np.flatnonzero(counted[window.start : window.end] >= threshold)
            found += [int(hits[0])] if len(hits) else []
    return found


def names(runs: Sequence[Labelled], scores: Sequence[Floats], changes: Sequence[Floats], threshold: float) -> Names:
    """By kind of anomaly, how often each change was named at the first alarm in it, and 0 where there was none."""
    found: dict[str, dict[int, int]] = {}
    for run, raw, change in zip(runs, scores, changes, strict=True):
        counted = largest(raw)
        for window in run.windows:
            hits = np.flatnonzero(counted[window.start : window.end] >= threshold)
            name = int(change[window.start + hits[0]]) if len(hits) else 0
            row = found.setdefault(window.kind, {})
            row[name] = row.get(name, 0) + 1
    return found
