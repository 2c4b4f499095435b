"""The hook against a real Kafka-compatible broker: there, absent, stopped in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import losswatch
from tests.brokers import Tansu, free_port, start_tansu
from tests.publisher.hook.reading import (
    PREDICTIONS,
    STEPS,
    eventually,
    is_gapless,
    once_each,
    read_topic,
    steps_of,
)


@pytest.fixture
def broker() -> Iterator[Tansu]:
    with start_tansu() as running:
        yield running


def ours(before: set[threading.Thread]) -> set[threading.Thread]:
    """The hook's threads that were started since; other tests may have left some of theirs."""
    return {thread for thread in set(threading.enumerate()) - before if "losswatch" in thread.name}


def test_everything_arrives_in_order(broker: Tansu) -> None:
    with losswatch.start("r", bootstrap_servers=broker.address) as run:
        for step in range(5000):
            run.log(step, total=1.0, components={"a": 0.5, "b": 0.25})
        run.predictions(0, [[0.5, 0.5]])
    assert run.stats().published == 5001
    records = read_topic(broker.address, STEPS, "r")
    assert steps_of(records) == list(range(5000))
    seqs = [record.seq for record in records]
    assert seqs == sorted(seqs, key=lambda seq: seq or 0)
    others = [record.type for record in read_topic(broker.address, PREDICTIONS, "r")]
    assert others == ["run_start", "predictions", "run_end"]


def test_a_job_that_logs_ten_thousand_steps_a_second_loses_none(broker: Tansu) -> None:
    run = losswatch.start("r", bootstrap_servers=broker.address)
    began = time.monotonic()
    for step in range(20_000):
        run.log(step, total=1.0, components={"a": 0.5, "b": 0.25})
        if (ahead := began + step / 10_000 - time.monotonic()) > 0.002:
            time.sleep(ahead)
    assert run.finish()
    assert run.stats().dropped == {}
    assert steps_of(read_topic(broker.address, STEPS, "r")) == list(range(20_000))


def test_a_broker_that_comes_later_gets_everything() -> None:
    port = free_port()
    broker = Tansu(port)
    began = time.monotonic()
    run = losswatch.start("r", bootstrap_servers=f"127.0.0.1:{port}")
    assert time.monotonic() - began < 0.05
    for step in range(200):
        run.log(step, total=1.0)
    eventually(lambda: run.stats().waiting_bytes > 0)
    assert not run.stats().connected
    broker.start()
    try:
        eventually(lambda: run.stats().published == 200)
        assert run.finish()
        records = read_topic(broker.address, STEPS, "r")
    finally:
        broker.stop()
    assert is_gapless(records)
    assert steps_of(records) == list(range(200))


def test_a_broker_that_stops_answering_costs_nothing_and_gets_everything_afterwards(broker: Tansu) -> None:
    run = losswatch.start("r", bootstrap_servers=broker.address)
    durations: list[float] = []
    step = 0

    def report(seconds: float) -> None:
        nonlocal step
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            before = time.perf_counter()
            run.log(step, total=1.0, components={"a": 0.5})
            durations.append(time.perf_counter() - before)
            step += 1
            time.sleep(0.001)

    report(0.5)
    eventually(lambda: run.stats().connected)
    broker.pause()
    try:
        report(7.0)
    finally:
        broker.resume()
    report(0.5)
    assert run.finish(timeout=20)
    assert run.stats().dropped == {}
    assert steps_of(once_each(read_topic(broker.address, STEPS, "r"))) == list(range(step))
    # The system may take the processor away for a while; a call that waited would do so every time, for seconds.
    assert sum(duration > 0.05 for duration in durations) <= 3
    assert max(durations) < 1.0


def test_a_broker_that_restarts_empty_gets_what_comes_after(broker: Tansu) -> None:
    run = losswatch.start("r", bootstrap_servers=broker.address)
    run.log(0, total=1.0)
    eventually(lambda: run.stats().published == 1)
    broker.stop()
    for step in range(1, 100):
        run.log(step, total=1.0)
    broker.start()
    eventually(lambda: run.stats().published == 100, seconds=40)
    assert run.finish(timeout=20)
    assert steps_of(once_each(read_topic(broker.address, STEPS, "r"))) == list(range(1, 100))


def test_many_runs_of_one_process_publish_side_by_side(broker: Tansu) -> None:
    before = set(threading.enumerate())
    runs = [losswatch.start(f"r{i}", bootstrap_servers=broker.address) for i in range(4)]
    for step in range(100):
        for run in runs:
            run.log(step, total=1.0)
    assert all(run.finish(timeout=20) for run in runs)
    for run in runs:
        assert steps_of(read_topic(broker.address, STEPS, run.name)) == list(range(100))
    eventually(lambda: not ours(before))


def test_finish_with_a_silent_broker_returns_when_told_to(broker: Tansu) -> None:
    before = set(threading.enumerate())
    run = losswatch.start("r", bootstrap_servers=broker.address)
    run.log(0, total=1.0)
    eventually(lambda: run.stats().published == 1)
    broker.pause()
    try:
        run.log(1, total=1.0)
        began = time.monotonic()
        assert not run.finish(timeout=1.0)
        assert time.monotonic() - began < 1.5
    finally:
        broker.resume()
    eventually(lambda: not ours(before))
