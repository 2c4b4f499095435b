"""Logs that are lists of records, in place of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from losswatch.encoding import encode
from losswatch.schema import Record
from service.replay.notes import Unreadable
from service.replay.sources import Log


@dataclass
class ListedLog:
    """A log whose records are given; ``broken`` is raised behind the last of them."""

    path: Path
    given: Sequence[Record]
    run: str = ""
    format: str = "listed"
    warnings: Mapping[str, int] = field(default_factory=dict)
    broken: Exception | None = None

    def __post_init__(self) -> None:
        self.run = self.run or next((record.run for record in self.given), self.path.stem)

    def records(self) -> Iterator[Record]:
        yield from self.given
        if self.broken is not None:
            raise self.broken

    def explain(self) -> str:
        return f"{self.path}: {len(self.given)} records"


def opener(*logs: ListedLog) -> Callable[[Path], Log]:
    """Opens these logs, and no other."""
    by_path = {log.path: log for log in logs}

    def open_log(path: Path) -> Log:
        if path not in by_path:
            raise Unreadable(path, 3, "no number in column 'loss'")
        return by_path[path]

    return open_log


def write_log(path: Path, records: Sequence[Record]) -> Path:
    """A file of records, one a line."""
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return path
