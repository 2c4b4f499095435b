"""The records under way to the broker: a bounded number, in order, each until it is acknowledged."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Final

from losswatch.buffer import Outbox, Outgoing
from losswatch.connection import Connection
from losswatch.notices import Notices
from losswatch.transport import Delivery, Refused, Transport, Unavailable

ACK_SECONDS: Final = 5.0
"""How long the oldest record under way may stay unacknowledged. kafka-python spins while it waits for
a broker that does not answer, so it is not left to its own, longer, timeouts."""
WINDOW_RECORDS: Final = 64
WINDOW_BYTES: Final = 1_000_000
"""Most that is under way at a time."""


class Window:
    """Sends what an `Outbox` holds over a connection. One thread only."""

    def __init__(
        self, outbox: Outbox, transport: Transport, connection: Connection, dropped: Counter[str], notices: Notices
    ) -> None:
        self._outbox, self._transport, self._connection = outbox, transport, connection
        self._dropped, self._notices = dropped, notices
        self._under_way: deque[tuple[Outgoing, Delivery, float]] = deque()
        self.bytes = self.calls = 0
        """Encoded bytes under way, and how many calls of the job they stand for."""
        self.published = self.records = 0
        """Calls and records that the broker has."""

    def __len__(self) -> int:
        return len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether no more may be sent before something is acknowledged."""
        return len(self._under_way) >= WINDOW_RECORDS or self.bytes >= WINDOW_BYTES

    def send(self) -> None:
        """Fill the window."""
        while not self.full and (record := self._outbox.next()):
            try:
                delivery = self._transport.send(record.topic, record.key, record.value, record.headers)
            except Refused as error:
                if record.place is not None:  # files confirm in order
                    self._under_way.append((record, _Refusal(error), time.monotonic()))
                    self._weigh(record, 1)
                else:
                    self._refused(record, error)
            except Exception as error:
                self.lost(error, record)
                return
            else:
                self._under_way.append((record, delivery, time.monotonic()))
                self._weigh(record, 1)

    def settle(self, wait: float) -> None:
        """Take account of what the broker acknowledged, waiting up to ``wait`` seconds for the oldest."""
        while self._under_way:
            record, delivery, since = self._under_way[0]
            if not delivery.wait(wait):
                if time.monotonic() - since > ACK_SECONDS:
                    self.lost(Unavailable(f"no answer in {ACK_SECONDS:.0f} s"))
                return
            wait = 0.0
            try:
                delivery.check()
            except Refused as error:
                self._refused(record, error)
            except Exception as error:
                self.lost(error)
                return
            else:
                self._connection.confirmed()
                self.published += record.calls
                self.records += 1
                self._outbox.confirm(record)
            self._under_way.popleft()
            self._weigh(record, -1)

    def lost(self, error: Exception, *taken: Outgoing) -> None:
        """Give the connection up; everything not acknowledged is sent again, in order."""
        self._connection.lost(error, time.monotonic())
        self.put_back(*taken)

    def put_back(self, *taken: Outgoing) -> None:
        """Return everything under way, and what was taken to follow it, to the outbox."""
        self._outbox.put_back([*(record for record, _, _ in self._under_way), *taken])
        self._under_way.clear()
        self.bytes = self.calls = 0

    def _weigh(self, record: Outgoing, sign: int) -> None:
        self.bytes += sign * len(record.value)
        self.calls += sign * record.calls

    def _refused(self, record: Outgoing, error: Refused) -> None:
        self._dropped["refused"] += max(record.calls, 1)
        self._notices.once("refused", "%s does not take a record: %s", self._transport.target, error)
        self._outbox.confirm(record)


class _Refusal:
    """The outcome of a record that was refused at once."""

    def __init__(self, error: Refused) -> None:
        self._error = error

    def wait(self, timeout: float) -> bool:
        return True

    def check(self) -> None:
        raise self._error
