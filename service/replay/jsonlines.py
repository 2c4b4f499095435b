"""Logs of JSON objects: one a line, or in one array."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from service.replay import columns, notes, text
from service.replay.columns import Columns
from service.replay.head import Head, json_row
from service.replay.notes import Notes, Unreadable

Row = Mapping[str, Any]
Prepare = Callable[[dict[str, Any]], Row | None]
"""Makes a row ready for its columns; None leaves it out."""
READ: Final = 1 << 20
"""Characters of a document that are read at once."""
CUT_OFF: Final = 12
"""Characters before its end at which an element that is only cut off may fail to be read: a word or an escape."""
LONGEST: Final = 64 << 20
"""Most characters of one element."""


def as_it_is(row: dict[str, Any]) -> Row:
    """No preparation."""
    return row


def reader(prepare: Prepare = as_it_is) -> Callable[[Path, Head, Notes], Iterator[Columns]]:
    """A reader of logs with an object a line."""

    def read(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
        return chunks(_lines(path, said), prepare)

    return read


def array_reader(
    start: re.Pattern[str], prepare: Prepare = as_it_is
) -> Callable[[Path, Head, Notes], Iterator[Columns]]:
    """A reader of the objects of an array in a JSON document; the array begins where the pattern ends."""

    def read(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
        return chunks(elements(path, start, said), prepare)

    return read


def chunks(rows: Iterable[dict[str, Any]], prepare: Prepare = as_it_is) -> Iterator[Columns]:
    """Rows as columns, some thousands at a time."""
    wanted = filter(None, map(prepare, rows))
    while True:
        some: list[Row] = []
        try:
            some.extend(islice(wanted, text.BLOCK))
        except Unreadable:
            if some:
                yield columns.of_rows(some)
            raise
        if not some:
            return
        yield columns.of_rows(some)


def _lines(path: Path, said: Notes) -> Iterator[dict[str, Any]]:
    loads = json.loads
    for first, lines in text.blocks(path):
        for at, line in enumerate(lines, first):
            try:
                row = loads(line)
            except (ValueError, RecursionError):
                row = json_row(line)
            if type(row) is dict:
                yield row
            elif line.strip():
                if line.endswith("\n"):
                    said.odd_line(at)
                else:
                    said.odd_line(at, notes.HALF_LINE)


def elements(path: Path, start: re.Pattern[str], said: Notes) -> Iterator[dict[str, Any]]:
    """The objects of an array, without holding all of them. An end in the middle of one is a half-written line."""
    decoder = json.JSONDecoder()
    with path.open("rb") as raw:
        encoding = text.encoding_of(raw.read(4))
    with path.open(encoding=encoding, errors="replace") as file:
        buffer, line = "", 1
        while (found := start.search(buffer)) is None:
            more = file.read(READ)
            if not more or len(buffer) > LONGEST:
                raise Unreadable(path, None, "the list of its rows was not found")
            buffer += more
        at, size = found.end(), READ
        line += buffer.count("\n", 0, at)
        while True:
            try:
                begin = _SPACE.match(buffer, at).end()  # type: ignore[union-attr]  # the pattern matches nothing too
                if buffer.startswith("]", begin):
                    return
                value, end = decoder.raw_decode(buffer, begin)
                if end == len(buffer):
                    raise ValueError("it may go on")
            except (ValueError, RecursionError) as error:
                more = file.read(size)
                if not more or len(buffer) - at > LONGEST:
                    _refuse_damaged(path, buffer, line, at, error)
                    said.odd_line(line, notes.HALF_LINE)
                    return
                buffer, at, size = buffer[at:] + more, 0, 2 * size
                continue
            line += buffer.count("\n", at, end)
            at, size = end, READ
            if isinstance(value, dict):
                yield value
            else:
                said.odd_line(line)


def _refuse_damaged(path: Path, buffer: str, line: int, at: int, error: Exception) -> None:
    """Raise Unreadable where the element after ``at`` is no JSON, and not only cut off; ``line`` is that of ``at``."""
    if not isinstance(error, json.JSONDecodeError) or error.msg.startswith("Unterminated"):
        return
    if error.pos < len(buffer.rstrip()) - CUT_OFF:
        wrong = line + buffer.count("\n", at, error.pos)
        raise Unreadable(path, wrong, f"what follows is no JSON: {error.msg[0].lower()}{error.msg[1:]}")


_SPACE: Final = re.compile(r"[\s,]*")
