"""Delivery against a transport that fails in every way a broker can."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

import losswatch
from losswatch import window as window_module
from losswatch.buffer import Kind
from losswatch.connection import Connection
from losswatch.notices import Notices
from losswatch.run import Run
from losswatch.schema import Steps
from losswatch.sender import Sender
from losswatch.transport import Delivery, Headers, MemoryTransport, Refused, Sent, Unavailable
from tests.publisher.hook.faulty import Failed, FaultyTransport, Silent
from tests.publisher.hook.reading import STEPS, eventually, is_gapless, once_each, records_of, steps_of


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "ACK_SECONDS", 0.2)


def test_what_was_not_acknowledged_is_sent_again_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("losswatch.blocks.BLOCK_STEPS", 64)

    class Dropping(FaultyTransport):
        """Loses its connection at every fifth record, in the middle of what is under way."""

        broken = False

        def connect(self, topics: Sequence[str]) -> None:
            super().connect(topics)
            self.broken = False

        def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
            if self.sends % 5 == 4:
                self.broken = True
            self.sends += self.broken
            return Failed() if self.broken else super().send(topic, key, value, headers)

    transport = Dropping()
    run = losswatch.start("r", transport=transport)
    for step in range(1000):
        run.log(step, total=1.0)
    assert run.finish(timeout=20)
    records = once_each(records_of(transport.records, STEPS))
    assert is_gapless(records)
    assert steps_of(records) == list(range(1000))
    assert transport.closes >= 2


def test_a_broker_that_does_not_answer_is_left_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    transport = FaultyTransport(lambda n: Silent() if n <= 3 else None)
    run = losswatch.start("r", transport=transport)
    for step in range(10):
        run.log(step, total=1.0)
    eventually(lambda: run.stats().published == 10)
    run.finish()
    assert steps_of(once_each(records_of(transport.records, STEPS))) == list(range(10))
    assert [message for message in caplog.messages if "cannot publish" in message] == caplog.messages[:1]
    assert "no answer" in caplog.messages[0]


def test_a_broker_that_appears_later_gets_everything() -> None:
    transport = FaultyTransport(reachable=False)
    run = losswatch.start("r", transport=transport)
    for step in range(500):
        run.log(step, total=1.0)
    eventually(lambda: transport.connects >= 2)
    assert (run.stats().connected, run.stats().published) == (False, 0)
    transport.reachable = True
    eventually(lambda: run.stats().published == 500)
    assert run.finish()
    assert steps_of(records_of(transport.records)) == list(range(500))


def test_a_refused_record_is_counted_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Picky(FaultyTransport):
        def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
            if dict(headers)["ce_type"] == b"io.losswatch.predictions.v1":
                raise Refused("too large for me")
            return super().send(topic, key, value, headers)

    transport = Picky()
    run = losswatch.start("r", transport=transport)
    run.predictions(0, [[0.5, 0.5]])
    run.log(0, total=1.0)
    assert not run.finish()
    assert run.stats().dropped == {"refused": 1}
    assert [record.type for record in records_of(transport.records, STEPS)] == ["run_start", "steps", "run_end"]
    assert "too large for me" in caplog.text


def small(transport: MemoryTransport, limits: dict[Kind, int]) -> Run:
    notices = Notices()
    sender = Sender("r", "session", {}, transport, notices, limits)
    sender.start()
    return Run("r", sender, notices)


def test_a_long_outage_thins_the_oldest_steps_out_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("losswatch.blocks.BLOCK_STEPS", 64)
    transport = FaultyTransport(reachable=False)
    run = small(transport, {"control": 2**62, "steps": 20_000, "predictions": 4000})
    for step in range(20_000):
        run.log(step, total=1.0)
        if step % 1000 == 999:
            run.predictions(step, [[0.5, 0.5]] * 50)
            eventually(lambda: run.stats().waiting_bytes > 0)
            assert run.stats().waiting_bytes < 45_000
    transport.reachable = True
    run.finish(timeout=20)
    records = records_of(transport.records, STEPS)
    dropped = run.stats().dropped
    arrived = steps_of(records)
    assert (records[0].type, records[-1].type) == ("run_start", "run_end")
    assert arrived == sorted(set(arrived)), "in order"
    assert arrived[-200:] == list(range(19_800, 20_000)), "the newest are there as they were"
    assert arrived[0] < 5000, "of the oldest some are left"
    assert len(arrived) + dropped["steps_buffer_full"] == 20_000
    assert records[-1].dropped == dropped
    assert dropped["predictions_buffer_full"] > 0
    assert sum("memory is full" in message for message in caplog.messages) == 2


def test_drops_are_reported_in_every_later_record() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        absurd: Any = "no step"
        run.log(absurd, total=1.0)
        run.log(1, total=1.0)
    assert [record.dropped for record in records_of(transport.records, STEPS)][1:] == [{"steps_unusable": 1}] * 2


def test_finish_returns_in_time_when_nobody_is_there(caplog: pytest.LogCaptureFixture) -> None:
    transport = FaultyTransport(reachable=False)
    run = losswatch.start("r", transport=transport)
    run.log(0, total=1.0)
    began = time.monotonic()
    assert not run.finish(timeout=0.3)
    assert time.monotonic() - began < 1.0
    eventually(lambda: "did not reach" in caplog.text)


def test_a_connection_attempt_that_hangs_holds_up_nobody() -> None:
    release = threading.Event()

    class Hanging(FaultyTransport):
        def connect(self, topics: Sequence[str]) -> None:
            release.wait(30)

    transport = Hanging()
    run = losswatch.start("r", transport=transport)
    for step in range(2000):
        run.log(step, total=1.0)
    eventually(lambda: run.stats().waiting_bytes > 10_000)
    release.set()
    assert run.finish()
    assert steps_of(records_of(transport.records)) == list(range(2000))


def test_attempts_back_off_and_start_over_after_a_success() -> None:
    transport = FaultyTransport(reachable=False)
    connection = Connection(transport, ("t",), Notices())
    attempts = []
    for tick in range(4000):
        now = tick / 100
        before = transport.connects
        connection.ensure(now)
        eventually(lambda: not connection._helper.busy)
        if transport.connects > before:
            attempts.append(now)
    pauses = [b - a for a, b in pairwise(attempts)]
    assert pauses[:4] == pytest.approx([0.25, 0.5, 1.0, 2.0], abs=0.05)
    assert max(pauses) == pytest.approx(5.0, abs=0.05)
    transport.reachable = True
    eventually(lambda: connection.ensure(100.0))
    connection.confirmed()
    connection.lost(Unavailable("gone"), 200.0)
    assert not connection.ensure(200.1)
    connection.ensure(200.3)
    eventually(lambda: connection.ensure(200.4))


def test_several_threads_may_report_at_once() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:

        def report(phase: str) -> None:
            for step in range(2000):
                run.log(step, total=1.0, phase=phase)

        threads = [threading.Thread(target=report, args=(f"p{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    blocks = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert {phase: steps_of([b for b in blocks if b.phase == phase]) for phase in {b.phase for b in blocks}} == {
        f"p{i}": list(range(2000)) for i in range(4)
    }


def test_the_transport_gets_what_it_is_given_in_its_own_thread() -> None:
    seen: list[tuple[str, str]] = []

    def receive(sent: Sent) -> None:
        seen.append((threading.current_thread().name, sent.topic))

    losswatch.start("r", transport=MemoryTransport(receive)).finish()
    assert {name for name, _ in seen} == {"losswatch"}
