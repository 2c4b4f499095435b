"""Tables and JSON objects of no framework in particular."""

from __future__ import annotations

import re
from typing import Final

from service.replay.delimited import header_of, read
from service.replay.jsonlines import array_reader, reader
from service.replay.readers.format import Format

JSONL: Final = Format(
    "jsonl", "JSON, an object a line", detect=lambda head: bool(head.rows), read=reader(), anything=True
)
ARRAY: Final = Format(
    "json",
    "JSON, an array of objects",
    detect=lambda head: head.text.startswith("[") and "{" in head.text,
    read=array_reader(re.compile(r"\[")),
    anything=True,
)
CSV: Final = Format("csv", "CSV", detect=lambda head: header_of(head) is not None, read=read, anything=True)
