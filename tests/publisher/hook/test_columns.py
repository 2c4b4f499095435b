"""Columns of steps are what the rows say, however they were reported, and valid on the wire."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from losswatch.arrays import to_list
from losswatch.blocks import PER_STEP, Fields, Row
from losswatch.columns import columns, joined, picked
from losswatch.encoding import decode
from losswatch.headers import content_type
from losswatch.notices import Notices
from losswatch.records import Records
from losswatch.schema import Steps

Values = dict[str, float | None] | None


def row(step: int, components: Any = None, metrics: Any = None, slices: Any = None, total: Any = 1.0) -> Row:
    return ("train", step, 0.5 * step, total, components, None, None, metrics, slices, None, PER_STEP)


def complain(reason: str) -> None:
    raise AssertionError(reason)


def as_rows(fields: Fields) -> list[dict[str, Any]]:
    """The columns turned back: what was reported at each step."""
    series = {"at": fields["at"]} | ({"total": fields["total"]} if "total" in fields else {})
    for place in ("components", "metrics"):
        series |= {f"{place}.{name}": values for name, values in fields.get(place, {}).items()}
    for part, table in fields.get("slices", {}).items():
        series |= {f"slices.{part}.{name}": values for name, values in table.items()}
    lists = {name: to_list(values) for name, values in series.items()}
    return [
        {"step": step} | {name: repr(values[i]) for name, values in lists.items() if values[i] is not None}
        for i, step in enumerate(fields["step"].tolist())
    ]


def expected(row: Row) -> dict[str, Any]:
    reported = {"at": row[2], "total": row[3]}
    for place, group in (("components", row[4]), ("metrics", row[7])):
        reported |= {f"{place}.{name}": value for name, value in (group or {}).items()}
    for part, values in (row[8] or {}).items():
        reported |= {f"slices.{part}.{name}": value for name, value in values.items()}
    return {"step": row[1]} | {name: repr(value) for name, value in reported.items() if value is not None}


numbers = st.floats() | st.just(math.nan)
groups = st.none() | st.dictionaries(st.sampled_from("abc"), numbers | st.none(), max_size=3)
any_rows = st.lists(
    st.tuples(
        groups, groups, st.none() | st.dictionaries(st.sampled_from("xy"), groups.filter(bool), max_size=2), numbers
    ),
    min_size=1,
    max_size=12,
).map(lambda given: [row(step, *each) for step, each in enumerate(given)])
uniform_rows = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=12).map(
    lambda given: [row(step, {"a": a, "b": b}, total=total) for step, (a, b, total) in enumerate(given)]
)


@settings(deadline=None)
@given(any_rows | uniform_rows, st.integers(0, 12))
def test_columns_say_what_the_rows_say_also_when_they_are_cut_and_joined(rows: list[Row], cut: int) -> None:
    whole = columns(rows, complain)
    parts = [columns(part, complain) for part in (rows[:cut], rows[cut:]) if part]
    assert as_rows(whole) == as_rows(joined(parts)) == [expected(each) for each in rows]
    assert as_rows(picked(whole, slice(cut, None))) == as_rows(whole)[cut:]


@settings(deadline=None)
@given(any_rows | uniform_rows)
def test_what_is_sent_decodes_to_what_was_reported(rows: list[Row]) -> None:
    records = Records("r", "s", Counter(), Notices())
    (sent,) = records.steps(records.columns(rows))
    record = decode(sent.value, content_type(sent.headers))
    assert isinstance(record, Steps)
    fields = {name: getattr(record, name) for name in record.model_fields_set}
    assert as_rows(fields) == [expected(each) for each in rows]


def test_whole_numbers_and_odd_names_are_columns_too() -> None:
    given = [row(step, {"a": 1, 7: 0.5, "x" * 300: 1.0, "big": 10**400}) for step in range(2)]
    reasons: list[str] = []
    fields = columns(given, reasons.append)
    assert {name: values.tolist() for name, values in fields["components"].items() if name != "big"} == {
        "a": [1.0, 1.0],
        "7": [0.5, 0.5],
    }
    assert {reason.partition(" is ")[0] for reason in reasons} == {"a series", "the value of big"}


class Contrary:
    """A key that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "contrary"


def test_rows_that_cannot_be_put_together_are_so_one_by_one() -> None:
    dropped: Counter[str] = Counter()
    records = Records("r", "s", dropped, Notices())
    parts = records.columns([row(0, {"a": 1.0}), row(1, {Contrary(): 2.0}), row(2, {Contrary(): 3.0})])
    assert [step for part in parts for step in part["step"].tolist()] == [0, 1, 2]
    assert (len(parts) > 1, dropped) == (True, {})


@pytest.mark.parametrize("names", [600, 1025])
def test_more_series_than_a_record_may_have_are_spread_over_several(names: int) -> None:
    dropped: Counter[str] = Counter()
    records = Records("r", "s", dropped, Notices())
    block = [
        *records.columns([row(0, {f"a{i}": 0.5 for i in range(names)})]),
        *records.columns([row(1, {f"b{i}": 0.5 for i in range(names)})]),
    ]
    sent = [decode(each.value, content_type(each.headers)) for each in records.steps(block)]
    assert [len(each.components) for each in sent if isinstance(each, Steps)] == [min(names, 1024)] * 2
    assert [each.seq for each in sent] == [0, 1]
    assert dropped == {}


def test_a_checkpoint_keeps_its_step_when_columns_are_picked_and_joined() -> None:
    fields = columns([row(0), (*row(1)[:9], "best.pt", PER_STEP)], complain)
    assert joined([picked(fields, np.array([1])), columns([row(2)], complain)])["checkpoint"] == ["best.pt", None]
