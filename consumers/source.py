"""What the worker needs of a broker, as protocols.

Two brokers implement them: `consumers.kafka` (any Kafka-compatible one) and `consumers.memory` (in
this process; for tests and for replay). Both pass the same tests (``tests/consumers/broker_contract.py``).

Offsets are always *next offsets*: the offset of the first record not yet used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class Slot(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Message(Protocol):
    """One record as the broker gives it. kafka-python's ConsumerRecord is one as it stands."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Unix milliseconds."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What a rebalance did. ``lost`` partitions already belong to somebody else: nothing of theirs
    may be written any more."""

    what: Literal["assigned", "revoked", "lost"]
    slots: tuple[Slot, ...]


class BrokerUnavailable(Exception):
    """The broker did not answer in time; the same call may succeed later."""


class CommitRefused(Exception):
    """The partition moved to another member; the commit is void and must not be tried again."""


class Source(Protocol):
    """A member of the consumer group. Every method is called on the worker's one thread."""

    def poll(self, timeout: float, most: int) -> Sequence[Message]:
        """Up to ``most`` records, waiting up to ``timeout`` seconds for the first.

        Records of one partition come in the order of their offsets. Rebalances happen in here.
        Raises BrokerUnavailable where the client knows that nobody answers.
        """

    def changes(self) -> list[Change]:
        """The rebalances since the last call, oldest first. Call after each poll and before using
        what it returned: records of newly assigned partitions may be among them."""

    def seek(self, slot: Slot, next_offset: int) -> None:
        """Go on from ``next_offset`` in an assigned partition, dropping what was fetched ahead."""

    def commit(self, next_offsets: Mapping[Slot, int]) -> None:
        """Commit and wait. Raises CommitRefused or BrokerUnavailable."""

    def committed(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """The committed next offsets; partitions without one are absent."""

    def beginning(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """The first offsets still kept."""

    def lag(self) -> dict[Slot, int]:
        """Records between this member's position and the end, for each assigned partition, as last
        reported by the broker; partitions of which nothing is known yet are absent."""

    def close(self) -> None:
        """Leave the group."""


class Sink(Protocol):
    """Where the worker writes. One per worker, used on its one thread."""

    def send(self, slot: Slot, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue a record; it is durable only once `flush` has returned."""

    def flush(self, timeout: float) -> None:
        """Wait until all that was sent is acknowledged. Raises BrokerUnavailable if it was not, after
        which the caller must not assume that any of it was or was not written."""

    def close(self) -> None: ...


class Broker(Protocol):
    """A place that has topics."""

    def create_topics(self, partitions: int) -> list[str]:
        """Create the missing ones of `losswatch.topics.TOPICS`; the names of those it made.

        Where some exist already (a job came first, and the broker made them for it), the others get
        as many partitions as those have.
        """

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 where it does not exist."""

    def source(self, group: str, topics: Sequence[str]) -> Source: ...

    def sink(self) -> Sink: ...

    def read(self, slot: Slot, start: int = 0) -> Iterator[Message]:
        """Every record that is in the partition now, from ``start`` (or the first one kept) on."""

    def close(self) -> None: ...
