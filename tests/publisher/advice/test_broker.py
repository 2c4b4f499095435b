"""Advice over a real broker, from the real service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.partitioner import Partitioner

import losswatch
from losswatch.encoding import encode
from losswatch.headers import cloud_event
from losswatch.schema import Finding
from losswatch.topics import FINDINGS, PREDICTIONS, STEPS
from tests.brokers import Tansu, start_tansu
from tests.integration.process import ServiceProcess
from tests.publisher.advice.findings import stop, weigh
from tests.publisher.hook.reading import eventually

PARTITIONS = 3


@pytest.fixture
def broker() -> Iterator[Tansu]:
    with start_tansu() as running:
        create_topics(running)
        yield running


def create_topics(broker: Tansu) -> None:
    wanted = {name: {"num_partitions": PARTITIONS, "replication_factor": 1} for name in (STEPS, PREDICTIONS, FINDINGS)}
    with KafkaAdminClient(bootstrap_servers=broker.address) as admin:
        admin.create_topics(wanted)


def publish(broker: Tansu, *findings: Finding) -> None:
    """As the service does: keyed by the run, in the partition of its records."""
    producer = KafkaProducer(bootstrap_servers=broker.address, enable_idempotence=False, acks=1)
    for finding in findings:
        producer.send(FINDINGS, encode(finding), key=finding.run.encode(), headers=cloud_event(finding)).get(10)
    producer.close()


def started(run: losswatch.Run) -> losswatch.Run:
    """The run, once it has begun to listen; what is published before may be missed."""
    assert not run.should_stop()
    eventually(lambda: run._advisor.listening)
    return run


def test_findings_of_the_run_are_followed_and_others_are_not(broker: Tansu) -> None:
    runs = [losswatch.start(f"run {n}", bootstrap_servers=broker.address, advice="follow") for n in range(4)]
    for run in runs:
        started(run)
    publish(broker, stop(run="run 1", time=time.time()), weigh(0.2, run="run 2", time=time.time()))
    eventually(runs[1].should_stop)
    eventually(lambda: runs[2].weight("diversity", default=0.1) == 0.2)
    assert [run.should_stop() for run in runs] == [False, True, False, False]
    assert [run.weight("diversity", default=0.1) for run in runs] == [0.1, 0.1, 0.2, 0.1]
    assert sum(run.finish() for run in runs) == 4


class Last(Partitioner):  # type: ignore[misc]  # kafka-python ships no types
    """Everything goes to the last partition."""

    def partition(self, topic: str, *rest: Any) -> int:
        return PARTITIONS - 1


def test_a_job_that_partitions_by_itself_hears_its_findings_too(broker: Tansu) -> None:
    own = {"partitioner": Last()}
    with losswatch.start("r", bootstrap_servers=broker.address, advice="follow", kafka=own) as run:
        started(run)
        publish(broker, stop(time=time.time()))
        eventually(run.should_stop)


def test_a_silent_broker_costs_no_time_and_its_advice_comes_when_it_answers_again(broker: Tansu) -> None:
    with losswatch.start("r", bootstrap_servers=broker.address, advice="follow") as run:
        started(run)
        eventually(lambda: run.stats().connected)
        broker.pause()
        began, cpu, longest = time.monotonic(), time.process_time(), 0.0
        while time.monotonic() - began < 3.0:
            asked = time.perf_counter()
            run.should_stop()
            run.weight("diversity", default=0.1)
            longest = max(longest, time.perf_counter() - asked)
            time.sleep(0.01)
        used = time.process_time() - cpu
        broker.resume()
        assert used < 0.6
        assert longest < 0.2
        publish(broker, stop(time=time.time()))
        eventually(run.should_stop)


def test_advice_comes_from_a_broker_that_was_restarted(broker: Tansu) -> None:
    with losswatch.start("r", bootstrap_servers=broker.address, advice="follow") as run:
        started(run)
        publish(broker, weigh(0.2, time=time.time()))
        eventually(lambda: run.weight("diversity", default=0.1) == 0.2)
        broker.stop()
        time.sleep(1.0)  # it is noticed, or not
        broker.start()
        create_topics(broker)
        publish(broker, stop(id="another", time=time.time()))
        eventually(run.should_stop, 40)


def test_a_real_job_is_advised_by_the_real_service(tmp_path: Path) -> None:
    """Predictions that lose their classes: first a larger weight is advised, and without a weight to raise, a stop."""
    objectives: dict[str, dict[str, Any]] = {
        "weighted": {"form": "weighted_sum", "weights": {"entropy": 1.0, "diversity": 0.1}},
        "plain": {"form": "sum"},
    }
    with start_tansu() as broker, ServiceProcess(broker.address, tmp_path / "log") as service:
        runs = {
            name: losswatch.start(
                name,
                bootstrap_servers=broker.address,
                objective={"test": objective},
                thresholds={"class_entropy_target": 1.0},
                advice="follow",
            )
            for name, objective in objectives.items()
        }
        weights = [0.1]
        for run in runs.values():
            started(run)
        began = time.monotonic()
        for step in range(2000):
            top = max(0.5, min(0.999, 0.5 + 0.005 * (step - 20)))
            for run in runs.values():
                run.predictions(step, [[top, 1.0 - top]] * 8)
            weights.append(runs["weighted"].weight("diversity", default=0.1, lo=0.0, hi=1.0))
            if weights[-1] > 0.1 and runs["plain"].should_stop():
                break
            assert time.monotonic() - began < 40, service.get("/api/findings")
            time.sleep(0.02)
        raised = next(weight for weight in weights if weight > 0.1)
        assert raised <= 0.2, "at most doubled at a time"
        assert not runs["weighted"].should_stop()
        stopped = runs["plain"].advice().stop
        eventually(lambda: stopped in {found["id"] for found in service.get("/api/findings")["findings"]})
        assert sum(run.finish() for run in runs.values()) == 2
