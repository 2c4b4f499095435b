"""A broker in this process, for tests and for replay.

It does what a Kafka broker does as far as a worker can see: partitions, groups with range assignment,
rebalances that wait for every member to poll, commits that a former owner is refused. It does not
compact or expire anything. Tests make it fail with `MemoryBroker.fail_next` and
`MemoryBroker.available`, and kill a member with `MemorySource.lose`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from consumers.source import BrokerUnavailable, Change, CommitRefused, Headers, Message, Slot
from losswatch.topics import ALIKE, TOPICS

Call = Literal["create_topics", "source", "poll", "commit", "committed", "beginning", "flush", "read"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a partition; a `consumers.source.Message`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True, eq=False)
class _Group:
    """The members in the order in which they joined, and what was committed."""

    members: list[MemorySource] = field(default_factory=list)
    joined: set[int] = field(default_factory=set)
    """Identities of the members that gave up their partitions for the rebalance under way."""
    rebalancing: bool = False
    committed: dict[Slot, int] = field(default_factory=dict)


class MemoryBroker:
    """Topics in memory; `clock` gives Unix seconds for the records' timestamps.

    >>> broker = MemoryBroker()
    >>> broker.create_topic("steps", partitions=2)
    >>> broker.produce("steps", 1, b"run", b"{}")
    0
    >>> [message.value for message in broker.read(Slot("steps", 1))]
    [b'{}']
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.available = True
        """While False every call raises BrokerUnavailable."""
        self._clock = clock
        self._logs: dict[Slot, list[Record]] = {}
        self._groups: defaultdict[str, _Group] = defaultdict(_Group)
        self._failures: dict[tuple[Call, bool], int] = Counter()
        self._changed = threading.Condition(threading.RLock())

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create one topic; nothing happens to one that exists."""
        with self._changed:
            if not self.partitions(topic):
                self._logs.update({Slot(topic, p): [] for p in range(partitions)})
            for group in self._groups.values():
                group.rebalancing = bool(group.members)

    def create_topics(self, partitions: int) -> list[str]:
        """Create the missing topics; the names of those it made."""
        with self._changed, self._call("create_topics"):
            missing = [topic.name for topic in TOPICS if not self.partitions(topic.name)]
            partitions = max(map(self.partitions, ALIKE)) or partitions
            for name in missing:
                self.create_topic(name, partitions)
            return missing

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 where it does not exist."""
        return sum(slot.topic == topic for slot in self._logs)

    def produce(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp: int | None = None,
    ) -> int:
        """Append a record, as a job would; its offset. Raises KeyError for a partition that does not exist."""
        with self._changed:
            log = self._logs[Slot(topic, partition)]
            when = round(1000 * self._clock()) if timestamp is None else timestamp
            log.append(Record(topic, partition, len(log), when, key, value, list(headers)))
            self._changed.notify_all()
            return len(log) - 1

    def source(self, group: str, topics: Sequence[str]) -> MemorySource:
        """Join the group; the partitions come with the polls."""
        with self._changed, self._call("source"):
            return MemorySource(self, self._groups[group], topics)

    def sink(self) -> MemorySink:
        """A producer of its own."""
        return MemorySink(self)

    def read(self, slot: Slot, start: int = 0) -> Iterator[Message]:
        """Every record that is in the partition now, from ``start`` on."""
        with self._changed, self._call("read"):
            records = self._logs[slot][max(0, start) :]
        yield from records

    def close(self) -> None:
        """Nothing to do."""

    def fail_next(self, call: Call, *, times: int = 1, answer_lost: bool = False) -> None:
        """Make the next calls of that name raise BrokerUnavailable: without effect, or, with
        ``answer_lost``, after they took effect."""
        self._failures[call, answer_lost] += times

    def heal(self) -> None:
        """Be there, and let every call succeed from now on."""
        self.available = True
        self._failures.clear()

    @contextmanager
    def _call(self, call: Call) -> Iterator[None]:
        self._fail(call, answer_lost=False)
        yield
        self._fail(call, answer_lost=True)

    def _fail(self, call: Call, *, answer_lost: bool) -> None:
        if not self.available:
            raise BrokerUnavailable("the broker in memory was made unavailable")
        if self._failures[call, answer_lost] > 0:
            self._failures[call, answer_lost] -= 1
            raise BrokerUnavailable(f"{call} was made to fail")


