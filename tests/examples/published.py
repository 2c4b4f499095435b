"""What a job publishes, without a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import losswatch
from losswatch.encoding import decode
from losswatch.schema import Predictions, Steps
from losswatch.transport import MemoryTransport


def published(
    job: Callable[[losswatch.Run], Iterator[dict[str, float]]], declaration: Mapping[str, Any]
) -> tuple[list[dict[str, float]], list[Steps | Predictions]]:
    """The steps of a job as it gives them out, and the records of its steps and predictions."""
    transport = MemoryTransport()
    with losswatch.start("job", transport=transport, advice="off", **declaration) as run:
        course = list(job(run))
    records = [decode(sent.value, dict(sent.headers)["content-type"].decode()) for sent in transport.records]
    return course, [record for record in records if isinstance(record, Steps | Predictions)]
