"""Everything that waits for the broker, oldest first: what is on disk, then what is in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from losswatch.buffer import Buffer, Outgoing

if TYPE_CHECKING:
    from losswatch.spool.store import Spool

SPILL_BYTES: Final = 4 * 2**20
"""With a spool, more than this is not kept in memory while there is room on disk."""


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
