"""Record headers: the CloudEvents Kafka binding in binary mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Final
from urllib.parse import quote

from losswatch.encoding import JSON
from losswatch.schema import Finding, Record

CONTENT_TYPE: Final = "content-type"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def cloud_event(record: Record, content_type: str = JSON) -> list[tuple[str, bytes]]:
    """The headers a record is published with.

    ``ce_id`` is ``session/seq``, a finding's own id and state, or random where there is neither; ``ce_time``
    is left out where the record's time is none that a calendar has.

    >>> from losswatch.schema import RunEnd
    >>> for name, value in cloud_event(RunEnd(run="a b", session="8f3c", seq=5, time=1764000000.5)):
    ...     print(name, value.decode())
    ce_specversion 1.0
    ce_type io.losswatch.run_end.v1
    ce_source /losswatch/a%20b
    ce_id 8f3c/5
    ce_time 2025-11-24T16:00:00.500000Z
    content-type application/json
    """
    fields = {
        "ce_specversion": "1.0",
        "ce_type": f"io.losswatch.{record.type}.v{record.v}",
        "ce_source": f"/losswatch/{quote(record.run, safe='')}",
        "ce_id": _id(record),
        "ce_time": _rfc3339(record.time),
        CONTENT_TYPE: content_type,
    }
    return [(name, value.encode()) for name, value in fields.items() if value is not None]


def content_type(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """The content type that a record's headers name; JSON where they name none.

    >>> content_type([("Content-Type", b"application/vnd.losswatch+msgpack")])
    'application/vnd.losswatch+msgpack'
    >>> content_type([])
    'application/json'
    """
    for name, value in headers:
        if value and name.lower() == CONTENT_TYPE:
            return value.decode("ascii", "replace")
    return JSON


def _id(record: Record) -> str:
    """What duplicates of the record are known by."""
    if isinstance(record, Finding):
        return f"{record.id}/{record.state}"
    return str(uuid.uuid4()) if record.session is None or record.seq is None else f"{record.session}/{record.seq}"


def _rfc3339(seconds: float) -> str | None:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
