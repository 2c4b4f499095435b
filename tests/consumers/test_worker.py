from __future__ import annotations

import logging
import threading

import pytest

from consumers.source import BrokerUnavailable
from tests.consumers.builders import a_broker, a_story, make_steps, publish
from tests.consumers.outcomes import findings_on_topic
from tests.consumers.workers import Ticks, a_worker, run_worker_until_idle, turn, turn_until_idle


class Stop(threading.Event):
    """Set itself after so many looks; ``then`` is called at each, with its number."""

    def __init__(self, looks: int, then: object = None) -> None:
        super().__init__()
        self.looks, self.then, self.count = looks, then, 0

    def is_set(self) -> bool:
        self.count += 1
        if callable(self.then):
            self.then(self.count)
        return self.count > self.looks

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def test_a_worker_consumes_until_it_is_told_to_stop_and_leaves_a_checkpoint() -> None:
    broker = a_broker()
    publish(broker, a_story("r"))
    worker = a_worker(broker, checkpoint_every=1e9)
    worker.run(Stop(20))
    assert worker.telemetry.total("checkpoints") == 1
    assert run_worker_until_idle(broker)["r"].steps == 136
    assert len(findings_on_topic(broker)) == 5


@pytest.mark.parametrize("away", [range(30), range(8, 30), range(8, 11)])
def test_a_broker_that_is_away_at_the_start_or_in_the_middle_is_waited_for(
    away: range, caplog: pytest.LogCaptureFixture
) -> None:
    expected = a_broker()
    publish(expected, a_story("r"))
    outcome, told = run_worker_until_idle(expected), findings_on_topic(expected)
    broker = a_broker()
    publish(broker, a_story("r"))
    words: set[str] = set()
    worker = a_worker(broker, clock=Ticks(0.3), checkpoint_every=5.0)

    def weather(count: int) -> None:
        broker.available = count not in away
        words.add(worker.telemetry.status.split(":")[0])

    worker.run(Stop(80, weather))
    assert words >= {"waiting for the broker", "watching"}
    assert "trying again every" in caplog.text
    assert worker.telemetry.total("broker_errors") >= 1
    broker.available = True
    assert run_worker_until_idle(broker) == outcome
    assert findings_on_topic(broker) == told


def test_the_heart_beats_while_the_broker_is_away() -> None:
    clock = Ticks(0.3)
    broker = a_broker()
    broker.available = False
    worker = a_worker(broker, clock=clock)
    worker.run(Stop(50))
    assert clock.now - worker.telemetry.heartbeat < 2.0


def test_findings_are_logged_with_their_severity(caplog: pytest.LogCaptureFixture) -> None:
    broker = a_broker()
    publish(broker, a_story("r"))
    with caplog.at_level(logging.INFO, "losswatch.findings"):
        run_worker_until_idle(broker)
    lines = [(r.levelno, r.getMessage().split(":")[0]) for r in caplog.records if r.name == "losswatch.findings"]
    assert lines[0] == (logging.ERROR, "firing non_finite")
    assert (logging.INFO, "resolved non_finite") in lines


def test_runs_are_not_dropped_while_their_records_wait_to_be_read() -> None:
    wall = [3000.0]
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 10, seq=0)])
    run_worker_until_idle(broker, a_worker(broker, wall=lambda: wall[0]))
    wall[0] += 100_000.0  # the service was down for a day
    publish(broker, [make_steps("r", 10 * i, 10, seq=i) for i in range(1, 40)])
    worker = a_worker(broker, wall=lambda: wall[0], view_every=0.0, poll_records=2)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        turn(worker, loop)
    assert worker.telemetry.total("runs_evicted") == 0
    assert worker.view.runs["r"].steps_seen == 400


def test_a_run_that_ended_is_dropped_after_a_while() -> None:
    wall = [3000.0]
    broker = a_broker()
    publish(broker, a_story("r"))
    worker = a_worker(broker, wall=lambda: wall[0], view_every=0.0, keep_ended=600.0)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        turn(worker, loop)
        assert worker.view.runs["r"].status == "finished"
        wall[0] += 601.0
        turn(worker, loop)
        assert worker.view.runs == {}
        assert worker.telemetry.total("runs_evicted", ["ended"]) == 1


def test_lag_counts_what_waits_to_be_read() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 10 * i, 10, seq=i) for i in range(20)])
    worker = a_worker(broker, poll_records=5)
    with worker.connected() as loop:
        turn(worker, loop, 2)
        assert worker.telemetry.lag["losswatch.steps", 0] == 15
        turn(worker, loop, 5)
        assert worker.telemetry.lag["losswatch.steps", 0] == 0


def test_findings_that_could_not_be_published_wait_for_the_checkpoint() -> None:
    broker = a_broker()
    publish(broker, a_story("r"))
    worker = a_worker(broker, poll_records=1000, checkpoint_every=1e9)
    broker.fail_next("flush", answer_lost=True)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        assert worker.telemetry.total("broker_errors") == 1
        worker.checkpoint(loop)
    assert len(findings_on_topic(broker)) == 5


def test_a_turn_raises_when_the_broker_is_away() -> None:
    broker = a_broker()
    worker = a_worker(broker)
    with worker.connected() as loop:
        broker.available = False
        with pytest.raises(BrokerUnavailable):
            worker.turn(loop)
