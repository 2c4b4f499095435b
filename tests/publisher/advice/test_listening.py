from __future__ import annotations

import multiprocessing
import pickle
import threading
import time

import pytest

import losswatch
from losswatch.transport import FindingsReader, MemoryTransport, Received, Unavailable
from tests.publisher.advice.findings import received, stop, weigh
from tests.publisher.hook.reading import eventually


def now() -> float:
    return time.time() + 1.0


def test_a_run_follows_the_findings_that_are_published() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, advice="follow") as run:
        assert run.weight("diversity", default=0.1, lo=0.0, hi=1.0) == 0.1
        transport.advice.put(received(weigh(0.7, time=now())))
        eventually(lambda: run.weight("diversity", default=0.1) == 0.7)
        transport.advice.put(received(stop(time=now(), id="another")))
        eventually(run.should_stop)
        assert run.advice() == ("follow", "another", {"diversity": 0.7})


def test_advice_is_shadowed_unless_told_otherwise() -> None:
    transport = MemoryTransport()
    transport.advice.put(received(stop(time=now())))
    with losswatch.start("r", transport=transport) as run:
        eventually(lambda: not run.should_stop() and run.advice().stop is not None)
        assert run.advice().mode == "shadow"


def test_the_environment_chooses_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSWATCH_ADVICE", "Follow")
    with losswatch.start("r", transport=MemoryTransport()) as run:
        assert run.advice().mode == "follow"
    with losswatch.start("r", transport=MemoryTransport(), advice="off") as run:
        assert run.advice().mode == "off"


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "losswatch-advice"]


def test_nothing_listens_before_the_first_question_nor_in_mode_off() -> None:
    before = len(listeners())
    with (
        losswatch.start("r", transport=MemoryTransport()) as run,
        losswatch.start("r", transport=MemoryTransport(), advice="off") as off,
    ):
        run.log(0, total=1.0)
        assert not off.should_stop()
        assert off.weight("diversity", default=0.1) == 0.1
        assert len(listeners()) == before
        run.should_stop()
        run.should_stop()
        assert len(listeners()) == before + 1
    eventually(lambda: len(listeners()) <= before)


class FaultyReader:
    """Fails in every way before it reads."""

    def __init__(self, record: Received) -> None:
        self.failures: list[Exception] = [Unavailable("refused"), ZeroDivisionError("a bug")]
        self.closed = 0
        self._record = [record]

    def connect(self) -> None:
        if self.failures:
            raise self.failures.pop()

    def read(self, timeout: float) -> list[Received]:
        record, self._record = self._record, []
        time.sleep(0.01)
        return [Received(b"\x00{", []), Received(b"", []), *record]

    def close(self) -> None:
        self.closed += 1


def test_a_reader_that_fails_is_tried_again_and_bytes_that_are_no_finding_are_skipped() -> None:
    reader = FaultyReader(received(stop(time=now())))

    class Transport(MemoryTransport):
        def findings(self, run: str) -> FindingsReader:  # type: ignore[override]  # another reader, on purpose
            return reader

    with losswatch.start("r", transport=Transport(), advice="follow") as run:
        eventually(run.should_stop)
    assert not reader.failures
    assert reader.closed == 2


def test_a_run_that_publishes_nothing_advises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSWATCH_BOOTSTRAP_SERVERS", raising=False)
    run = losswatch.start("r", advice="follow")
    run.sync_advice()
    assert not run.should_stop()
    assert run.weight("diversity", default=0.1) == 0.1


def test_a_copy_of_a_run_has_no_advice() -> None:
    transport = MemoryTransport()
    transport.advice.put(received(stop(time=now())))
    with losswatch.start("r", transport=transport, advice="follow") as run:
        eventually(run.should_stop)
        assert not pickle.loads(pickle.dumps(run)).should_stop()


def test_a_forked_child_has_no_advice() -> None:
    transport = MemoryTransport()
    transport.advice.put(received(stop(time=now())))
    with losswatch.start("r", transport=transport, advice="follow") as run:
        eventually(run.should_stop)
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()
        child = context.Process(target=lambda: answers.put((run.should_stop(), run.weight("diversity", default=0.1))))
        child.start()
        assert answers.get() == (False, 0.1)
        child.join()


def test_after_the_end_of_the_run_its_last_advice_stands() -> None:
    transport = MemoryTransport()
    transport.advice.put(received(stop(time=now())))
    with losswatch.start("r", transport=transport, advice="follow") as run:
        eventually(run.should_stop)
    assert run.should_stop()


def test_a_question_costs_microseconds() -> None:
    transport = MemoryTransport()
    transport.advice.put(received(weigh(0.2, time=now())))
    with losswatch.start("r", transport=transport, advice="follow") as run:
        eventually(lambda: run.weight("diversity", default=0.1) == 0.2)
        costs = []
        for _ in range(2000):
            began = time.perf_counter()
            run.should_stop()
            run.weight("diversity", default=0.1, lo=0.0, hi=1.0)
            costs.append(time.perf_counter() - began)
    assert sorted(costs)[1000] < 50e-6
