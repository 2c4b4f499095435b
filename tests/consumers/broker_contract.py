"""What every broker has to do; `test_kafka.py` and `test_memory.py` run this against theirs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from consumers.source import Broker, Change, CommitRefused, Message, Slot, Source
from losswatch.topics import TOPICS

MakeTopic = Callable[[int], str]

PATIENCE = 20.0
"""Seconds that a test waits for what must happen."""


def a_group() -> str:
    """A group nobody else uses."""
    return f"group-{uuid.uuid4().hex[:12]}"


@contextmanager
def joined(broker: Broker, topics: Sequence[str], group: str | None = None) -> Iterator[Source]:
    """A member of the group, closed at the end."""
    source = broker.source(group or a_group(), topics)
    try:
        yield source
    finally:
        source.close()


def gather(source: Source, count: int) -> list[Message]:
    """Poll until there are ``count`` records."""
    records: list[Message] = []
    deadline = time.monotonic() + PATIENCE
    while len(records) < count and time.monotonic() < deadline:
        records += source.poll(0.1, 1000)
    assert len(records) == count
    return records


class Member:
    """A source that knows, from its changes alone, what it holds."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.held: set[Slot] = set()
        self.history: list[Change] = []

    def turn(self) -> None:
        """Poll once and take note of the changes."""
        self.source.poll(0.1, 100)
        self.note()

    def note(self) -> None:
        """Take note of the changes, which must agree with what was held."""
        for change in self.source.changes():
            self.history.append(change)
            if change.what == "assigned":
                assert not self.held & set(change.slots), "assigned what it had already"
                self.held |= set(change.slots)
            else:
                assert set(change.slots) <= self.held, "lost what it did not have"
                self.held -= set(change.slots)


def settle(members: Sequence[Member], slots: set[Slot]) -> None:
    """Poll all of them at once until every one holds something, and together they hold exactly ``slots``."""
    deadline = time.monotonic() + PATIENCE
    with ThreadPoolExecutor(len(members)) as threads:
        while time.monotonic() < deadline:
            list(threads.map(Member.turn, members))
            held = [member.held for member in members]
            if all(held) and sum(map(len, held)) == len(slots) and set().union(*held) == slots:
                return
    pytest.fail(f"not settled: {[member.history for member in members]}")


def write(broker: Broker, slot: Slot, *values: bytes | None) -> None:
    """Write the values under the key ``key`` and wait for the acknowledgement."""
    sink = broker.sink()
    for value in values:
        sink.send(slot, b"key", value)
    sink.flush(PATIENCE)
    sink.close()


