from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from consumers.memory import MemoryBroker
from consumers.snapshots import MARKER_KEY, Marker
from consumers.source import BrokerUnavailable, Change, Slot
from consumers.worker import Loop, Worker
from losswatch.topics import PREDICTIONS, STATE, STEPS
from tests.consumers.builders import a_broker, a_story, make_steps, publish
from tests.consumers.outcomes import findings_on_topic, state_records
from tests.consumers.workers import a_worker, run_worker_until_idle, turn, turn_until_idle

ZERO = (Slot(STEPS, 0), Slot(PREDICTIONS, 0))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, broker: MemoryBroker) -> tuple[Worker, Loop]:
    worker = a_worker(broker, checkpoint_every=1e9)
    return worker, stack.enter_context(worker.connected())


def steps_of(worker: Worker, run: str = "r") -> int:
    runs = worker._fleet.runs
    return runs[run].steps if run in runs else -1


def test_a_partition_revoked_and_assigned_in_one_drain_keeps_its_state(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    moved = loop.assignment.follow([Change("revoked", ZERO), Change("assigned", ZERO)])
    assert moved == {0}
    assert steps_of(worker) == 10
    publish(broker, [make_steps("r", 10, 10, seq=1)])
    turn_until_idle(worker, loop)
    assert (steps_of(worker), worker.telemetry.total("snapshots_restored")) == (20, 0)


@pytest.mark.parametrize("what", ["revoked", "lost"])
def test_a_partition_given_up_leaves_nothing_behind(stack: ExitStack, what: Any) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    loop.assignment.follow([Change(what, ZERO)])
    assert steps_of(worker) == -1
    assert not loop.assignment.ready
    assert not loop.assignment.owned
    worker.checkpoint(loop)
    assert state_records(broker) == []


def test_a_partition_lost_and_assigned_in_one_drain_is_restored_from_its_snapshots(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    worker.checkpoint(loop)
    publish(broker, [make_steps("r", 10, 10, seq=1)])
    turn_until_idle(worker, loop)
    loop.assignment.follow([Change("lost", ZERO), Change("assigned", ZERO)])
    assert steps_of(worker) == 10
    turn_until_idle(worker, loop)
    assert (steps_of(worker), worker.telemetry.total("snapshots_restored")) == (20, 1)


def test_a_take_over_that_failed_is_done_by_the_next_call(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    run_worker_until_idle(broker)
    worker, loop = start(stack, broker)
    loop.source.poll(0.0, 1)
    broker.fail_next("committed")
    with pytest.raises(BrokerUnavailable):
        loop.assignment.follow(loop.source.changes())
    assert not loop.assignment.ready
    assert loop.assignment.follow([]) == {0}
    assert steps_of(worker) == 10
    assert loop.assignment.ready


def test_an_older_snapshot_and_marker_of_a_slow_former_owner_are_passed_over(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    run_worker_until_idle(broker)
    old = state_records(broker)
    publish(broker, [make_steps("r", 10, 10, seq=1)])
    run_worker_until_idle(broker)
    for key, value in old:
        broker.produce(STATE, 0, key, value)
    assert run_worker_until_idle(broker)["r"].steps == 20
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    assert worker.telemetry.total("records") == 0, "nothing was read again"


def test_findings_told_before_a_rebalance_are_not_told_again_by_the_next_owner(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, a_story("r"))
    one, first = start(stack, broker)
    turn_until_idle(one, first)
    told = findings_on_topic(broker)
    assert len(told) == 5, "told with the batch, not with the checkpoint"
    two, second = start(stack, broker)
    for _ in range(40):
        one.turn(first)
        two.turn(second)
    assert steps_of(one) + steps_of(two) == 136 - 1, "one of them has it"
    for worker, loop in ((one, first), (two, second)):
        worker.checkpoint(loop)
    assert findings_on_topic(broker) == told


def test_records_that_were_gone_before_they_were_read_are_a_critical_log(
    stack: ExitStack, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 10 * i, 10, seq=i) for i in range(5)])
    marker = Marker(next_offsets={STEPS: 1, PREDICTIONS: 0})
    broker.produce(STATE, 0, MARKER_KEY, marker.model_dump_json().encode())
    worker, loop = start(stack, broker)
    monkeypatch.setattr(loop.source, "beginning", lambda slots: {slot: 3 for slot in slots if slot.topic == STEPS})
    turn_until_idle(worker, loop)
    assert steps_of(worker) == 20
    (record,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage() == (
        "losswatch.steps[0]: records 1 to 2 are gone before they were read; raise the topic's retention.ms"
    )


def test_without_a_marker_the_commit_says_where_to_begin(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 10 * i, 10, seq=i) for i in range(5)])
    source = broker.source("losswatch", [STEPS, PREDICTIONS])
    source.poll(0.0, 1)
    source.commit({Slot(STEPS, 0): 4})
    source.close()
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    assert steps_of(worker) == 10


def test_unreadable_state_is_counted_and_the_rest_restored(stack: ExitStack) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    run_worker_until_idle(broker)
    broker.produce(STATE, 0, b"other", b"\xc1 not a snapshot")
    broker.produce(STATE, 0, MARKER_KEY, b"not a marker")
    broker.produce(STATE, 0, None, b"no key")
    worker, loop = start(stack, broker)
    turn_until_idle(worker, loop)
    assert steps_of(worker) == 10
    counted = worker.telemetry.counters["snapshots_unusable"]
    assert dict(counted) == {("unreadable",): 1, ("marker",): 1}


def test_two_workers_share_the_runs_and_the_one_that_is_left_takes_all(stack: ExitStack) -> None:
    broker = a_broker(2)
    for partition, run in enumerate(("one", "two")):
        publish(broker, a_story(run), partition)
    one, first = start(stack, broker)
    two, second = start(stack, broker)
    for _ in range(60):
        one.turn(first)
        two.turn(second)
    assert {run for worker in (one, two) for run in worker._fleet.runs} == {"one", "two"}
    assert len(one._fleet.runs) == len(two._fleet.runs) == 1
    first.source.close()
    for _ in range(60):
        two.turn(second)
    assert [steps_of(two, run) for run in ("one", "two")] == [136, 136]
    told = findings_on_topic(broker, 2)
    assert len(told) == len(set(told)) == 10


def test_readiness_waits_for_partitions() -> None:
    broker = a_broker()
    worker = a_worker(broker)
    with worker.connected() as loop:
        assert not worker.telemetry.ready
        turn(worker, loop, 2)
        assert worker.telemetry.ready
    assert not worker.telemetry.ready
