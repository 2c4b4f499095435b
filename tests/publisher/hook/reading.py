"""What the hook's tests share: reading back what was published, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from kafka import KafkaConsumer

from losswatch import topics
from losswatch.encoding import decode
from losswatch.headers import content_type
from losswatch.schema import Record, Steps
from losswatch.transport import Sent


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until the condition holds; fails the test if it does not within the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def records_of(sent: Sequence[Sent], topic: str | None = None) -> list[Record]:
    """The records, decoded, of one topic or of both."""
    return [decode(one.value, content_type(one.headers)) for one in sent if topic in (None, one.topic)]


def ended(records: Sequence[Record]) -> bool:
    """Whether there is a ``run_end``."""
    return any(record.type == "run_end" for record in records)


def read_topic(
    address: str,
    topic: str,
    run: str,
    *,
    complete: Callable[[Sequence[Record]], bool] = ended,
    seconds: float = 20.0,
) -> list[Record]:
    """The run's records in a broker's topic, in order, as soon as they are ``complete``."""
    records: list[Record] = []
    consumer = KafkaConsumer(topic, bootstrap_servers=address, auto_offset_reset="earliest", group_id=None)
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=200).values():
                mine = [message for message in messages if message.key == run.encode()]
                records += [decode(message.value, content_type(message.headers)) for message in mine]
            if complete(records):
                return records
    finally:
        consumer.close()
    raise AssertionError(f"{run} is not complete in {topic} after {seconds} s, only {[r.type for r in records]}")


def once_each(records: Sequence[Record]) -> list[Record]:
    """The records without repeats, as a consumer takes them: a seq not above the last one is skipped."""
    kept: list[Record] = []
    for record in records:
        assert record.seq is not None
        if not kept or record.seq > (kept[-1].seq or 0):
            kept.append(record)
    return kept


def steps_of(records: Sequence[Record]) -> list[int]:
    """The step numbers of all steps records, one after another."""
    return [int(step) for record in records if isinstance(record, Steps) for step in record.step]


def is_gapless(records: Sequence[Record], first: int = 0) -> bool:
    """Whether the seqs go up from ``first`` one by one."""
    seqs = [record.seq or 0 for record in records]
    return seqs[0] == first and all(b == a + 1 for a, b in pairwise(seqs))


STEPS, PREDICTIONS = topics.STEPS, topics.PREDICTIONS
