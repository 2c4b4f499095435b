"""Records that come from elsewhere than a broker, such as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from consumers.decode import DeadLetter, Decoded, sifted
from consumers.fleet import Fleet
from consumers.memory import Record as StoredRecord
from losswatch.schema import Finding, Record
from losswatch.topics import TOPICS

PARTITION = 0


class Feed:
    """Gives a fleet records as if one partition had brought them: checked, numbered and deduplicated alike.

    >>> from consumers.telemetry import Telemetry
    >>> from losswatch.schema import Steps
    >>> feed = Feed(Fleet(Telemetry()))
    >>> findings, dead = feed.take([Steps(run="ttt-42", time=0.0, step=[7], total=[float("nan")])])
    >>> [(finding.kind, finding.state) for finding in findings], dead
    ([('non_finite', 'firing')], [])
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._topics = {kind: topic.name for topic in reversed(TOPICS) for kind in topic.types}
        self._offsets: Counter[str] = Counter()

    def take(self, records: Iterable[Record]) -> tuple[list[Finding], list[DeadLetter]]:
        """Use records in their order; what they changed, and what could not be used."""
        decoded, dead = sifted([Decoded(record, self._message(record)) for record in records])
        findings, unusable = self.fleet.take(decoded)
        return findings, dead + unusable

    def _message(self, record: Record) -> StoredRecord:
        topic = self._topics[record.type]
        self._offsets[topic] += 1
        return StoredRecord(topic, PARTITION, self._offsets[topic] - 1, 0, record.run.encode(), None, ())
