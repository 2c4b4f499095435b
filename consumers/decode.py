"""From a broker's messages to records, and to dead letters for those that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consumers.source import Message
from consumers.telemetry import Telemetry
from consumers.validity import invalid
from losswatch.encoding import WireError, decode
from losswatch.headers import content_type
from losswatch.schema import Predictions, Record

MOST_AGE: Final = 1e9
"""Seconds: a job whose clock is broken must not spoil the sum of all ages."""
MOST_DEAD: Final = 900_000
"""Bytes of a dead letter's value: with its headers it must pass a broker whose limit is 1 MB."""

MOST_HEADERS: Final = 16_384
"""Bytes of a dead letter's key, and of its own headers."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A record and the message that brought it."""

    record: Record
    message: Message


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be used, and why: ``reason`` for machines, ``detail`` for people."""

    message: Message
    reason: str
    detail: str

    @property
    def value(self) -> bytes | None:
        """The original bytes; the first `MOST_DEAD` of them where they are more."""
        return self.message.value[:MOST_DEAD] if self.message.value is not None else None

    @property
    def key(self) -> bytes | None:
        """The original key; left out where nobody would make such a long one."""
        return self.message.key if len(self.message.key or b"") <= MOST_HEADERS else None

    def headers(self) -> list[tuple[str, bytes]]:
        """The reason and the origin, before the message's own headers where those are of a usual size."""
        message = self.message
        own = list(message.headers)
        usual = sum(len(name) + len(value or b"") for name, value in own) <= MOST_HEADERS
        origin = {
            "losswatch-reason": self.reason,
            "losswatch-detail": self.detail,
            "losswatch-topic": message.topic,
            "losswatch-partition": str(message.partition),
            "losswatch-offset": str(message.offset),
            "losswatch-bytes": str(len(message.value or b"")),
        }
        return [(name, value.encode("utf-8", "replace")) for name, value in origin.items()] + (own if usual else [])


Sifted = tuple[Sequence[Decoded], list[DeadLetter]]
"""What can be used, and what cannot."""


def decode_all(
    messages: Sequence[Message], telemetry: Telemetry, now: float
) -> tuple[Sequence[Decoded], list[DeadLetter]]:
    """Decode a poll's messages in order; nothing that a message holds raises. ``now`` is Unix seconds."""
    decoded: list[Decoded] = []
    dead: list[DeadLetter] = []
    for message in messages:
        try:
            record = decode(message.value, content_type(message.headers))
        except WireError as error:
            dead.append(DeadLetter(message, error.reason, error.detail))
        else:
            decoded.append(Decoded(record, message))
    usable, refused = sifted(decoded)
    for (topic, kind), count in Counter((each.message.topic, each.record.type) for each in usable).items():
        telemetry.count("records", topic, kind, by=count)
    for each in usable:
        telemetry.observe("event_age_seconds", min(max(0.0, now - each.record.time), MOST_AGE))
    return usable, dead + refused


def sifted(decoded: Sequence[Decoded]) -> Sifted:
    """Those that can be used, and those whose predictions are not what they say."""
    records = {place: each.record for place, each in enumerate(decoded) if isinstance(each.record, Predictions)}
    places = list(records)
    wrong = {places[i]: why for i, why in invalid(list(records.values())).items()}
    if not wrong:
        return decoded, []
    dead = [DeadLetter(decoded[place].message, "invalid_predictions", why) for place, why in wrong.items()]
    return [each for place, each in enumerate(decoded) if place not in wrong], dead
