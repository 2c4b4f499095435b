"""What the worker has to write, kept until the broker has acknowledged it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from consumers.decode import DeadLetter
from consumers.source import Broker, BrokerUnavailable, Headers, Sink, Slot
from consumers.telemetry import Telemetry
from detectors.series.stalled import STALLED
from losswatch.encoding import JSON, WireError, decode, encode
from losswatch.headers import cloud_event
from losswatch.schema import Finding
from losswatch.topics import DLQ, FINDINGS

Told = tuple[str, str]
"""A finding's id and state: what is published at most once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to write."""

    slot: Slot
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    told: Told | None = None


@dataclass(slots=True)
class Ledger:
    """What one partition of the findings topic already holds of what a replay may make again."""

    next_offset: int = 0
    """From where on it must be read to know."""
    end: int = 0
    """As far as it is known to reach; it may reach further."""
    told: set[Told] = field(default_factory=set)
    by_clock: dict[str, Finding] = field(default_factory=dict)
    """By run, the newest of those that no record makes again."""


class Outbox:
    """Findings and dead letters on their way. A failed flush is repeated whole, without telling a
    finding twice: what the topic took of the failed attempt is read back first."""

    def __init__(self, broker: Broker, sink: Sink, telemetry: Telemetry) -> None:
        self._broker, self._sink, self._telemetry = broker, sink, telemetry
        self._entries: list[Entry] = []
        self._sent = 0
        """How many of the entries were given to the sink since the last failure."""
        self._uncertain = False
        self.ledgers: dict[int, Ledger] = {}
        """By partition."""

    def open(self, partition: int, findings_next: int) -> None:
        """Learn what a partition's findings topic holds from ``findings_next`` on."""
        ledger = Ledger(findings_next, findings_next)
        self._read_back(partition, ledger)
        self.ledgers[partition] = ledger

    def settle(self, partition: int) -> list[Finding]:
        """Note that all that was there at `open` has been used: no replay makes findings again any more.

        Returns, the first time, the newest findings of runs that no replay makes again.
        """
        ledger = self.ledgers[partition]
        by_clock = list(ledger.by_clock.values())
        ledger.told.clear()
        ledger.by_clock.clear()
        ledger.next_offset = ledger.end
        return by_clock

    def close(self, partition: int) -> None:
        """Forget a partition, and what was not written for it."""
        self.ledgers.pop(partition, None)
        kept = [e for e in self._entries if e.told is None or e.slot.partition != partition]
        self._sent = min(self._sent, len(kept))
        self._entries = kept

    def add(self, findings: Sequence[tuple[int, Finding]], dead: Sequence[DeadLetter]) -> None:
        """Queue findings, each with its partition, and dead letters; hands them to the broker's client."""
        for partition, finding in findings:
            told = (finding.id, finding.state)
            ledger = self.ledgers[partition]
            if told in ledger.told:
                ledger.told.discard(told)
                self._telemetry.count("findings_suppressed")
                continue
            key = finding.run.encode()
            self._entries.append(
                Entry(Slot(FINDINGS, partition), key, encode(finding), cloud_event(finding, JSON), told)
            )
        for letter in dead:
            self._telemetry.count("dead_letters", letter.message.topic, letter.reason)
            self._entries.append(Entry(Slot(DLQ, 0), letter.key, letter.value, letter.headers()))
        self.send()

    def send(self) -> None:
        """Hand what is queued to the client, unless the last flush failed: then `flush` does it."""
        if self._uncertain:
            return
        for entry in self._entries[self._sent :]:
            self._sink.send(entry.slot, entry.key, entry.value, entry.headers)
        self._sent = len(self._entries)

    @property
    def uncertain(self) -> bool:
        """Whether the last flush failed, and it is not known what of it was written."""
        return self._uncertain

    def flush(self, timeout: float) -> None:
        """Wait until all is written. Raises BrokerUnavailable, and keeps everything, if it was not."""
        try:
            if self._uncertain:
                self._leave_out_what_was_written()
                self._uncertain = False
            self.send()
            self._sink.flush(timeout)
        except BrokerUnavailable:
            self._uncertain, self._sent = True, 0
            raise
        for entry in self._entries:
            if entry.told is not None and entry.slot.partition in self.ledgers:
                ledger = self.ledgers[entry.slot.partition]
                ledger.end += 1
        for ledger in self.ledgers.values():
            if not ledger.told:
                ledger.next_offset = ledger.end
        self._entries, self._sent = [], 0

    def _leave_out_what_was_written(self) -> None:
        written: set[Told] = set()
        for partition in {e.slot.partition for e in self._entries if e.told is not None}:
            known = self.ledgers[partition]
            ledger = Ledger(known.next_offset, known.end)
            self._read_back(partition, ledger)
            known.end = ledger.end
            written |= ledger.told
        self._entries = [e for e in self._entries if e.told is None or e.told not in written]

    def _read_back(self, partition: int, ledger: Ledger) -> None:
        for message in self._broker.read(Slot(FINDINGS, partition), ledger.next_offset):
            ledger.end = max(ledger.end, message.offset + 1)
            try:
                finding = decode(message.value, accept=(Finding,))
            except WireError:
                continue  # somebody else's record: nothing of ours to tell twice
            if isinstance(finding, Finding):
                ledger.told.add((finding.id, finding.state))
                if finding.kind == STALLED.name:
                    ledger.by_clock[finding.run] = finding


FLUSH_SECONDS: Final = 30.0
"""How long a checkpoint waits for acknowledgements."""
