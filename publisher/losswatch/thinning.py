"""What is kept of blocks of steps that there is no room for: where it went wrong, and where it was worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from losswatch.arrays import Ints, reported
from losswatch.blocks import Fields
from losswatch.columns import joined, picked
from losswatch.schema import Record, Steps

FIRST_PIECE: Final = 64
NEXT_PIECE: Final = 4
"""How many steps the essential ones are kept of: in a record as it was made, and in those thinned out before."""


def thinned(records: Sequence[Steps]) -> Fields:
    """The essential steps of one record, or of two of one phase one after another, as fields of a record.

    Of each 64 steps of one record, or each 4 of two, they are the first and the last at which the total or a
    component is not finite, and the one with the largest total; without a total, the last.

    >>> record = Steps(run="r", time=0.0, step=[0, 1, 2, 3], total=[1.0, 9.0, float("nan"), 2.0])
    >>> thinned([record])["step"]
    array([1, 2])
    """
    fields = joined([_fields(record) for record in records])
    length, piece = len(fields["step"]), FIRST_PIECE if len(records) == 1 else NEXT_PIECE
    pieces = [slice(start, start + piece) for start in range(0, length, piece)]
    return picked(fields, np.concatenate([each.start + _essential(picked(fields, each)) for each in pieces]))


def _fields(record: Steps) -> Fields:
    names = record.model_fields_set - Record.model_fields.keys()
    return {name: value for name in names if (value := getattr(record, name)) is not None} | {"phase": record.phase}


def _essential(fields: Fields) -> Ints:
    bad, total = np.zeros(len(fields["step"]), bool), fields.get("total")
    for values in (total, *fields.get("components", {}).values()):
        if values is not None:
            bad |= reported(values) & ~np.isfinite(values)
    rows = set(np.flatnonzero(bad)[[0, -1]].tolist()) if bad.any() else set()
    if total is None:
        rows.add(len(bad) - 1)
    elif (finite := np.isfinite(total)).any():
        rows.add(int(np.where(finite, total, -np.inf).argmax()))
    return np.array(sorted(rows or {len(bad) - 1}), dtype=np.int64)
