"""Which records of a publishing process were seen: duplicates, missing ones, late steps, rival processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from consumers.courses import Course
from losswatch.schema import Predictions, Steps

WINDOW: Final = 256
"""How far behind the newest a sequence number may come and still be told from a duplicate."""
MAX_REASONS: Final = 64
"""Reasons for drops that are told apart."""
MAX_SESSIONS: Final = 8
"""Sessions remembered per run; the one not heard of for longest is forgotten first."""


@dataclass(slots=True)
class Seen:
    """The sequence numbers of one session in one topic: the newest, and a bit for each before it.

    >>> seen = Seen(5)
    >>> [seen.take(seq) for seq in (7, 6, 7, 5)]
    [True, True, False, False]
    """

    newest: int
    bits: int = 1

    def take(self, seq: int) -> bool:
        """Note a number; whether it is new. Numbers older than the window count as seen."""
        ahead = seq - self.newest
        if ahead > 0:
            self.bits = ((self.bits << min(ahead, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self.newest = seq
            return True
        if -ahead >= WINDOW or self.bits >> -ahead & 1:
            return False
        self.bits |= 1 << -ahead
        return True


@dataclass(slots=True)
class Session:
    """One publishing process of a run."""

    topics: dict[str, Seen] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    """How far its steps have come, by topic."""
    first: int = 0
    newest: int = -1
    received: int = 0
    """Records received; one that goes to both topics counts once."""
    ended: bool = False
    dropped: dict[str, int] = field(default_factory=dict)
    """What the hook says it dropped, by reason."""

    def take(self, topic: str, seq: int, both_topics: bool) -> bool:
        """Note a record; whether it is new."""
        seen = self.topics.get(topic)
        if seen is None:
            self.topics[topic] = Seen(seq)
        elif not seen.take(seq):
            return False
        if self.newest < 0:
            self.first = self.newest = seq
        self.first, self.newest = min(self.first, seq), max(self.newest, seq)
        twin = both_topics and any(seq <= other.newest for name, other in self.topics.items() if name != topic)
        self.received += not twin
        return True

    def in_order(self, topic: str, seq: int) -> bool:
        """Whether a record that was taken is the newest of its topic."""
        return topic in self.topics and seq >= self.topics[topic].newest

    def course(self, topic: str) -> Course:
        """How far its steps have come in a topic."""
        return self.courses.setdefault(topic, Course())

    def drop(self, dropped: Mapping[str, int]) -> dict[str, int]:
        """Note what the publisher says it had to drop so far; what is new of it."""
        new: dict[str, int] = {}
        for reason, count in dropped.items():
            known = reason in self.dropped or len(self.dropped) < MAX_REASONS
            if known and (more := count - self.dropped.get(reason, 0)) > 0:
                new[reason], self.dropped[reason] = more, count
        return new

    @property
    def missing(self) -> int:
        """Numbers between the first and the newest that have not come (yet)."""
        return max(0, self.newest - self.first + 1 - self.received) if self.received else 0

    def dump(self) -> dict[str, Any]:
        """As plain maps."""
        return {
            "topics": {
                name: [seen.newest, seen.bits.to_bytes(WINDOW // 8, "little")] for name, seen in self.topics.items()
            },
            "courses": {topic: course.dump() for topic, course in self.courses.items()},
            "numbers": [self.first, self.newest, self.received],
            "ended": self.ended,
            "dropped": self.dropped,
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Session:
        """From `dump`."""
        topics = {name: Seen(newest, int.from_bytes(bits, "little")) for name, (newest, bits) in data["topics"].items()}
        first, newest, received = data["numbers"]
        courses = {topic: Course.load(course) for topic, course in data["courses"].items()}
        return cls(topics, courses, first, newest, received, data["ended"], data["dropped"])


@dataclass(slots=True)
class Sessions:
    """All sessions of one run, the one heard of last at the end."""

    by_id: dict[str, Session] = field(default_factory=dict)

    def hear(self, session: str) -> tuple[Session, bool]:
        """The session's memory, and whether it conflicts: another one spoke since and neither ended."""
        newest = next(reversed(self.by_id), session)
        if newest == session in self.by_id:
            return self.by_id[session], False
        known = self.by_id.pop(session, None)
        rival = known is not None and newest != session and not (known.ended or self.by_id[newest].ended)
        current = known or Session()
        self.by_id[session] = current
        while len(self.by_id) > MAX_SESSIONS:
            del self.by_id[next(iter(self.by_id))]
        return current, rival

    def of(self, record: Steps | Predictions) -> Session | None:
        """The session of a record that was heard; None where it says none, or has no number."""
        return self.by_id.get(record.session) if record.session is not None and record.seq is not None else None

    @property
    def missing(self) -> int:
        """Records that were published and have not come (yet)."""
        return sum(session.missing for session in self.by_id.values())

    @property
    def dropped(self) -> dict[str, int]:
        """What the hooks say they dropped, by reason."""
        total: dict[str, int] = {}
        for session in self.by_id.values():
            for reason, count in session.dropped.items():
                total[reason] = total.get(reason, 0) + count
        return total
