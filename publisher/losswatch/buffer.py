"""The two bounded stores of a hook: the lane from the job's threads to the sender, and the outbox.

Both drop their oldest content when full and count what they dropped; neither ever waits.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")
Kind = Literal["control", "steps", "predictions"]


class Lane(Generic[T]):
    """Hands items from any thread to the one that takes them, without a lock.

    ``limit`` bounds the length times the cost of the item being put, which bounds the sum of all
    costs however they vary. A lock would let the taking thread, descheduled while it holds it, stop
    the job; each operation here is one atomic step of a deque.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[int, T]] = deque()
        self._tickets = itertools.count()
        self._next_ticket = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, cost: int) -> None:
        """Append an item, dropping the oldest ones while there is no room for its cost."""
        items = self._items
        while len(items) * cost > self._limit:
            try:
                items.popleft()
            except IndexError:
                break
        items.append((next(self._tickets), item))

    def take(self, most: int) -> list[T]:
        """Up to ``most`` of the oldest items, oldest first. One thread only."""
        taken: list[T] = []
        while len(taken) < most:
            try:
                ticket, item = self._items.popleft()
            except IndexError:
                break
            self._next_ticket = max(self._next_ticket, ticket + 1)
            taken.append(item)
        self._taken += len(taken)
        return taken

    @property
    def dropped(self) -> int:
        """How many items had been dropped before the newest one taken."""
        return self._next_ticket - self._taken


class Outgoing(NamedTuple):
    """One encoded record."""

    kind: Kind
    topic: str
    seq: int
    value: bytes
    headers: list[tuple[str, bytes]]
    calls: int
    """How many calls of the job it stands for."""


LIMITS: Final[dict[Kind, int]] = {"control": 2**62, "steps": 32 * 2**20, "predictions": 16 * 2**20}
"""Most encoded bytes kept per kind. Control records are few by nature and never displaced."""


class Outbox:
    """Encoded records that wait for the broker, in the order of their ``seq``. One thread only.

    >>> outbox = Outbox(Counter(), {"control": 9, "steps": 3, "predictions": 9})
    >>> for seq, value in enumerate([b"ab", b"cd"]):
    ...     outbox.add(Outgoing("steps", "losswatch.steps", seq, value, [], calls=64))
    >>> outbox.next().seq, outbox.dropped
    (1, Counter({'steps_buffer_full': 64}))
    """

    def __init__(self, dropped: Counter[str], limits: dict[Kind, int] = LIMITS) -> None:
        self.dropped = dropped
        self._limits = limits
        self._records: dict[Kind, deque[Outgoing]] = {kind: deque() for kind in limits}
        self._bytes: dict[Kind, int] = dict.fromkeys(limits, 0)
        self.calls = 0
        """How many calls of the job the records stand for."""

    def __len__(self) -> int:
        return sum(map(len, self._records.values()))

    @property
    def bytes(self) -> int:
        """Encoded bytes kept."""
        return sum(self._bytes.values())

    def add(self, record: Outgoing) -> None:
        """Append a record, dropping the oldest of its kind while the kind has no room."""
        records, kind = self._records[record.kind], record.kind
        records.append(record)
        self._count(record, 1)
        while self._bytes[kind] > self._limits[kind] and records:
            oldest = records.popleft()
            self._count(oldest, -1)
            self.dropped[f"{kind}_buffer_full"] += oldest.calls

    def next(self) -> Outgoing | None:
        """Take the record with the lowest ``seq``."""
        waiting = [records for records in self._records.values() if records]
        if not waiting:
            return None
        record = min(waiting, key=lambda records: records[0].seq).popleft()
        self._count(record, -1)
        return record

    def put_back(self, records: Iterable[Outgoing]) -> None:
        """Return records taken by `next`, given in the order they were taken in."""
        for record in reversed(list(records)):
            self._records[record.kind].appendleft(record)
            self._count(record, 1)

    def _count(self, record: Outgoing, sign: int) -> None:
        self._bytes[record.kind] += sign * len(record.value)
        self.calls += sign * record.calls
