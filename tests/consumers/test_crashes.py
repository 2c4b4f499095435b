"""A worker that dies at any one of its calls to the broker, and the next one, which takes over."""

from __future__ import annotations

import pytest

from consumers.memory import MemoryBroker
from tests.consumers.builders import a_broker, a_story, publish
from tests.consumers.outcomes import Outcome, Told, assert_same_outcomes, findings_on_topic
from tests.consumers.workers import Crash, CrashingBroker, Ticks, Where, a_worker, run_worker_until_idle

Expected = tuple[dict[str, Outcome], list[Told], int]
"""What becomes of the runs, what is told of them, and the calls that takes."""


def filled() -> MemoryBroker:
    """Two runs, one of which is published twice in part."""
    broker = a_broker()
    one, two = a_story("one", jump=True, blocks=6), a_story("two", collapse=False, blocks=6)
    for i, pair in enumerate(zip(one, two, strict=True)):
        publish(broker, pair)
        if i == 4:
            publish(broker, [one[3], one[4]])
    return broker


def run_one(broker: MemoryBroker | CrashingBroker) -> dict[str, Outcome]:
    """A new process: few records a batch, a checkpoint after every second or third batch."""
    return run_worker_until_idle(broker, a_worker(broker, clock=Ticks(), poll_records=4, checkpoint_every=15.0))


@pytest.fixture(scope="module")
def expected() -> Expected:
    broker = filled()
    counting = CrashingBroker(broker)
    outcome = run_one(counting)
    assert {"poll", "send", "flush", "commit", "read"} <= set(counting.calls)
    assert counting.calls.count("commit") > 2
    return outcome, sorted(findings_on_topic(broker)), len(counting.calls)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_crash_at_any_call_loses_nothing_and_counts_nothing_twice(expected: Expected, where: Where) -> None:
    outcome, told, calls = expected
    for at in range(calls):
        broker = filled()
        with pytest.raises(Crash):
            run_one(CrashingBroker(broker, at, where))
        assert_same_outcomes(run_one(broker), outcome)
        assert sorted(findings_on_topic(broker)) == told, f"crash {where} call {at}"


@pytest.mark.parametrize("distance", [3, 7, 13])
def test_a_worker_that_crashes_again_and_again_gets_there(expected: Expected, distance: int) -> None:
    outcome, told, _ = expected
    broker = filled()
    for attempt in range(40):
        try:
            run_one(CrashingBroker(broker, 10 + distance + attempt % 3, "after" if attempt % 2 else "before"))
        except Crash:
            continue
        break
    assert_same_outcomes(run_one(broker), outcome)
    assert sorted(findings_on_topic(broker)) == told


def test_a_restart_after_everything_was_used_tells_nothing_again(expected: Expected) -> None:
    outcome, told, _ = expected
    broker = filled()
    run_one(broker)
    assert_same_outcomes(run_one(broker), outcome)
    assert sorted(findings_on_topic(broker)) == told
