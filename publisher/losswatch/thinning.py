"""What is kept of blocks of steps that there is no room for: where it went wrong, and where it was worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from losswatch.arrays import NOT_REPORTED, Floats, Ints, reported
from losswatch.schema import Steps

GROUPS: Final = ("components", "weights", "log_vars", "metrics")


def thinned(records: Sequence[Steps]) -> dict[str, Any]:
    """The essential steps of one record, or of two of one phase one after another, as fields of a record.

    They are the first and the last at which the total or a component is not finite, and the one with the
    largest total; without a total, the last.

    >>> record = Steps(run="r", time=0.0, step=[0, 1, 2, 3], total=[1.0, 9.0, float("nan"), 2.0])
    >>> thinned([record])["step"]
    array([1, 2])
    """
    kept = [(record, _essential(record)) for record in records]
    step = np.concatenate([record.step[rows] for record, rows in kept])
    fields: dict[str, Any] = {"phase": records[0].phase, "step": step}
    for name in ("at", "total"):
        fields |= _column(name, [(getattr(record, name), rows) for record, rows in kept])
    for group in GROUPS:
        fields |= _columns(group, [(getattr(record, group), rows) for record, rows in kept])
    slices: dict[str, Any] = {}
    for part in dict.fromkeys(part for record in records for part in record.slices):
        slices |= _columns(part, [(record.slices.get(part, {}), rows) for record, rows in kept])
    if slices:
        fields["slices"] = slices
    checkpoint = [record.checkpoint[i] if record.checkpoint else None for record, rows in kept for i in rows.tolist()]
    if any(checkpoint):
        fields["checkpoint"] = checkpoint
    measure = {"measured", "divided_by"} & records[0].model_fields_set
    return fields | {name: getattr(records[0], name) for name in measure}


def _essential(record: Steps) -> Ints:
    bad = np.zeros(len(record.step), bool)
    for values in (record.total, *record.components.values()):
        if values is not None:
            bad |= reported(values) & ~np.isfinite(values)
    rows = set(np.flatnonzero(bad)[[0, -1]].tolist()) if bad.any() else set()
    if record.total is None:
        rows.add(len(bad) - 1)
    elif (finite := np.isfinite(record.total)).any():
        rows.add(int(np.where(finite, record.total, -np.inf).argmax()))
    return np.array(sorted(rows or {len(bad) - 1}), dtype=np.int64)


def _columns(name: str, groups: Sequence[tuple[dict[str, Floats], Ints]]) -> dict[str, Any]:
    """A mapping of series, joined; nothing where there are none."""
    out: dict[str, Any] = {}
    for series in dict.fromkeys(series for group, _ in groups for series in group):
        out |= _column(series, [(group.get(series), rows) for group, rows in groups])
    return {name: out} if out else {}


def _column(name: str, parts: Sequence[tuple[Floats | None, Ints]]) -> dict[str, Any]:
    if all(values is None for values, _ in parts):
        return {}
    rows = [np.full(len(rows), NOT_REPORTED) if values is None else values[rows] for values, rows in parts]
    return {name: np.concatenate(rows)}
