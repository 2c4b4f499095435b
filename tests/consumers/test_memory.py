from __future__ import annotations

import threading
import uuid

import pytest

from consumers.memory import MemoryBroker
from consumers.source import BrokerUnavailable, Change, CommitRefused, Slot
from tests.consumers.broker_contract import BrokerContract, MakeTopic, Member, settle, write


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


class TestMemoryBroker(BrokerContract):
    @pytest.fixture
    def make_topic(self, broker: MemoryBroker) -> MakeTopic:
        def make(partitions: int) -> str:
            name = uuid.uuid4().hex
            broker.create_topic(name, partitions)
            return name

        return make


EVERYTHING = {Slot("t", 0), Slot("t", 1)}


def test_timestamps_come_from_the_clock() -> None:
    broker = MemoryBroker(clock=lambda: 12.5)
    broker.create_topic("t", 1)
    broker.produce("t", 0, None, b"now")
    broker.produce("t", 0, None, b"then", timestamp=7)
    assert [record.timestamp for record in broker.read(Slot("t", 0))] == [12_500, 7]


def test_a_poll_returns_as_soon_as_something_is_produced(broker: MemoryBroker) -> None:
    broker.create_topic("t", 1)
    source = broker.source("g", ["t"])
    source.poll(0, 1)
    source.changes()
    later = threading.Timer(0.05, broker.produce, ["t", 0, None, b"x"])
    later.start()
    assert [record.value for record in source.poll(30, 1)] == [b"x"]
    later.join()


def test_a_member_that_was_expelled_hears_of_it_and_joins_again(broker: MemoryBroker) -> None:
    broker.create_topic("t", 2)
    one, two = Member(broker.source("g", ["t"])), Member(broker.source("g", ["t"]))
    settle([one, two], EVERYTHING)
    held = tuple(sorted(one.held))
    one.source.lose()  # type: ignore[attr-defined]  # of MemorySource
    settle([two], EVERYTHING)
    with pytest.raises(CommitRefused):
        one.source.commit(dict.fromkeys(held, 1))
    one.turn()
    assert one.history[-1] == Change("lost", held)
    settle([one, two], EVERYTHING)


def test_a_commit_goes_through_until_the_member_has_given_its_partitions_up(broker: MemoryBroker) -> None:
    broker.create_topic("t", 2)
    one = Member(broker.source("g", ["t"]))
    settle([one], EVERYTHING)
    broker.source("g", ["t"])
    one.source.commit(dict.fromkeys(EVERYTHING, 1))
    one.turn()
    assert len(one.held) == 1
    with pytest.raises(CommitRefused):
        one.source.commit(dict.fromkeys(EVERYTHING, 2))


def test_calls_fail_as_often_as_they_were_told_to(broker: MemoryBroker) -> None:
    broker.create_topic("t", 1)
    source = broker.source("g", ["t"])
    broker.fail_next("poll", times=2)
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            source.poll(0, 1)
    source.poll(0, 1)


@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_flush_that_fails_wrote_nothing_unless_only_its_answer_was_lost(
    broker: MemoryBroker, answer_lost: bool
) -> None:
    broker.create_topic("t", 1)
    broker.fail_next("flush", answer_lost=answer_lost)
    with pytest.raises(BrokerUnavailable):
        write(broker, Slot("t", 0), b"x")
    assert len(list(broker.read(Slot("t", 0)))) == answer_lost
    write(broker, Slot("t", 0), b"y")
    assert [record.value for record in broker.read(Slot("t", 0))][-1] == b"y"


def test_a_flush_to_a_partition_that_does_not_exist_fails(broker: MemoryBroker) -> None:
    with pytest.raises(BrokerUnavailable, match="there is no partition t-0"):
        write(broker, Slot("t", 0), b"x")


def test_what_a_dropped_sink_did_not_flush_was_never_written(broker: MemoryBroker) -> None:
    broker.create_topic("t", 1)
    sink = broker.sink()
    sink.send(Slot("t", 0), None, b"x")
    del sink
    assert list(broker.read(Slot("t", 0))) == []


def test_nothing_answers_while_the_broker_is_away(broker: MemoryBroker) -> None:
    broker.create_topics(1)
    source = broker.source("g", ["losswatch.steps"])
    broker.available = False
    with pytest.raises(BrokerUnavailable):
        source.poll(0, 1)
    with pytest.raises(BrokerUnavailable):
        broker.create_topics(1)
    with pytest.raises(BrokerUnavailable):
        broker.source("g", ["losswatch.steps"])
    broker.available = True
    assert source.poll(0, 1) == []
