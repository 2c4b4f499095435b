"""Records as bytes of a file, each with a checksum, so that a torn or damaged one is told.

A frame is ``LWR1``, the lengths of its two parts and a CRC-32 of them (little-endian, 4 bytes each), then
the parts: what the record is as JSON, and its value.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from losswatch.buffer import Outgoing

MARK: Final = b"LWR1"
LENGTHS: Final = struct.Struct("<III")
MOST: Final = 16 * 1024 * 1024
"""No part is longer; a length above it is damage."""


def frame(record: Outgoing) -> bytes:
    """The record as it is appended to a file.

    >>> record = Outgoing("steps", "losswatch.steps", b"ttt-42", 7, b"...", [("ce_id", b"8f3c/7")], 64)
    >>> [each.seq for each in frames(b"torn" + frame(record) + frame(record)[:-1])]
    [7]
    """
    headers = [[name, value.decode("latin-1")] for name, value in record.headers]
    what = [record.kind, record.topic, record.key.decode("latin-1"), record.seq, record.calls, headers]
    head = json.dumps(what, separators=(",", ":")).encode()
    checksum = zlib.crc32(record.value, zlib.crc32(head))
    return MARK + LENGTHS.pack(len(head), len(record.value), checksum) + head + record.value


def frames(data: bytes, place: Path | None = None) -> Iterator[Outgoing]:
    """The records of a file, in order; what is torn or damaged is passed over."""
    at = data.find(MARK)
    while at >= 0:
        record, end = _read(data, at, place)
        if record is not None:
            yield record
        at = data.find(MARK, end)


def _read(data: bytes, at: int, place: Path | None) -> tuple[Outgoing | None, int]:
    """The record at a mark and where the next may begin; None where there is no whole one."""
    start = at + len(MARK) + LENGTHS.size
    if start > len(data):
        return None, len(data)
    head_length, value_length, checksum = LENGTHS.unpack_from(data, at + len(MARK))
    middle, end = start + head_length, start + head_length + value_length
    if max(head_length, value_length) > MOST or end > len(data):
        return None, at + 1
    head, value = data[start:middle], data[middle:end]
    if zlib.crc32(value, zlib.crc32(head)) != checksum:
        return None, at + 1
    kind, topic, key, seq, calls, headers = json.loads(head)
    pairs = [(name, text.encode("latin-1")) for name, text in headers]
    return Outgoing(kind, topic, key.encode("latin-1"), seq, value, pairs, calls, None, place), end
