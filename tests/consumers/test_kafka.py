from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient

from consumers.kafka import KafkaBroker
from consumers.source import BrokerUnavailable, Slot
from losswatch.topics import STATE, STEPS, TOPICS
from tests.brokers import Tansu, free_port, start_tansu
from tests.consumers.broker_contract import (
    PATIENCE,
    BrokerContract,
    MakeTopic,
    Member,
    a_group,
    gather,
    joined,
    settle,
    write,
)

SESSION = 1.0
"""Seconds; tansu takes half of it for a join."""

LITTLE = 0.15
"""Share of a core that waiting for a broker may take; kafka-python alone takes half of one, or all of it."""


def open_broker(address: str) -> KafkaBroker:
    return KafkaBroker(address, answer_timeout=1.0, session_timeout=SESSION)


def eventually(attempt: Callable[[], object]) -> None:
    """Call it until it does not raise BrokerUnavailable."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            attempt()
        except BrokerUnavailable:
            assert time.monotonic() < deadline
        else:
            return


def processor_share(seconds: float, work: Callable[[], object]) -> float:
    """Processor time of this process over wall time, while ``work`` is called for some seconds."""
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        work()
    return (time.process_time() - used) / (time.monotonic() - began)


@pytest.fixture(scope="module")
def shared() -> Iterator[Tansu]:
    with start_tansu() as server:
        yield server


class TestKafkaBroker(BrokerContract):
    @pytest.fixture
    def broker(self, shared: Tansu) -> KafkaBroker:
        return open_broker(shared.address)

    @pytest.fixture
    def make_topic(self, shared: Tansu) -> MakeTopic:
        def make(partitions: int) -> str:
            name = uuid.uuid4().hex
            with KafkaAdminClient(bootstrap_servers=shared.address) as admin:
                admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
            return name

        return make


@pytest.fixture
def server() -> Iterator[Tansu]:
    with start_tansu() as server:
        yield server


def test_missing_topics_get_as_many_partitions_as_the_ones_that_a_job_made_before(server: Tansu) -> None:
    with KafkaAdminClient(bootstrap_servers=server.address) as admin:
        admin.create_topics({STEPS: {"num_partitions": 3, "replication_factor": 1}})
    broker = open_broker(server.address)
    broker.create_topics(12)
    assert {broker.partitions(topic.name) for topic in TOPICS} == {3}


def test_a_broker_that_refuses_connections_is_said_to_be_away_within_seconds() -> None:
    broker = open_broker(f"127.0.0.1:{free_port()}")
    sink = broker.sink()
    sink.send(Slot(STEPS, 0), b"k", b"v")
    for call in (
        lambda: broker.create_topics(1),
        lambda: broker.partitions(STEPS),
        lambda: broker.source("g", [STEPS]),
        lambda: list(broker.read(Slot(STATE, 0))),
        lambda: sink.flush(1),
    ):
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="broker at 127"):
            call()
        assert time.monotonic() - began < 3
    broker.close()


def test_failed_attempts_leave_no_threads_behind() -> None:
    broker = KafkaBroker(f"127.0.0.1:{free_port()}", answer_timeout=0.2)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            broker.source("g", [STEPS])
        with pytest.raises(BrokerUnavailable):
            broker.partitions(STEPS)
    assert threading.active_count() == before


def test_settings_that_kafka_python_does_not_know_are_an_error_of_their_own(server: Tansu) -> None:
    broker = KafkaBroker(server.address, security={"sasl_mechanic": "PLAIN"})
    with pytest.raises(ValueError, match="sasl_mechanic"):
        broker.source("g", [STEPS])


def test_a_record_over_the_limit_is_refused_and_the_rest_is_written(server: Tansu) -> None:
    broker = open_broker(server.address)
    broker.create_topics(1)
    sink = broker.sink()
    with pytest.raises(ValueError, match="too large"):
        sink.send(Slot(STATE, 0), b"k", bytes(17 * 1024 * 1024))
    sink.send(Slot(STATE, 0), b"k", bytes(15 * 1024 * 1024))
    sink.flush(PATIENCE)
    sink.close()
    assert [len(record.value or b"") for record in broker.read(Slot(STATE, 0))] == [15 * 1024 * 1024]


def test_a_restarted_broker_is_taken_up_again(server: Tansu) -> None:
    broker = open_broker(server.address)
    broker.create_topics(1)
    sink = broker.sink()
    sink.send(Slot(STEPS, 0), b"k", b"before")
    sink.flush(PATIENCE)
    with joined(broker, [STEPS], a_group()) as source:
        gather(source, 1)
        server.stop()
        sink.send(Slot(STEPS, 0), b"k", b"lost")
        with pytest.raises(BrokerUnavailable):
            sink.flush(1)
        with pytest.raises(BrokerUnavailable):
            source.commit({Slot(STEPS, 0): 1})
        with pytest.raises(BrokerUnavailable, match="does not answer"):
            gather(source, 1)
        server.start()
        eventually(lambda: broker.create_topics(1))

        def write_again() -> None:
            sink.send(Slot(STEPS, 0), b"k", b"after")
            sink.flush(2)

        eventually(write_again)
        values: list[bytes | None] = []
        deadline = time.monotonic() + PATIENCE
        while not values and time.monotonic() < deadline:
            eventually(lambda: values.extend(record.value for record in source.poll(0.2, 10)))
        assert set(values) == {b"after"}
    sink.close()


def test_a_black_hole_costs_little_and_ends_by_itself(server: Tansu) -> None:
    broker = open_broker(server.address)
    broker.create_topics(2)
    sink = broker.sink()
    sink.send(Slot(STEPS, 0), b"k", b"before")
    sink.flush(PATIENCE)
    with joined(broker, [STEPS]) as source:
        member = Member(source)
        settle([member], {Slot(STEPS, 0), Slot(STEPS, 1)})
        server.pause()

        def turn() -> None:
            sink.send(Slot(STEPS, 0), b"k", b"stuck")
            with contextlib.suppress(BrokerUnavailable):
                source.poll(0.2, 10)

        assert processor_share(3, turn) < LITTLE
        with pytest.raises(BrokerUnavailable):
            sink.flush(0.5)
        with pytest.raises(BrokerUnavailable):
            source.commit({Slot(STEPS, 0): 1})
        began = time.monotonic()
        sink.send(Slot(STEPS, 0), b"k", b"not even connected")
        assert processor_share(1, turn) < LITTLE
        with pytest.raises(BrokerUnavailable):
            sink.flush(0.5)
        assert time.monotonic() - began < 6
        server.resume()
        settle([member], {Slot(STEPS, 0), Slot(STEPS, 1)})
        eventually(lambda: write(broker, Slot(STEPS, 1), b"after"))
    sink.close()
    assert [record.value for record in broker.read(Slot(STEPS, 1))][-1] == b"after"


def test_a_record_waits_for_a_connection_without_spinning(server: Tansu) -> None:
    broker = open_broker(server.address)
    broker.create_topics(1)
    sink = broker.sink()
    sink._producer = sink._open()  # connected to a bootstrap server, and not yet to the node that has the partition
    sink._producer.partitions_for(STEPS)
    server.pause()
    sink.send(Slot(STEPS, 0), b"k", b"stuck")
    assert processor_share(2, lambda: time.sleep(0.2)) < LITTLE
    sink.close()
    server.resume()
