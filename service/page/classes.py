"""How each class fares: how often it is the label and the prediction, and how well it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

TABLES: Final = (
    "class_label_ratio",
    "class_predicted_ratio",
    "class_precision_ratio",
    "class_recall_ratio",
    "class_f1_ratio",
)
"""The readings that the table is made of, in the order of its columns."""


@dataclass(frozen=True, slots=True)
class Fare:
    """One line of the table of classes; shares of the recent records, None where they are not known."""

    phase: str
    name: str
    labels: float | None
    predicted: float | None
    precision: float | None
    recall: float | None
    f1: float | None


def fares(readings: Mapping[str, Mapping[tuple[str, ...], float]]) -> Sequence[Fare]:
    """The lines of classes that are labels or predictions: of each phase, those with the lowest F1 first.

    >>> key = ("val", "cat")
    >>> fares({"class_label_ratio": {key: 0.1, ("val", "dog"): 0.0}, "class_recall_ratio": {key: 0.25}})
    [Fare(phase='val', name='cat', labels=0.1, predicted=None, precision=None, recall=0.25, f1=None)]
    """
    columns = [readings.get(name, {}) for name in TABLES]
    labels, predicted, *_, f1 = columns
    keys = {key for column in columns for key in column if labels.get(key, 0) > 0 or predicted.get(key, 0) > 0}
    ordered = sorted(keys, key=lambda key: (key[0], f1.get(key, inf), -labels.get(key, 0), key))
    return [Fare(phase, name, *(column.get((phase, name)) for column in columns)) for phase, name in ordered]
