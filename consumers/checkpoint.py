"""The checkpoint: how nothing is lost and nothing counted twice. ``docs/checkpointing.md`` walks through it.

1. Finish the batch: it is in the fleet's state, its findings and dead letters are in the outbox.
2. Write the outbox and the snapshots of the runs that changed, and wait for the acknowledgements.
3. Write a marker per partition that moved, and wait for the acknowledgement.
4. Commit the offsets.

A crash before the end of 3 replays from the old marker: runs whose new snapshot was written skip what
is in it, the others take it again, and findings that the topic holds already are not told twice. A
crash after 3 loses nothing: the marker, not the commit, says where to go on.
"""

from __future__ import annotations

import logging
from typing import Final

from consumers.assignment import Assignment
from consumers.fleet import Fleet
from consumers.outbox import FLUSH_SECONDS, Outbox
from consumers.snapshots import MARKER_KEY, Marker, snapshot
from consumers.source import BrokerUnavailable, CommitRefused, Sink, Slot, Source
from losswatch.topics import STATE

log: Final = logging.getLogger(__name__)

CHUNK: Final = 1000
"""Runs packed at a time: bounds the memory of a checkpoint."""


class Checkpoint:
    """Writes checkpoints. Used on the worker's thread, between two batches (step 1)."""

    def __init__(self, source: Source, sink: Sink, fleet: Fleet, assignment: Assignment, outbox: Outbox) -> None:
        self._source, self._sink = source, sink
        self._fleet, self._assignment, self._outbox = fleet, assignment, outbox
        self._gone: set[tuple[int, str]] = set()
        """Partition and id of runs that were evicted since."""

    def forget(self, partition: int, run: str) -> None:
        """Let the next checkpoint delete a run's snapshot."""
        self._gone.add((partition, run))

    def write(self) -> bool:
        """Steps 2 to 4; whether they succeeded. What failed is tried again by the next call."""
        moved = {p: dict(o.next_offsets) for p, o in self._assignment.owned.items() if o.next_offsets != o.marked}
        try:
            self._write_state()
            self._write_markers(moved)
        except BrokerUnavailable as error:
            self._fleet.telemetry.count("checkpoint_failures")
            log.warning("the checkpoint could not be written and will be tried again: %s", error)
            return False
        self._commit(moved)
        self._fleet.telemetry.count("checkpoints")
        return True

    def _write_state(self) -> None:
        """Step 2."""
        dirty = [self._fleet.runs[name] for name in sorted(self._fleet.dirty)]
        for start in range(0, len(dirty), CHUNK):
            chunk = dirty[start : start + CHUNK]
            for run, data in zip(chunk, snapshot(self._fleet, chunk), strict=True):
                self._sink.send(Slot(STATE, run.partition), run.run.encode(), data)
        for partition, name in self._gone:
            # A run that is back, or a partition that is somebody else's by now, keeps its snapshot.
            if name not in self._fleet.runs and partition in self._assignment.owned:
                self._sink.send(Slot(STATE, partition), name.encode(), None)
        self._outbox.flush(FLUSH_SECONDS)
        self._fleet.telemetry.count("snapshots", by=len(dirty))
        self._fleet.dirty.clear()
        self._gone.clear()

    def _write_markers(self, moved: dict[int, dict[str, int]]) -> None:
        """Step 3."""
        if not moved:
            return
        for partition, offsets in moved.items():
            marker = Marker(next_offsets=offsets, findings_next=self._outbox.ledgers[partition].next_offset)
            self._sink.send(Slot(STATE, partition), MARKER_KEY, marker.model_dump_json().encode())
        self._sink.flush(FLUSH_SECONDS)
        for partition, offsets in moved.items():
            self._assignment.owned[partition].marked = offsets

    def _commit(self, moved: dict[int, dict[str, int]]) -> None:
        """Step 4. The commit only serves lag monitors: a refused or failed one costs nothing."""
        offsets = {Slot(topic, p): offset for p, by_topic in moved.items() for topic, offset in by_topic.items()}
        if not offsets:
            return
        try:
            self._source.commit(offsets)
        except CommitRefused:
            self._fleet.telemetry.count("commits_refused")
        except BrokerUnavailable:
            self._fleet.telemetry.count("broker_errors")
