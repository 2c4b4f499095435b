"""The loop: poll, decode, detect, tell, checkpoint. One thread owns all of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from consumers.assignment import INPUTS, Assignment
from consumers.checkpoint import Checkpoint
from consumers.decode import decode_all
from consumers.fleet import Fleet
from consumers.outbox import Outbox
from consumers.picture import Painter
from consumers.source import Broker, BrokerUnavailable, Sink, Source
from consumers.stalls import remember, stalls
from consumers.view import View
from losswatch.schema import Finding, Record

log: Final = logging.getLogger(__name__)
findings_log: Final = logging.getLogger("losswatch.findings")

VIEW_SHARE: Final = 20
"""A view is made at most after so many times what the last one took: never more than 5 % of the time."""
TELL_SECONDS: Final = 5.0
"""How long a batch with findings waits for their acknowledgement."""
LEVELS: Final = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}


@dataclass(frozen=True, slots=True)
class Policy:
    """How the loop paces itself; durations in seconds."""

    group: str = "losswatch"
    poll_timeout: float = 0.2
    poll_records: int = 2000
    checkpoint_every: float = 5.0
    view_every: float = 1.0
    retry_after: float = 2.0
    """Wait after the broker did not answer."""
    silent_after: float = 300.0
    """A running run that reported nothing for so long is shown as silent."""
    lost_after: float = 60.0
    """A running run that sends heartbeats, and sent none for so long, is shown as lost."""
    evict_after: float = 3600.0
    """A run that said nothing for so long is dropped."""
    keep_ended: float = 600.0
    """A run that ended is dropped after so long."""


class Worker:
    """Consumes until told to stop. ``view`` may be read from any thread."""

    def __init__(
        self,
        broker: Broker,
        fleet: Fleet,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._broker, self._fleet, self.policy = broker, fleet, policy or Policy()
        self.telemetry = fleet.telemetry
        self._clock, self._wall = clock, wall
        self._painter = Painter(fleet, self.policy.silent_after, self.policy.lost_after)
        self.view = View()
        self._viewed = self._checkpointed = clock()
        self._view_cost = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; a broker that is away is waited for, however long.

        On the way out the last batch is checkpointed and the group is left.
        """
        while not stop.is_set():
            try:
                with self.connected() as loop:
                    while not stop.is_set():
                        self.turn(loop)
                    self.checkpoint(loop)
            except BrokerUnavailable as error:
                self._wait(stop, error)

    @contextmanager
    def connected(self) -> Iterator[Loop]:
        """Join the group, and leave it at the end without a checkpoint. `run` does this for whoever needs no single
        steps."""
        self.telemetry.status = "connecting to the broker"
        source = self._broker.source(self.policy.group, INPUTS)
        sink = self._broker.sink()
        outbox = Outbox(self._broker, sink, self.telemetry)
        assignment = Assignment(self._broker, source, self._fleet, outbox)
        loop = Loop(source, sink, outbox, assignment, Checkpoint(source, sink, self._fleet, assignment, outbox))
        self.telemetry.status = "waiting for partitions"
        try:
            yield loop
        finally:
            self.telemetry.ready = False
            sink.close()
            source.close()
            self._forget_everything()

    def _forget_everything(self) -> None:
        """What is not in a snapshot is read again by whoever owns the partitions next."""
        for run in list(self._fleet.runs.values()):
            self._fleet.drop(run)

    def turn(self, loop: Loop) -> None:
        """One turn: what came in, what is due. Raises BrokerUnavailable, after which `connected` must be left."""
        started = self._clock()
        self.telemetry.heartbeat = started
        messages = loop.source.poll(self.policy.poll_timeout, self.policy.poll_records)
        moved = loop.assignment.follow(loop.source.changes())
        polled = self._clock()
        if loop.assignment.ready and not self.telemetry.ready:
            self.telemetry.ready, self.telemetry.status = True, "watching"
        usable = [m for m in messages if m.partition not in moved and loop.assignment.accept(m)]
        if usable:
            self.telemetry.observe("batch_records", len(usable))
            self.telemetry.observe("stage_seconds", polled - started, "poll")
            decoded, dead = decode_all(usable, self.telemetry, self._wall())
            decode_done = self._clock()
            findings, misplaced = self._fleet.take(decoded)
            loop.assignment.advance(usable)
            self._hear([item.record for item in decoded])
            detected = self._clock()
            loop.outbox.add([(self._fleet.runs[f.run].partition, f) for f in findings], dead + misplaced)
            self._tell(loop, findings)
            self.telemetry.observe("stage_seconds", decode_done - polled, "decode")
            self.telemetry.observe("stage_seconds", detected - decode_done, "detect")
            self.telemetry.observe("stage_seconds", self._clock() - detected, "tell")
        self.telemetry.lag = {(slot.topic, slot.partition): lag for slot, lag in loop.source.lag().items()}
        caught_up = self._caught_up(loop)
        for partition in caught_up:
            remember(self._fleet, loop.outbox.settle(partition))
        if self._clock() - self._viewed >= max(self.policy.view_every, VIEW_SHARE * self._view_cost):
            self._evict(loop, caught_up)
            self._note_stalls(loop, caught_up)
            self.look(caught_up)
        if self._clock() - self._checkpointed >= self.policy.checkpoint_every:
            self.checkpoint(loop)

    def _note_stalls(self, loop: Loop, caught_up: set[int]) -> None:
        findings = stalls(self._fleet, self._wall(), caught_up)
        loop.outbox.add([(self._fleet.runs[f.run].partition, f) for f in findings], [])
        self._tell(loop, findings)

    def _hear(self, records: Sequence[Record]) -> None:
        now = self._wall()
        for name in {record.run for record in records} & self._fleet.runs.keys():
            self._fleet.runs[name].heard = now
        for name in {record.run for record in records if record.type != "heartbeat"} & self._fleet.runs.keys():
            self._fleet.runs[name].told = now

    def _caught_up(self, loop: Loop) -> set[int]:
        """The partitions of which nothing is waiting to be read."""
        lag = self.telemetry.lag
        return {p for p in loop.assignment.owned if all(lag.get((topic, p)) == 0 for topic in INPUTS)}

    def look(self, caught_up: Set[int] | None = None) -> None:
        """Publish a new view. Records of partitions that are not caught up are waiting to be read."""
        started = self._clock()
        self.view = self._painter.paint(self._wall(), caught_up)
        self._viewed = self._clock()
        self._view_cost = self._viewed - started
        self.telemetry.observe("stage_seconds", self._view_cost, "view")

    def checkpoint(self, loop: Loop) -> None:
        """Write a checkpoint; one that fails is counted and tried again with the next."""
        started = self._clock()
        done = loop.checkpoint.write()
        self._checkpointed = self._clock()
        if done:
            self.telemetry.checkpointed = self._checkpointed
        self.telemetry.observe("stage_seconds", self._checkpointed - started, "checkpoint")

    def _evict(self, loop: Loop, caught_up: set[int]) -> None:
        """Drop runs that ended or fell silent. By this machine's clock, as a job's may be wrong; and not while
        records of the partition wait to be read, among which theirs may be."""
        now, policy = self._wall(), self.policy
        for run in [run for run in self._fleet.runs.values() if run.partition in caught_up]:
            quiet = now - run.heard
            ended = run.ended is not None and quiet > policy.keep_ended
            if ended or quiet > policy.evict_after:
                self.telemetry.count("runs_evicted", "ended" if ended else "idle")
                self._fleet.drop(run)
                loop.checkpoint.forget(run.partition, run.run)

    def _tell(self, loop: Loop, findings: list[Finding]) -> None:
        if findings and not loop.outbox.uncertain:
            try:
                # Before the next poll gives partitions away: their next owner must be able to read what was told.
                loop.outbox.flush(TELL_SECONDS)
            except BrokerUnavailable as error:
                self.telemetry.count("broker_errors")
                log.warning("findings could not be published, the next checkpoint tries again: %s", error)
        for finding in findings:
            level = LEVELS[finding.severity] if finding.state == "firing" else logging.INFO
            findings_log.log(level, "%s %s: run %r: %s", finding.state, finding.kind, finding.run, finding.message)

    def _wait(self, stop: threading.Event, error: BrokerUnavailable) -> None:
        self.telemetry.count("broker_errors")
        self.telemetry.status = f"waiting for the broker: {error}"
        log.warning("the broker does not answer, trying again every %g s: %s", self.policy.retry_after, error)
        until = self._clock() + self.policy.retry_after
        while not stop.is_set() and self._clock() < until:
            self.telemetry.heartbeat = self._clock()
            stop.wait(min(0.2, self.policy.retry_after))


@dataclass(frozen=True, slots=True)
class Loop:
    """What lives as long as one connection to the broker."""

    source: Source
    sink: Sink
    outbox: Outbox
    assignment: Assignment
    checkpoint: Checkpoint
