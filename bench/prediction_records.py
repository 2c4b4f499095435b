"""Prediction records as a hook publishes them, for `bench.predictions`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, Final, Literal, NamedTuple

import msgpack
import numpy as np

from consumers.source import Headers
from losswatch.encoding import MSGPACK, encode
from losswatch.headers import cloud_event
from losswatch.prediction_fields import half, summary_fields
from losswatch.samples import MAX_SHIPPED
from losswatch.schema import Predictions

PAYLOADS: Final = 4
"""Different batches; the records of all runs take turns with them."""
Sent = Literal["probabilities", "summary"]


class Sendable(NamedTuple):
    """A record as a producer takes it."""

    run: str
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Case:
    """N samples of C classes in each record of so many runs, sent in half precision with labels, or as summaries."""

    samples: int
    classes: int
    runs: int
    sent: Sent

    @property
    def by_hook(self) -> bool:
        """Whether the hook sends such a batch like that; other publishers may send what they like."""
        return (self.sent == "summary") == (self.samples * self.classes > MAX_SHIPPED)

    def records(self, count: int) -> Iterator[Sendable]:
        """The first records of all runs in turn."""
        batches = _batches(self.samples, self.classes, self.sent)
        for i, (batch, fields) in enumerate(islice(cycle(batches), count)):
            run, seq = f"run-{i % self.runs}", i // self.runs
            value = msgpack.packb(fields | {"run": run, "seq": seq, "step": seq})
            yield Sendable(run, value, cloud_event(batch.model_copy(update={"run": run, "seq": seq}), MSGPACK))


@lru_cache(maxsize=1)
def _batches(samples: int, classes: int, sent: Sent) -> list[tuple[Predictions, dict[str, Any]]]:
    """Some batches of a model that is right in most cases, and what goes over the wire of them."""
    made = []
    for number in range(PAYLOADS):
        random = np.random.default_rng(number)
        labels = random.integers(0, classes, samples)
        logits = random.standard_normal((samples, classes), dtype=np.float32)
        logits[np.arange(samples), labels] += 3 + np.log(classes / 10)
        p = np.exp(logits)
        p /= p.sum(1, keepdims=True)
        told: dict[str, Any] = {"step": 0, "phase": "val", "kind": "probabilities", "values": p}
        told = summary_fields(told) if sent == "summary" else told | {"values": half(p), "labels": labels.tolist()}
        batch = Predictions(run="run", session="bench", seq=0, time=0.0, **told)
        made.append((batch, msgpack.unpackb(encode(batch, MSGPACK))))
    return made
