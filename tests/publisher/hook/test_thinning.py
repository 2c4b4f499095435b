"""What is kept where there is no room for everything: where it went wrong, and where it was worst."""

from __future__ import annotations

import math
from collections import Counter
from operator import itemgetter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from losswatch.arrays import reported
from losswatch.blocks import AT, PER_STEP, Row
from losswatch.buffer import Buffer
from losswatch.columns import thinned
from losswatch.encoding import decode
from losswatch.intake import Lane, importance
from losswatch.notices import Notices
from losswatch.records import Records
from losswatch.schema import Steps

NAN = math.nan


def row(step: int, total: float | None, phase: str = "train", **components: float) -> Row:
    return (phase, step, float(step), total, components or None, None, None, None, None, None, PER_STEP)


def block(first: int, totals: list[float | None], **more: Any) -> Steps:
    return Steps(run="r", time=0.0, step=list(range(first, first + len(totals))), total=totals, **more)


def kept_by(totals: list[float], limit: int = 20_000, each: int = 16) -> tuple[list[int], list[float], Counter[str]]:
    """The steps and totals that a small buffer has left of a run."""
    dropped: Counter[str] = Counter()
    records = Records("r", "s", dropped, Notices())
    buffer = Buffer(dropped, {"control": 2**62, "steps": limit, "predictions": 1}, records.thin)
    for start in range(0, len(totals), each):
        rows = [row(start + i, total) for i, total in enumerate(totals[start : start + each])]
        for made in records.steps(records.columns(rows)):
            buffer.add(made)
            assert buffer.bytes <= limit * 9 / 8 + 1000
    steps: list[int] = []
    left: list[float] = []
    while (record := buffer.next()) is not None:
        kept = decode(record.value, dict(record.headers)["content-type"].decode())
        assert isinstance(kept, Steps)
        assert kept.total is not None
        assert len(kept.step) == record.calls
        steps += kept.step.tolist()
        left += kept.total.tolist()
    assert (len(buffer), buffer.bytes, buffer.calls) == (0, 0, 0)
    return steps, left, dropped


def test_the_first_and_last_bad_step_and_the_worst_good_one_are_kept() -> None:
    record = block(10, [1.0, NAN, 7.0, math.inf, NAN, 2.0])
    assert thinned([record])["step"].tolist() == [11, 12, 14]


def test_a_component_that_is_not_finite_counts_too_and_what_was_not_reported_does_not() -> None:
    record = block(0, [1.0, 2.0, 3.0, None], components={"a": [0.1, -math.inf, 0.1, None]})
    assert thinned([record])["step"].tolist() == [1, 2]


def test_two_records_become_one_with_the_series_of_both() -> None:
    first = block(0, [1.0, NAN], components={"a": [0.1, 0.2]}, checkpoint=[None, "best.pt"])
    second = block(2, [5.0, 3.0], metrics={"m": [1.0, 2.0]}, slices={"s": {"mae": [3.0, 4.0]}})
    record = Steps.model_validate({"run": "r", "time": 0.0} | thinned([first, second]))
    assert (record.step.tolist(), record.checkpoint) == ([1, 2], ["best.pt", None])
    assert reported(record.components["a"]).tolist() == [True, False]
    assert (reported(record.metrics["m"]).tolist(), record.slices["s"]["mae"][1]) == ([False, True], 3.0)


def test_the_essential_steps_of_each_64_are_kept_and_of_each_4_of_those_next() -> None:
    totals: list[float | None] = [float(step % 100) for step in range(1000)]
    once = thinned([block(0, totals)])["step"].tolist()
    assert once == [63, 99, 191, 199, 299, 383, 399, 499, 575, 599, 699, 767, 799, 895, 899, 999]
    left = block(0, [totals[step] for step in once])
    assert len(thinned([left, left])["step"]) == len(once) // 2


def test_a_record_without_totals_keeps_its_last_step() -> None:
    record = Steps(run="r", time=0.0, step=[3, 4], metrics={"accuracy": [0.5, 0.6]})
    assert thinned([record])["step"].tolist() == [4]


def test_how_a_number_was_measured_is_kept_with_it() -> None:
    fields = thinned([block(0, [1.0], measured="running_mean", divided_by=4)])
    assert (fields["measured"], fields["divided_by"]) == ("running_mean", 4)


def test_a_long_outage_keeps_what_went_wrong_and_the_newest_steps() -> None:
    totals = (1.0 + 0.1 * np.sin(np.arange(20_000))).tolist()
    totals[777], totals[5000] = 50.0, NAN
    steps, left, dropped = kept_by(totals)
    assert steps == sorted(steps)
    assert {777, 5000} <= set(steps)
    assert steps[-50:] == list(range(19_950, 20_000))
    assert len(steps) + dropped["steps_buffer_full"] == 20_000
    assert left[steps.index(777)] == 50.0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=200, max_size=400))
def test_whatever_the_totals_the_first_bad_step_and_the_worst_good_one_survive(totals: list[float]) -> None:
    steps, left, _ = kept_by(totals, limit=4000, each=8)
    bad = [i for i, total in enumerate(totals) if not math.isfinite(total)]
    good = [total for total in totals if math.isfinite(total)]
    assert not bad or bad[0] in steps
    assert not good or max(good) in left


def test_a_lane_that_overflows_keeps_the_bad_steps_and_the_worst_one() -> None:
    lane: Lane[Row] = Lane(100, importance, itemgetter(AT))
    for step in range(1000):
        lane.put(row(step, NAN if step in (10, 500) else 99.0 if step == 600 else 1.0), cost=1)
    taken = [each[1] for each in lane.take(2000)]
    assert taken == [10, 500, 600, *range(899, 1000)]
    assert lane.dropped() == 1000 - len(taken)


def test_what_was_overtaken_is_dropped_rather_than_sent_out_of_order() -> None:
    lane: Lane[Row] = Lane(2, importance, itemgetter(AT))
    for step in range(3):
        lane.put(row(step, 1.0), cost=1)
    saved = lane.items.popleft()
    assert [each[1] for each in lane.take(9)] == [1, 2]
    lane._pass_over(saved)
    assert lane.take(9) == []
    assert (lane.dropped(), len(lane)) == (0 + 1, 0)