class MemorySource:
    """`consumers.source.Source` on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker, group: _Group, topics: Sequence[str]) -> None:
        self._broker = broker
        self._group = group
        self._topics = tuple(topics)
        self._positions: dict[Slot, int] = {}
        self._revoked: dict[Slot, int] = {}
        self._changes: list[Change] = []
        self._first = 0
        self._closed = False
        self._join()

    def poll(self, timeout: float, most: int) -> Sequence[Message]:
        """Up to ``most`` records; none, before the time is up, when there was a rebalance."""
        if self._closed:
            raise ValueError("the source is closed")
        deadline = time.monotonic() + timeout
        known = len(self._changes)
        with self._broker._changed, self._broker._call("poll"):
            while True:
                self._rebalance()
                records = self._take(most)
                left = deadline - time.monotonic()
                if records or len(self._changes) > known or left <= 0:
                    return records
                self._broker._changed.wait(left)

    def changes(self) -> list[Change]:
        """The rebalances since the last call, oldest first."""
        changes, self._changes = self._changes, []
        return changes

    def seek(self, slot: Slot, next_offset: int) -> None:
        """Go on from ``next_offset``. Raises ValueError for a partition that is not assigned."""
        if slot not in self._positions:
            raise ValueError(f"{slot} is not assigned to this member")
        self._positions[slot] = next_offset

    def commit(self, next_offsets: Mapping[Slot, int]) -> None:
        """Commit; CommitRefused for what this member does not hold."""
        with self._broker._changed, self._broker._call("commit"):
            strange = [slot for slot in next_offsets if slot not in self._positions]
            if strange or self not in self._group.members:
                raise CommitRefused(f"not assigned to this member: {strange or list(next_offsets)}")
            self._group.committed.update(next_offsets)

    def committed(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """The committed next offsets; partitions without one are absent."""
        with self._broker._changed, self._broker._call("committed"):
            return {slot: self._group.committed[slot] for slot in slots if slot in self._group.committed}

    def beginning(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """Zero for each: nothing is ever removed."""
        with self._broker._changed, self._broker._call("beginning"):
            return dict.fromkeys(slots, 0)

    def lag(self) -> dict[Slot, int]:
        """Records between position and end."""
        return {slot: max(0, len(self._broker._logs[slot]) - at) for slot, at in self._positions.items()}

    def close(self) -> None:
        """Leave the group."""
        with self._broker._changed:
            if not self._closed:
                self._closed = True
                self._give_up("revoked")
                self._leave()

    def lose(self) -> None:
        """Be expelled from the group, as after a missed heartbeat: the others get the partitions, and this
        member hears of it at its next poll, and joins again. For tests."""
        with self._broker._changed:
            self._leave()

    def _join(self) -> None:
        self._group.members.append(self)
        self._group.joined.add(id(self))
        self._group.rebalancing = True
        self._broker._changed.notify_all()

    def _leave(self) -> None:
        if self in self._group.members:
            self._group.members.remove(self)
            self._group.joined.discard(id(self))
            self._group.rebalancing = True
            self._broker._changed.notify_all()

    def _rebalance(self) -> None:
        if self not in self._group.members:
            self._give_up("lost")
            self._join()
        if not self._group.rebalancing:
            return
        self._give_up("revoked")
        self._group.joined.add(id(self))
        if len(self._group.joined) == len(self._group.members):
            for member in self._group.members:
                member._receive()
            self._group.joined.clear()
            self._group.rebalancing = False
            self._broker._changed.notify_all()

    def _receive(self) -> None:
        """Take this member's ranges: in each topic, partitions in equal runs, the first members one more."""
        slots: list[Slot] = []
        for topic in sorted(self._topics):
            members = [member for member in self._group.members if topic in member._topics]
            each, extra = divmod(self._broker.partitions(topic), len(members))
            at = members.index(self)
            first = at * each + min(at, extra)
            slots += [Slot(topic, p) for p in range(first, first + each + (at < extra))]
        # As kafka-python does: what comes back to the same member goes on where it was, not at the commit.
        self._positions = {slot: self._revoked.get(slot, self._group.committed.get(slot, 0)) for slot in slots}
        self._revoked = {}
        if slots:
            self._changes.append(Change("assigned", tuple(slots)))

    def _give_up(self, what: Literal["revoked", "lost"]) -> None:
        if self._positions:
            self._changes.append(Change(what, tuple(self._positions)))
            self._revoked = self._positions if what == "revoked" else {}
            self._positions = {}

    def _take(self, most: int) -> list[Record]:
        """Records in turn from each partition, beginning with another one every time."""
        taken: list[Record] = []
        slots = list(self._positions)
        self._first = (self._first + 1) % max(1, len(slots))
        for slot in slots[self._first :] + slots[: self._first]:
            at = self._positions[slot]
            found = self._broker._logs[slot][at : at + most - len(taken)]
            self._positions[slot] = at + len(found)
            taken += found
        return taken


class MemorySink:
    """`consumers.source.Sink` on a `MemoryBroker`. Nothing is written before the flush, so that a sink that is
    dropped without one leaves what a killed process leaves in the worst case."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._queue: list[tuple[Slot, bytes | None, bytes | None, Headers]] = []

    def send(self, slot: Slot, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue a record."""
        self._queue.append((slot, key, value, headers))

    def flush(self, timeout: float) -> None:
        """Write what was sent. Raises BrokerUnavailable, and forgets the records, if that was made to fail or a
        partition does not exist."""
        queue, self._queue = self._queue, []
        with self._broker._changed, self._broker._call("flush"):
            for slot, key, value, headers in queue:
                if slot not in self._broker._logs:
                    raise BrokerUnavailable(f"there is no partition {slot.topic}-{slot.partition}")
                self._broker.produce(slot.topic, slot.partition, key, value, headers)

    def close(self) -> None:
        """Forget what was not flushed."""
        self._queue.clear()
