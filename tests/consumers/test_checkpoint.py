from __future__ import annotations

import pytest

from consumers.snapshots import MARKER_KEY, Marker
from consumers.source import Change, Slot
from losswatch.topics import FINDINGS, PREDICTIONS, STEPS
from tests.consumers.builders import a_broker, a_story, make_steps, publish
from tests.consumers.outcomes import state_records
from tests.consumers.workers import a_worker, run_worker_until_idle, turn_until_idle


def test_a_checkpoint_writes_the_snapshots_before_the_marker_and_then_commits() -> None:
    broker = a_broker()
    publish(broker, a_story("r"))
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        assert [key for key, _ in state_records(broker)] == [b"r", MARKER_KEY]
        marker = Marker.model_validate_json(state_records(broker)[-1][1] or b"")
        assert marker.next_offsets == {STEPS: 18, PREDICTIONS: 18}
        assert marker.findings_next == len(list(broker.read(Slot(FINDINGS, 0))))
        committed = loop.source.committed([Slot(STEPS, 0), Slot(PREDICTIONS, 0)])
        assert {slot.topic: offset for slot, offset in committed.items()} == marker.next_offsets


def test_a_checkpoint_writes_only_what_changed() -> None:
    broker = a_broker()
    publish(broker, [make_steps("a", 0, 4, seq=0), make_steps("b", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        worker.checkpoint(loop)
        assert len(state_records(broker)) == 3
        publish(broker, [make_steps("b", 4, 4, seq=1)])
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        assert [key for key, _ in state_records(broker)[3:]] == [b"b", MARKER_KEY]


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_a_checkpoint_that_failed_is_counted_and_made_good_by_the_next(failures: int) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        broker.fail_next("flush", times=failures)
        for _ in range(failures):
            worker.checkpoint(loop)
        assert worker.telemetry.total("checkpoint_failures") == failures
        assert worker.telemetry.total("checkpoints") == 0
        worker.checkpoint(loop)
        assert worker.telemetry.total("checkpoints") == 1
    assert run_worker_until_idle(broker)["r"].steps == 4


def test_a_commit_that_is_refused_or_fails_costs_nothing() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        broker.fail_next("commit")
        worker.checkpoint(loop)
        assert (worker.telemetry.total("checkpoints"), worker.telemetry.total("broker_errors")) == (1, 1)
    worker = a_worker(broker)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        assert worker.telemetry.total("records") == 0, "the marker says that all was used"


def test_a_checkpoint_of_a_worker_that_was_expelled_is_passed_over_by_the_new_owner() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    slow = a_worker(broker, checkpoint_every=1e9)
    with slow.connected() as loop:
        turn_until_idle(slow, loop)
        source = loop.source
        source.lose()  # type: ignore[attr-defined]  # of MemorySource
        publish(broker, [make_steps("r", 4, 4, seq=1)])
        assert run_worker_until_idle(broker)["r"].steps == 8
        slow.checkpoint(loop)
        assert slow.telemetry.total("commits_refused") == 1
    assert run_worker_until_idle(broker)["r"].steps == 8


def test_an_evicted_runs_snapshot_is_deleted() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        run = worker._fleet.runs["r"]
        worker._fleet.drop(run)
        loop.checkpoint.forget(run.partition, run.run)
        worker.checkpoint(loop)
        assert state_records(broker)[-1] == (b"r", None)
    assert run_worker_until_idle(broker) == {}


def test_a_run_that_is_back_before_the_checkpoint_keeps_its_snapshot() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker._fleet.drop(worker._fleet.runs["r"])
        loop.checkpoint.forget(0, "r")
        publish(broker, [make_steps("r", 4, 6, seq=1)])
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
    assert run_worker_until_idle(broker)["r"].steps == 6


def test_a_run_evicted_from_a_partition_that_moved_on_keeps_its_snapshot() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, checkpoint_every=1e9)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        worker._fleet.drop(worker._fleet.runs["r"])
        loop.checkpoint.forget(0, "r")
        loop.assignment.follow([Change("lost", (Slot(STEPS, 0), Slot(PREDICTIONS, 0)))])
        worker.checkpoint(loop)
    assert run_worker_until_idle(broker)["r"].steps == 4
