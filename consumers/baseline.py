"""How good a record's predictions are, sample by sample, and how good the nearest training sample's values would be."""

from __future__ import annotations

from math import nan

import numpy as np

from consumers.references import UNLABELLED
from consumers.samples import Item
from consumers.validity import matrix_of
from losswatch.arrays import Floats, Ints


def own_errors(item: Item) -> Floats:
    """(N): the first of ``errors``, or else 1 for a wrong class and 0 for a right one; NaN where nothing is known."""
    record = item.record
    if record.errors:
        return np.asarray(next(iter(record.errors.values())), dtype=np.float64)
    if item.label is None or record.values is None:
        return np.full(record.size, nan)
    if item.predicted is not None:
        return np.not_equal(item.predicted, item.label).astype(np.float64)
    values = matrix_of(record)
    wrong: Floats = np.where(np.isnan(values).any(1), nan, values.argmax(1) != item.label)
    return wrong


def neighbour_errors(item: Item, nearest: Ints) -> Floats:
    """(N): what the error is if each sample is given the true value of its nearest reference (N places).

    Of the same sort as `own_errors`: the absolute difference of the targets that have the error's name, or 1 where
    the labels differ. NaN where the job did not send them.
    """
    record, references = item.record, item.run.references
    assert references is not None
    if record.errors:
        name = next(iter(record.errors))
        if name not in record.targets or name not in references.targets:
            return np.full(record.size, nan)
        return np.abs(np.asarray(record.targets[name], dtype=np.float64) - references.targets[name][nearest])
    if item.label is None or record.values is None:
        return np.full(record.size, nan)
    known = references.labels[nearest]
    return np.where(known == UNLABELLED, nan, (known != item.label).astype(np.float64))
