"""Records of the wire, one a line: what `losswatch` itself publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from losswatch.encoding import WireError, decode
from losswatch.schema import RECORDS, Finding, Record
from service.replay import notes, text
from service.replay.head import Head
from service.replay.notes import Notes, Unreadable

NAME: Final = "losswatch"
TITLE: Final = "losswatch records, one a line"
FINDING: Final = "findings, which are no reports of a job"


def detect(head: Head) -> bool:
    """Whether the first objects are records."""
    types = {model.model_fields["type"].default for model in RECORDS}
    return any(row.get("type") in types and "run" in row and "v" in row for row in head.rows[:3])


def records(path: Path, said: Notes) -> Iterator[Record]:
    """The records as they stand. Raises Unreadable where there is none."""
    found, reason = False, "it holds no record"
    for first, lines in text.blocks(path):
        for at, line in enumerate(lines, first):
            if not line.strip():
                continue
            try:
                record = decode(line.encode(errors="replace"), accept=RECORDS)
            except WireError as error:
                said.odd_line(at, notes.NO_ROW if line.endswith("\n") else notes.HALF_LINE)
                reason = error.detail if said.first_odd == at else reason
                continue
            if isinstance(record, Finding):
                said.count(FINDING)
                continue
            found = True
            yield record
    if not found:
        raise Unreadable(path, said.first_odd, reason)
