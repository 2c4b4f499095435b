"""Columns of steps: made of rows, joined, picked from, and thinned out to where it went wrong or was worst.

They are the fields of a ``steps`` record but for those that every record has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

from losswatch import tensors
from losswatch.arrays import NOT_REPORTED, Floats, Ints, reported
from losswatch.blocks import GROUPS, PER_STEP, Fields, Row
from losswatch.fields import MAX_SERIES
from losswatch.notices import text_of
from losswatch.schema import Record, Steps

NAME_CHARACTERS: Final = 200
CHECKPOINT_CHARACTERS: Final = 1000

Complain = Callable[[str], object]
Table = dict[str, Floats]
FIRST_PIECE: Final = 64
NEXT_PIECE: Final = 4
"""How many steps the essential ones are kept of: in a record as it was made, and in those thinned out before."""
_FLOAT: Final = {float}


def columns(rows: Sequence[Row], complain: Complain) -> Fields:
    """The columns of rows of one phase and measure, whose steps are whole.

    What cannot be used is left out, and ``complain`` told why.
    """
    phase, step, at, total, *groups, slices, checkpoint, measure = zip(*rows, strict=True)
    fields: Fields = {"phase": phase[0], "step": np.array(step, np.int64), "at": np.array(at)}
    if _FLOAT.issuperset(map(type, total)):
        fields["total"] = np.array(total)
    else:
        fields |= _filled([None if each is None else {"total": each} for each in total], complain)
    for place, mappings in zip(GROUPS, groups, strict=True):
        if any(mappings) and (table := _uniform(mappings) or _filled(mappings, complain)):
            fields[place] = table
    if any(slices) and (parts := _sliced(slices, complain)):
        fields["slices"] = parts
    if checkpoint.count(None) < len(rows) and any(checkpoints := [_checkpoint(each, complain) for each in checkpoint]):
        fields["checkpoint"] = checkpoints
    if measure[0] != PER_STEP:
        fields["measured"], fields["divided_by"] = measure[0]
    return fields


def joined(parts: Sequence[Fields]) -> Fields:
    """The columns of all parts, which are of one phase and measure, one after another.

    >>> joined([{"step": np.array([1]), "total": np.array([0.5])}, {"step": np.array([2, 3])}])
    {'step': array([1, 2, 3]), 'total': array([0.5, nan, nan])}
    """
    if len(parts) == 1:
        return parts[0]
    lengths = [len(part["step"]) for part in parts]
    fields = {name: value for name, value in parts[0].items() if name in ("phase", "measured", "divided_by")}
    fields["step"] = np.concatenate([part["step"] for part in parts])
    fields |= _joined([{name: part[name] for name in ("at", "total") if name in part} for part in parts], lengths)
    for place in GROUPS:
        if table := _joined([part.get(place, {}) for part in parts], lengths):
            fields[place] = table
    sliced = [part.get("slices", {}) for part in parts]
    if names := dict.fromkeys(chain.from_iterable(sliced)):
        fields["slices"] = {name: _joined([part.get(name, {}) for part in sliced], lengths) for name in names}
    if any("checkpoint" in part for part in parts):
        fields["checkpoint"] = list(
            chain.from_iterable(part.get("checkpoint", [None] * len(part["step"])) for part in parts)
        )
    return fields


def picked(fields: Fields, rows: Ints | slice) -> Fields:
    """The columns at some rows.

    >>> picked({"phase": "val", "step": np.array([1, 2]), "metrics": {"m": np.array([0.5, 0.25])}}, slice(1, 2))
    {'phase': 'val', 'step': array([2]), 'metrics': {'m': array([0.25])}}
    """
    return {name: _picked(value, rows) for name, value in fields.items()}


def _picked(value: Any, rows: Ints | slice) -> Any:
    match value:
        case np.ndarray():
            return value[rows]
        case dict():
            return {name: _picked(each, rows) for name, each in value.items()}
        case list():
            return np.array(value, dtype=object)[rows].tolist()
    return value


def _joined(tables: Sequence[Mapping[str, Floats]], lengths: Sequence[int]) -> Table:
    out: Table = {}
    for name in dict.fromkeys(chain.from_iterable(tables)):
        found = [table.get(name) for table in tables]
        whole = [
            np.full(length, NOT_REPORTED) if values is None else values
            for values, length in zip(found, lengths, strict=True)
        ]
        out[name] = np.concatenate(whole)
    return out


def _uniform(mappings: Sequence[Any]) -> Table | None:
    """The columns where all mappings have the same names in the same order, and floats only: the usual case, a
    fifth of what `_filled` costs."""
    if not all(mappings):
        return None
    names = tuple(mappings[0])
    if list(map(tuple, mappings)).count(names) < len(mappings) or len(names) > MAX_SERIES:
        return None
    values = list(chain.from_iterable(map(dict.values, mappings)))
    if not _FLOAT.issuperset(map(type, values)) or any(type(name) is not str or _name(name) != name for name in names):
        return None
    table = np.array(values).reshape(len(mappings), len(names))
    return dict(zip(names, np.ascontiguousarray(table.T), strict=True))


def _filled(mappings: Sequence[Any], complain: Complain) -> Table:
    """The columns of any mappings; what cannot be read stays "not reported"."""
    table: Table = {}
    for i, mapping in enumerate(mappings):
        if mapping:
            _fill(table, mapping, i, len(mappings), complain)
    return table


def _sliced(slices: Sequence[Any], complain: Complain) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for i, parts in enumerate(slices):
        for part, values in (parts or {}).items():
            if (name := _name(part)) and (name in tables or len(tables) < MAX_SERIES):
                _fill(tables.setdefault(name, {}), values, i, len(slices), complain)
    return tables


def _fill(table: Table, values: Mapping[Any, Any], i: int, length: int, complain: Complain) -> None:
    for key, value in values.items():
        column = table.get(key)
        if column is None:
            name = _name(key)
            if not name or (name not in table and len(table) >= MAX_SERIES):
                complain("a series is left out: names have 1 to 200 characters, and a record at most 1024 of them")
                continue
            column = table.setdefault(name, np.full(length, NOT_REPORTED))
        if value is None:
            continue
        try:
            column[i] = value if type(value) is float else tensors.number(value)
        except Exception as error:  # the job's objects may raise anything
            complain(f"the value of {_name(key)} is not used: {text_of(error)}")


def _name(key: Any) -> str | None:
    """The key as a name of the wire, or None where it is none."""
    name = text_of(key, NAME_CHARACTERS + 1)
    return name if 1 <= len(name) <= NAME_CHARACTERS else None


def _checkpoint(value: Any, complain: Complain) -> str | None:
    if value is None:
        return None
    if isinstance(value, str | os.PathLike):
        return str(value)[:CHECKPOINT_CHARACTERS]
    complain(f"the checkpoint is {type(value).__name__}, not a path or a name")
    return None


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
