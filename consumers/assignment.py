"""The partitions this worker owns: taken over from snapshots, given up without a trace."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from consumers.fleet import Fleet
from consumers.outbox import Outbox
from consumers.snapshots import MARKER_KEY, Marker, SnapshotUnusable, next_offsets, restore
from consumers.source import Broker, Change, Message, Slot, Source
from losswatch.topics import PREDICTIONS, STATE, STEPS

log: Final = logging.getLogger(__name__)

INPUTS: Final = (STEPS, PREDICTIONS)
"""The topics a worker reads; a run has the same partition number in both."""


@dataclass(slots=True)
class Owned:
    """One partition number of this worker."""

    next_offsets: dict[str, int]
    """By topic: everything below is in the fleet's state."""
    marked: dict[str, int] | None = None
    """What the newest marker says; None before the first."""


class Assignment:
    """Follows the rebalances. Used on the worker's thread."""

    def __init__(self, broker: Broker, source: Source, fleet: Fleet, outbox: Outbox) -> None:
        self._broker, self._source, self._fleet, self._outbox = broker, source, fleet, outbox
        self._telemetry = fleet.telemetry
        self.owned: dict[int, Owned] = {}
        self._waiting: set[int] = set()
        """Assigned, but not restored yet."""

    @property
    def ready(self) -> bool:
        """Whether everything that was assigned is restored."""
        return bool(self.owned) and not self._waiting

    def follow(self, changes: Sequence[Change]) -> set[int]:
        """Take over and give up partitions; returns those whose records must be fetched anew.

        A partition that was revoked and assigned again within one drain never left: its state is
        kept, and only its position is set again. Raises BrokerUnavailable; what is left is done by the
        next call.
        """
        leaving: set[int] = set()
        for change in changes:
            numbers = {slot.partition for slot in change.slots}
            self._telemetry.count("rebalances", change.what, by=len(numbers))
            if change.what == "assigned":
                leaving -= numbers
                self._waiting |= numbers
            else:
                self._waiting -= numbers
                leaving |= numbers
                if change.what == "lost":
                    self._give_up(numbers)
        self._give_up(leaving)
        moved = set(self._waiting)
        for partition in sorted(self._waiting):
            self._take_over(partition)
            self._waiting.discard(partition)
        return moved

    def accept(self, message: Message) -> bool:
        """Whether a message is to be used: its partition is ours and it was not used before."""
        owned = self.owned.get(message.partition)
        return owned is not None and message.offset >= owned.next_offsets.get(message.topic, 0)

    def advance(self, messages: Sequence[Message]) -> None:
        """Note that messages were used."""
        for message in messages:
            self.owned[message.partition].next_offsets[message.topic] = message.offset + 1

    def _give_up(self, partitions: set[int]) -> None:
        for partition in partitions & set(self.owned):
            del self.owned[partition]
            self._outbox.close(partition)
            for run in [run for run in self._fleet.runs.values() if run.partition == partition]:
                self._fleet.drop(run)
            log.info("gave up partition %d", partition)

    def _take_over(self, partition: int) -> None:
        if partition not in self.owned:
            self.owned[partition] = self._restore(partition)
        for topic, offset in self.owned[partition].next_offsets.items():
            self._source.seek(Slot(topic, partition), offset)

    def _restore(self, partition: int) -> Owned:
        """Read the state topic, put the runs back, and find out from where to go on."""
        marker: Marker | None = None
        best: dict[bytes, tuple[int, bytes]] = {}
        for message in self._broker.read(Slot(STATE, partition)):
            if message.key == MARKER_KEY and message.value:
                marker = self._newer(marker, message.value)
            elif message.key is not None:
                self._keep_furthest(best, message.key, message.value)
        self._outbox.open(partition, marker.findings_next if marker else 0)
        owned = Owned(self._start(partition, marker), dict(marker.next_offsets) if marker else None)
        # Last, for what comes before may raise and be tried again.
        runs = [run for _, data in best.values() if (run := self._put_back(data)) is not None]
        log.info("took over partition %d: %d runs restored, going on from %s", partition, len(runs), owned.next_offsets)
        return owned

    def _newer(self, marker: Marker | None, value: bytes) -> Marker | None:
        """The one that reaches further: a slow former owner may have written the last one."""
        try:
            found = Marker.model_validate_json(value)
        except ValidationError:
            self._telemetry.count("snapshots_unusable", "marker")
            return marker
        return (
            found if marker is None or sum(found.next_offsets.values()) >= sum(marker.next_offsets.values()) else marker
        )

    def _keep_furthest(self, best: dict[bytes, tuple[int, bytes]], key: bytes, value: bytes | None) -> None:
        """Keep the snapshot that reaches furthest, for the same reason; a tombstone ends a run."""
        if value is None:
            best.pop(key, None)
            return
        try:
            reach = sum(next_offsets(value).values())
        except SnapshotUnusable:
            self._telemetry.count("snapshots_unusable", "unreadable")
            return
        if key not in best or reach >= best[key][0]:
            best[key] = (reach, value)

    def _put_back(self, data: bytes) -> str | None:
        try:
            run = restore(self._fleet, data)
        except SnapshotUnusable as error:
            log.warning("a snapshot could not be restored, its run starts afresh: %s", error)
            self._telemetry.count("snapshots_unusable", "broken")
            return None
        self._telemetry.count("snapshots_restored")
        return run.run

    def _start(self, partition: int, marker: Marker | None) -> dict[str, int]:
        """Where to go on, by topic: the marker is the truth, then the commit, then the first record kept."""
        slots = [Slot(topic, partition) for topic in INPUTS]
        committed = self._source.committed(slots)
        first = self._source.beginning(slots)
        start: dict[str, int] = {}
        for slot in slots:
            wanted = marker.next_offsets.get(slot.topic) if marker else None
            wanted = committed.get(slot, 0) if wanted is None else wanted
            start[slot.topic] = max(wanted, first.get(slot, 0))
            if marker and wanted < start[slot.topic]:
                log.critical(
                    "%s[%d]: records %d to %d are gone before they were read; raise the topic's retention.ms",
                    slot.topic,
                    partition,
                    wanted,
                    start[slot.topic] - 1,
                )
        return start
