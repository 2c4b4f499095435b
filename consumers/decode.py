"""From a broker's messages to records, and to dead letters for those that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumers.source import Message
from consumers.telemetry import Telemetry
from losswatch.arrays import Floats
from losswatch.encoding import WireError, decode
from losswatch.headers import content_type
from losswatch.schema import Predictions, Record

SUM_TOLERANCE: Final = 0.01
"""How far from 1 a sample's probabilities may sum up: half precision over many classes drifts this far."""

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


def decode_all(messages: Sequence[Message], telemetry: Telemetry, now: float) -> tuple[list[Decoded], list[DeadLetter]]:
    """Decode a poll's messages in order; nothing that a message holds raises. ``now`` is Unix seconds."""
    decoded: list[Decoded] = []
    dead: list[DeadLetter] = []
    for message in messages:
        try:
            record = decode(message.value, content_type(message.headers))
            if isinstance(record, Predictions):
                check(record)
        except WireError as error:
            dead.append(DeadLetter(message, error.reason, error.detail))
        except InvalidPredictions as error:
            dead.append(DeadLetter(message, "invalid_predictions", str(error)))
        else:
            telemetry.count("records", message.topic, record.type)
            telemetry.observe("event_age_seconds", min(max(0.0, now - record.time), MOST_AGE))
            decoded.append(Decoded(record, message))
    return decoded, dead


def matrix_of(record: Predictions) -> Floats:
    """The (N, C) values of probabilities or logits; raises TypeError for other kinds."""
    if not isinstance(record.values, np.ndarray):
        raise TypeError(f"predictions of kind {record.kind!r} have no matrix")
    return record.values


class InvalidPredictions(ValueError):
    """Predictions that are no distribution."""


def check(record: Predictions) -> None:
    """Raise InvalidPredictions where values are not what their ``kind`` says.

    NaN is not refused: that a model predicts it is a finding.
    """
    if record.kind == "probabilities":
        p = matrix_of(record)
        if ((p < -SUM_TOLERANCE) | (p > 1 + SUM_TOLERANCE)).any():
            raise InvalidPredictions(
                "probabilities must lie between 0 and 1; for unnormalised scores send kind 'logits'"
            )
        error = np.abs(p.sum(1) - 1)
        if (error > SUM_TOLERANCE).any():
            worst = float(np.fmax.reduce(error))
            raise InvalidPredictions(
                f"probabilities of a sample sum to 1 only within {worst:.3g}; for scores send kind 'logits'"
            )
    if record.kind == "summary":
        mean = np.asarray(record.mean)
        beyond = bool(((mean < -SUM_TOLERANCE) | (mean > 1 + SUM_TOLERANCE)).any())
        if beyond or abs(float(mean.sum()) - 1) > SUM_TOLERANCE:
            raise InvalidPredictions("a summary's mean must be a distribution over the classes")
