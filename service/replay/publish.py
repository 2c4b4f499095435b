"""Logs published as if their jobs were running: at once, or at their own pace and faster."""

from __future__ import annotations

import heapq
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from consumers.sessions import Seen
from losswatch.arrays import Floats, Ints
from losswatch.blocks import GROUPS
from losswatch.encoding import MSGPACK, encode
from losswatch.headers import cloud_event
from losswatch.schema import Record, Steps
from losswatch.spool import arrived
from losswatch.topics import PREDICTIONS, STEPS, TOPICS
from losswatch.transport import Delivery, Refused, Transport

IN_FLIGHT: Final = 64
"""Records that may be on their way at a time."""


class Due(NamedTuple):
    """A record, and when it is to be published: seconds after the beginning, or at once and as it is."""

    after: float | None
    record: Record


@dataclass(slots=True)
class Published:
    """What was published so far."""

    records: int = 0
    refused: int = 0
    steps: int = 0
    runs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Pace:
    """When each record of one log is due at ``speed`` times its own pace: that of the times in it, or else a row
    a second. Blocks are cut so that no record holds more than a second.

    A second publication must not look like the first one: sessions get another name, ``token``, and their
    records are numbered anew.
    """

    speed: float
    token: str
    _after: float = 0.0
    _origin: float | None = None
    """The first time in the log."""
    _numbered: dict[str, tuple[Seen, int]] = field(default_factory=dict)
    """By session: the numbers seen, and the next one given."""

    def of(self, records: Iterable[Record]) -> Iterator[Due]:
        """The records with their times; those that repeat an earlier one are left out."""
        for record in records:
            if self._is_new(record):
                for after, piece in self._pieces(record):
                    self._after = max(self._after, after)
                    yield Due(self._after, self._numbered_anew(piece))

    def _is_new(self, record: Record) -> bool:
        if record.session is None or record.seq is None:
            return True
        if record.session not in self._numbered:
            self._numbered[record.session] = Seen(record.seq), 0
            return True
        return self._numbered[record.session][0].take(record.seq)

    def _numbered_anew(self, record: Record) -> Record:
        if record.session is None or record.seq is None:
            return record
        seen, number = self._numbered[record.session]
        self._numbered[record.session] = seen, number + 1
        return record.model_copy(update={"session": _fresh(record.session, self.token), "seq": number})

    def _pieces(self, record: Record) -> Iterator[tuple[float, Record]]:
        if not isinstance(record, Steps):
            yield self._after, record
            return
        after = self._times(record)
        second = np.floor(after)
        for piece in np.split(np.arange(len(after)), np.flatnonzero(np.diff(second) > 0) + 1):
            yield float(after[piece[-1]]), _cut(record, piece, after)

    def _times(self, record: Steps) -> Floats:
        """When each step is due (T)."""
        count = len(record.step)
        if record.at is None or not np.isfinite(record.at).all():
            return self._after + np.arange(1, count + 1) / self.speed
        if self._origin is None:
            self._origin = float(record.at[0])
        later: Floats = np.maximum.accumulate(np.maximum((record.at - self._origin) / self.speed, self._after))
        return later


def paced(logs: Iterable[Iterable[Record]], speed: float) -> Iterator[Due]:
    """The records of all logs, side by side and in the order in which they are due."""
    token = secrets.token_hex(4)
    return heapq.merge(*(Pace(speed, token).of(log) for log in logs), key=lambda due: due.after or 0.0)


def at_once(logs: Iterable[Iterable[Record]]) -> Iterator[Due]:
    """The records as they are, one log after the other; only their sessions have other names."""
    token = secrets.token_hex(4)
    for log in logs:
        for record in log:
            given = {"session": _fresh(record.session, token)} if record.session is not None else {}
            yield Due(None, record.model_copy(update=given) if given else record)


def publish(
    records: Iterable[Due], transport: Transport, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Iterator[Published]:
    """Publish every record when it is due; what was done so far, after each.

    ``clock`` gives Unix seconds. Raises losswatch.transport.Unavailable.
    """
    done = Published()
    began = clock()
    window: deque[Delivery] = deque()
    transport.prepare()
    try:
        transport.connect([STEPS, PREDICTIONS])
        for due in records:
            record = due.record
            if due.after is not None:
                sleep(max(0.0, began + due.after - clock()))
                record = _dated(record, began, due.after)
            window += _handed_over(record, transport, done)
            while len(window) > IN_FLIGHT or (window and window[0].wait(0.0)):
                done.refused += not arrived(window.popleft())
            yield done
        done.refused += sum(not arrived(delivery) for delivery in window)
        yield done
    finally:
        transport.close()
        transport.dismiss()


def _handed_over(record: Record, transport: Transport, done: Published) -> Iterator[Delivery]:
    """The deliveries of a record, one for each topic that it goes to."""
    value, headers = encode(record, MSGPACK), cloud_event(record, MSGPACK)
    done.runs.add(record.run)
    done.steps += len(record.step) if isinstance(record, Steps) else 0
    for topic in TOPICS:
        if record.type in topic.types:
            done.records += 1
            try:
                yield transport.send(topic.name, record.run.encode(), value, headers)
            except Refused:
                done.refused += 1


def _dated(record: Record, began: float, after: float) -> Record:
    """The record as if it were made now."""
    now: dict[str, Any] = {"time": began + after}
    if isinstance(record, Steps) and record.at is not None:
        now["at"] = began + record.at
    return record.model_copy(update=now)


def _cut(record: Steps, piece: Ints, after: Floats) -> Steps:
    """Some steps of a record; ``at`` is when they are due."""
    cut: dict[str, Any] = {"step": record.step[piece]}
    if record.total is not None:
        cut["total"] = record.total[piece]
    if record.at is not None:
        cut["at"] = after[piece]
    if record.checkpoint is not None:
        cut["checkpoint"] = [record.checkpoint[place] for place in piece]
    for group in GROUPS:
        if values := getattr(record, group):
            cut[group] = {name: column[piece] for name, column in values.items()}
    if record.slices:
        cut["slices"] = {
            part: {name: column[piece] for name, column in named.items()} for part, named in record.slices.items()
        }
    return record.model_copy(update=cut)


def _fresh(session: str, token: str) -> str:
    """The name of a session in this publication."""
    return f"{session[:40]}-{token}"
