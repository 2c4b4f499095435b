from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.picture import Painter
from losswatch.schema import Record
from losswatch.topics import PREDICTIONS, STEPS
from tests.consumers.builders import a_fleet, a_story, decoded, make_steps
from tests.consumers.outcomes import Readings, Told, assert_same_readings, told


def a_restarted_story(run: str) -> list[Record]:
    """A job that dies without a word and goes back to step 64."""
    before = a_story(run, session="first", jump=True)[:-1]
    after = a_story(run, session="second", jump=True)
    return [*before, after[0], *after[13:]]


def the_records() -> dict[str, list[Decoded]]:
    """By topic: two runs, one that restarts, and blocks of every length in between."""
    records: list[Record] = []
    for one, two in zip(a_story("one", jump=True), a_restarted_story("two"), strict=False):
        records += [one, two]
    records += [make_steps("three", 100 * i, 1 + 37 * i % 90, seq=i, components=3 + i) for i in range(8)]
    items = decoded(records)
    return {topic: [item for item in items if item.message.topic == topic] for topic in (STEPS, PREDICTIONS)}


RECORDS = the_records()
TOTAL = sum(map(len, RECORDS.values()))

Consumed = tuple[list[Told], dict[str, Readings], Fleet]


def consume(batches: Sequence[Sequence[Decoded]]) -> Consumed:
    fleet = a_fleet()
    findings = [told(finding) for batch in batches for finding in fleet.take(batch)[0]]
    view = Painter(fleet, 1e9).paint(2000.0)
    return sorted(findings), {name: view.of_run(name) for name in view.runs}, fleet


@pytest.fixture(scope="module")
def one_by_one() -> Consumed:
    return consume([[item] for items in RECORDS.values() for item in items])


def test_the_story_has_something_to_tell(one_by_one: Consumed) -> None:
    kinds = {(identity.split("/")[2], state) for identity, state, _, _ in one_by_one[0]}
    assert {("non_finite", "firing"), ("non_finite", "resolved"), ("diversity_collapse", "firing")} <= kinds
    assert {("temporal_anomaly", "firing"), ("temporal_anomaly", "resolved")} <= kinds


@settings(max_examples=60, deadline=None)
@given(ahead=st.floats(0.0, 1.0), often=st.floats(0.0, 1.0), seed=st.integers(0, 2**32))
def test_findings_and_readings_do_not_depend_on_batches_nor_on_how_the_topics_interleave(
    one_by_one: Consumed, ahead: float, often: float, seed: int
) -> None:
    """``ahead`` is how much faster one topic is read, ``often`` how often a batch ends."""
    random = Random(seed)
    left = {topic: list(reversed(items)) for topic, items in RECORDS.items()}
    order: list[Decoded] = []
    for _ in range(TOTAL):
        turn, other = (STEPS, PREDICTIONS) if random.random() < ahead else (PREDICTIONS, STEPS)
        order.append((left[turn] or left[other]).pop())
    edges = [0, *(at for at in range(1, TOTAL) if random.random() < often), TOTAL]
    batches = [order[start:stop] for start, stop in pairwise(edges)]
    findings, readings, fleet = consume(batches)
    expected_findings, expected_readings, expected_fleet = one_by_one
    assert findings == expected_findings, "findings"
    assert_same_readings(readings, expected_readings)
    for name, run in fleet.runs.items():
        expected = expected_fleet.runs[name]
        assert (run.records, run.steps, run.duplicates, run.late_steps, run.sessions.missing) == (
            expected.records,
            expected.steps,
            expected.duplicates,
            expected.late_steps,
            expected.sessions.missing,
        )