class BrokerContract:
    """Inherit it, and provide the fixtures ``broker`` and ``make_topic`` (a number of partitions to a name)."""

    def test_records_arrive_in_order_with_all_their_parts(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        sink = broker.sink()
        sink.send(slot, b"run", b"one", [("ce_id", b"a/1"), ("empty", b"")])
        sink.send(slot, b"run", None)
        sink.send(slot, None, b"")
        for number in range(200):
            sink.send(slot, b"run", b"%d" % number)
        sink.flush(PATIENCE)
        sink.close()
        with joined(broker, [slot.topic]) as source:
            records = gather(source, 203)
        assert [(r.topic, r.partition) for r in records] == [slot] * 203
        assert [r.offset for r in records] == list(range(203))
        assert [(r.key, r.value) for r in records[:3]] == [(b"run", b"one"), (b"run", None), (None, b"")]
        assert list(records[0].headers) == [("ce_id", b"a/1"), ("empty", b"")]
        assert list(records[1].headers) == []
        assert [r.value for r in records[3:]] == [b"%d" % number for number in range(200)]
        assert abs(records[0].timestamp / 1000 - time.time()) < 60

    def test_a_poll_brings_no_more_than_asked_for(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        write(broker, slot, *[b"x"] * 10)
        with joined(broker, [slot.topic]) as source:
            offsets: list[int] = []
            while len(offsets) < 10:
                batch = source.poll(0.1, 3)
                assert len(batch) <= 3
                offsets += [record.offset for record in batch]
        assert offsets == list(range(10))

    def test_a_poll_waits_no_longer_than_told(self, broker: Broker, make_topic: MakeTopic) -> None:
        topic = make_topic(1)
        with joined(broker, [topic]) as source:
            settle([Member(source)], {Slot(topic, 0)})
            began = time.monotonic()
            assert source.poll(0.2, 10) == []
            assert 0.15 < time.monotonic() - began < 2

    def test_members_share_the_partitions_alike_in_every_topic(self, broker: Broker, make_topic: MakeTopic) -> None:
        topics = [make_topic(4), make_topic(4)]
        everything = {Slot(topic, p) for topic in topics for p in range(4)}
        group = a_group()
        with joined(broker, topics, group) as one:
            first = Member(one)
            settle([first], everything)
            assert [change.what for change in first.history] == ["assigned"]
            with joined(broker, topics, group) as two:
                second = Member(two)
                settle([first, second], everything)
                for member in (first, second):
                    assert len(member.held) == 4
                    assert len({slot.partition for slot in member.held}) == 2
                whats = [change.what for change in first.history]
                assert whats[:2] == ["assigned", "revoked"]
                assert whats[-1] == "assigned"
            second.note()
            assert second.held == set(), "closing gives everything back"
            settle([first], everything)

    def test_a_commit_is_where_the_next_member_goes_on(self, broker: Broker, make_topic: MakeTopic) -> None:
        topic, group = make_topic(2), a_group()
        write(broker, Slot(topic, 0), b"a", b"b", b"c")
        write(broker, Slot(topic, 1), b"x")
        slots = [Slot(topic, 0), Slot(topic, 1)]
        with joined(broker, [topic], group) as source:
            gather(source, 4)
            assert source.committed(slots) == {}
            source.commit({Slot(topic, 0): 2})
            assert source.committed(slots) == {Slot(topic, 0): 2}
        with joined(broker, [topic], group) as source:
            assert sorted((r.partition, r.value) for r in gather(source, 2)) == [(0, b"c"), (1, b"x")]
            assert source.committed(slots) == {Slot(topic, 0): 2}
            assert source.beginning(slots) == dict.fromkeys(slots, 0)

    def test_seek_goes_back_and_forward(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        write(broker, slot, *[b"%d" % n for n in range(10)])
        with joined(broker, [slot.topic]) as source:
            gather(source, 10)
            source.seek(slot, 7)
            assert [r.offset for r in gather(source, 3)] == [7, 8, 9]
            source.seek(slot, 0)
            source.seek(slot, 9)
            assert [r.offset for r in gather(source, 1)] == [9]
            with pytest.raises(ValueError, match="not assigned"):
                source.seek(Slot(slot.topic, 5), 0)

    def test_the_lag_is_what_was_not_polled_yet(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        write(broker, slot, *[b"x"] * 10)
        with joined(broker, [slot.topic]) as source:
            assert source.lag() == {}
            while not (batch := source.poll(0.1, 4)):
                pass
            assert source.lag() == {slot: 10 - len(batch)}
            gather(source, 10 - len(batch))
            assert source.lag() == {slot: 0}

    def test_a_former_owner_may_not_commit(self, broker: Broker, make_topic: MakeTopic) -> None:
        topic, group = make_topic(2), a_group()
        everything = {Slot(topic, 0), Slot(topic, 1)}
        with joined(broker, [topic], group) as one, joined(broker, [topic], group) as two:
            first, second = Member(one), Member(two)
            settle([first, second], everything)
            with pytest.raises(CommitRefused):
                one.commit(dict.fromkeys(second.held, 1))
            one.commit(dict.fromkeys(first.held, 0))
            assert two.committed(sorted(second.held)) == {}

    def test_reading_goes_to_the_end_and_stops(self, broker: Broker, make_topic: MakeTopic) -> None:
        topic = make_topic(2)
        slot, empty = Slot(topic, 0), Slot(topic, 1)
        for batch in range(5):
            write(broker, slot, *[b"%d/%d" % (batch, n) for n in range(20)])
        assert [r.offset for r in broker.read(slot)] == list(range(100))
        assert [r.value for r in broker.read(slot, 98)] == [b"4/18", b"4/19"]
        assert list(broker.read(slot, 100)) == []
        assert list(broker.read(slot, 1000)) == []
        assert list(broker.read(empty)) == []

    def test_what_was_flushed_is_there_and_the_sink_can_go_on(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        sink = broker.sink()
        sink.flush(1)
        for number in range(3):
            sink.send(slot, b"k", b"%d" % number)
            sink.flush(PATIENCE)
            assert [r.value for r in broker.read(slot)][-1] == b"%d" % number
        sink.close()

    def test_large_records_come_back_whole(self, broker: Broker, make_topic: MakeTopic) -> None:
        slot = Slot(make_topic(1), 0)
        large = bytes(range(256)) * (8 * 1024)
        write(broker, slot, b"small", large, large, b"small")
        with joined(broker, [slot.topic]) as source:
            assert [r.value for r in gather(source, 4)] == [b"small", large, large, b"small"]
        assert [r.value for r in broker.read(slot, 2)] == [large, b"small"]

    def test_topics_are_created_once(self, broker: Broker) -> None:
        assert broker.partitions("losswatch.nothing") == 0
        names = [topic.name for topic in TOPICS]
        assert set(broker.create_topics(3)) <= set(names)
        assert broker.create_topics(5) == []
        assert {broker.partitions(name) for name in names} == {3}
