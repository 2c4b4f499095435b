"""How encoded records reach a broker: the protocol, and one that keeps them in memory.

`losswatch.kafka_transport` has the one that is used.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

Headers = list[tuple[str, bytes]]


class Unavailable(Exception):
    """The broker cannot take records now; the same ones may be sent again later."""


class Refused(Exception):
    """The broker will never take this record."""


class Delivery(Protocol):
    """What became of one record."""

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; whether the outcome is known."""

    def check(self) -> None:
        """Once the outcome is known: raises Unavailable or Refused unless the broker has the record."""


class Received(NamedTuple):
    """A record that was read."""

    value: bytes
    headers: Headers


class FindingsReader(Protocol):
    """Reads the findings of one run. Used by one thread, of its own, as every method may take seconds."""

    def connect(self) -> None:
        """Get ready to read what is published from now on, or after `close`, where it was. Raises Unavailable."""

    def read(self, timeout: float) -> Sequence[Received]:
        """What has arrived, waiting up to ``timeout`` seconds for something. Raises Unavailable."""

    def close(self) -> None:
        """Let go of the connection. `connect` may follow."""


class Transport(Protocol):
    """Used by the sender's thread; `connect` by a thread of its own, as it may take seconds."""

    @property
    def target(self) -> str:
        """What it sends to, for messages."""

    def prepare(self) -> None:
        """On the job's thread, which must not wait: start the threads that are going to be needed."""

    def connect(self, topics: Sequence[str]) -> None:
        """Get ready to send to the topics, so that `send` need not wait. Raises Unavailable."""

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        """Start to send. Raises as `Delivery.check` does.

        Records of one key and topic arrive in this order, and after one that is Unavailable none
        arrives until `close` and `connect`.
        """

    def close(self) -> None:
        """Let go of the connection and of what is under way, at once. `connect` may follow."""

    def dismiss(self) -> None:
        """Let the threads of `prepare` go; nothing follows."""

    def abandon(self) -> None:
        """In a forked child: forget the connection without touching it; it is the parent's."""

    def findings(self, run: str) -> FindingsReader:
        """A reader of the findings of a run; it is not connected yet."""


class Sent(NamedTuple):
    """A record a `MemoryTransport` was given."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Delivered:
    """The outcome of a record that arrived at once."""

    def wait(self, timeout: float) -> bool:
        return True

    def check(self) -> None:
        return None


class MemoryTransport:
    """Keeps the records in this process, for tests, and hands each to ``receive`` where there is one."""

    target = "memory"

    def __init__(self, receive: Callable[[Sent], None] | None = None) -> None:
        self.records: list[Sent] = []
        self.advice: queue.SimpleQueue[Received] = queue.SimpleQueue()
        """Findings for the run to read."""
        self._receive = receive or self.records.append

    def prepare(self) -> None:
        return None

    def connect(self, topics: Sequence[str]) -> None:
        return None

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        self._receive(Sent(topic, key, value, headers))
        return Delivered()

    def close(self) -> None:
        return None

    def dismiss(self) -> None:
        return None

    def abandon(self) -> None:
        return None

    def findings(self, run: str) -> MemoryFindings:
        return MemoryFindings(self.advice)


class MemoryFindings:
    """Reads the findings that a test puts into a queue."""

    def __init__(self, records: queue.SimpleQueue[Received]) -> None:
        self._records = records

    def connect(self) -> None:
        return None

    def read(self, timeout: float) -> list[Received]:
        try:
            return [self._records.get(timeout=timeout)]
        except queue.Empty:
            return []

    def close(self) -> None:
        return None
