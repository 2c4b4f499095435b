"""What waits for the broker: in memory, bounded and every drop counted, and before that on disk."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from losswatch.spool.store import Spool

Kind = Literal["control", "steps", "predictions"]

SPILL_BYTES: Final = 4 * 2**20
"""With a spool, more than this is not kept in memory while there is room on disk."""


class Outgoing(NamedTuple):
    """One encoded record."""

    kind: Kind
    topic: str
    key: bytes
    seq: int
    value: bytes
    headers: list[tuple[str, bytes]]
    calls: int
    """How many calls of the job it stands for."""
    group: Any = None
    """Steps of one group may be thinned out together."""
    place: Any = None
    """Where it lies on disk, if it does."""


LIMITS: Final[dict[Kind, int]] = {"control": 2**62, "steps": 32 * 2**20, "predictions": 16 * 2**20}
"""Most encoded bytes kept per kind. Control records are few by nature and never displaced."""
THINNED_SHARE: Final = 8
"""What is left of thinned-out steps may take this part of the limit of steps, on top of it."""

Thin = Callable[[Sequence[Outgoing]], Outgoing]
"""The essential steps of records of one group, as a record in the place of the first."""


class Buffer:
    """Encoded records in the order of their ``seq``. One thread only.

    Where there is no room, the oldest predictions go; of the oldest steps the essential ones stay, for as
    long as there is room for those, at a resolution that is lowered whenever there is none.

    >>> buffer = Buffer(Counter(), {"control": 9, "steps": 3, "predictions": 9})
    >>> for seq, value in enumerate([b"ab", b"cd"]):
    ...     buffer.add(Outgoing("steps", "losswatch.steps", b"r", seq, value, [], calls=64))
    >>> buffer.next().seq, buffer.dropped
    (1, Counter({'steps_buffer_full': 64}))
    """

    def __init__(self, dropped: Counter[str], limits: dict[Kind, int] = LIMITS, thin: Thin | None = None) -> None:
        self.dropped = dropped
        self._limits, self._thin = limits, thin
        self._records: dict[Kind, deque[Outgoing]] = {kind: deque() for kind in limits}
        self._bytes: dict[Kind, int] = dict.fromkeys(limits, 0)
        self._thinned: deque[Outgoing] = deque()
        self._thinned_bytes = 0
        self.calls = 0
        """How many calls of the job the records stand for."""

    def __len__(self) -> int:
        return sum(map(len, self._records.values())) + len(self._thinned)

    @property
    def bytes(self) -> int:
        """Encoded bytes kept."""
        return sum(self._bytes.values()) + self._thinned_bytes

    def add(self, record: Outgoing) -> None:
        """Append a record, making room for it among those of its kind."""
        records, kind = self._records[record.kind], record.kind
        records.append(record)
        self._count(record, 1)
        while self._bytes[kind] > self._limits[kind] and records:
            oldest = records.popleft()
            self._count(oldest, -1)
            if kind == "steps" and self._thin is not None:
                self._keep_thinned(oldest)
            else:
                self._drop(kind, oldest.calls)

    def next(self) -> Outgoing | None:
        """Take the record with the lowest ``seq``."""
        waiting = [records for records in (*self._records.values(), self._thinned) if records]
        if not waiting:
            return None
        first = min(waiting, key=lambda records: records[0].seq)
        record = first.popleft()
        (self._count_thinned if first is self._thinned else self._count)(record, -1)
        return record

    def put_back(self, records: Iterable[Outgoing]) -> None:
        """Return records taken by `next`, given in the order they were taken in."""
        for record in reversed(list(records)):
            self._records[record.kind].appendleft(record)
            self._count(record, 1)

    def _count(self, record: Outgoing, sign: int) -> None:
        self._bytes[record.kind] += sign * len(record.value)
        self.calls += sign * record.calls

    def _count_thinned(self, record: Outgoing, sign: int) -> None:
        self._thinned_bytes += sign * len(record.value)
        self.calls += sign * record.calls

    def _drop(self, kind: Kind, calls: int) -> None:
        self.dropped[f"{kind}_buffer_full"] += calls

    def _keep_thinned(self, record: Outgoing) -> None:
        self._add_thinned([record])
        limit = self._limits["steps"] // THINNED_SHARE
        before = math.inf
        while limit < self._thinned_bytes < before:
            before = self._thinned_bytes
            self._halve()
        while self._thinned_bytes > limit:
            oldest = self._thinned.popleft()
            self._count_thinned(oldest, -1)
            self._drop("steps", oldest.calls)

    def _halve(self) -> None:
        """Thin every two neighbours of a group out to one; each by itself where none has a neighbour."""
        before, self._thinned, self._thinned_bytes = self._thinned, deque(), 0
        self.calls -= sum(record.calls for record in before)
        alone: dict[Any, Outgoing] = {}
        for record in before:
            first = alone.pop(record.group, None)
            if first is None:
                alone[record.group] = record
            else:
                self._add_thinned([first, record])
        for record in alone.values():
            if len(alone) == len(before):
                self._add_thinned([record])
                continue
            self._thinned.append(record)
            self._count_thinned(record, 1)
        self._thinned = deque(sorted(self._thinned, key=lambda record: record.seq))

    def _add_thinned(self, records: Sequence[Outgoing]) -> None:
        assert self._thin is not None
        calls = sum(record.calls for record in records)
        try:
            record = self._thin(records)
        except Exception:  # a record that cannot be thinned is dropped as a whole
            self._drop("steps", calls)
            return
        self._thinned.append(record)
        self._count_thinned(record, 1)
        self._drop("steps", calls - record.calls)


class Outbox:
    """A `Buffer`, and before it a `Spool` where there is one. One thread only."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.spool: Spool | None = None
        self._lent = 0

    def __len__(self) -> int:
        return len(self.buffer) + (len(self.spool) if self.spool is not None else 0)

    @property
    def calls(self) -> int:
        """How many calls of the job wait."""
        return self.buffer.calls + (self.spool.calls if self.spool is not None else 0)

    def add(self, record: Outgoing) -> None:
        """Append a record."""
        self.buffer.add(record)
        if self.spool is not None and self.buffer.bytes > SPILL_BYTES:
            self.spill()

    def next(self) -> Outgoing | None:
        """Take the oldest record."""
        record = self.spool.next() if self.spool is not None else None
        if record is None and (record := self.buffer.next()) is not None:
            self._lent += 1
        return record

    def confirm(self, record: Outgoing) -> None:
        """Note that a record taken arrived, or never will."""
        if self.spool is not None and record.place is not None:
            self.spool.confirm(record)
        else:
            self._lent -= 1

    def put_back(self, records: Iterable[Outgoing]) -> None:
        """Return records taken and not confirmed, in the order they were taken in."""
        if self.spool is not None:
            self.spool.rewind()
        self.buffer.put_back(record for record in records if record.place is None)
        self._lent = 0

    def spill(self) -> None:
        """Write what is in memory to disk, as far as there is room.

        Not while something from memory is under way, which would be older than what is on disk if it came back.
        """
        if self.spool is None or self._lent:
            return
        while (record := self.buffer.next()) is not None:
            if not self.spool.append(record):
                self.buffer.put_back([record])
                return
