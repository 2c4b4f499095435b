"""From a log file to the records a job would have published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from losswatch.schema import Record

Direction = Literal["higher", "lower"]


class Unreadable(Exception):
    """A file that cannot be understood, with the first line at fault (None: the file as a whole)."""

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path, self.line, self.reason = path, line, reason


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about the columns; it wins over every rule."""

    format: str | None = None
    """A name of `service.replay.readers.FORMATS`; None: detected by content."""
    step: str | None = None
    """The column that holds the step."""
    total: str | None = None
    """The column that holds the total."""
    components: Mapping[str, str] = field(default_factory=dict)
    """Column by the name of the component."""
    metrics: Mapping[str, tuple[str, Direction | None]] = field(default_factory=dict)
    """Column and the better direction, by the name of the metric."""


class Log(Protocol):
    """A log file that can be read."""

    path: Path
    run: str
    """The id of its run, made from the path. Further runs in the file have `#2`, `#3` or a name after it."""
    format: str
    """The name of its format."""
    warnings: Mapping[str, int]
    """What was ordinary mess in the file, by reason: counted while `records` is read."""

    def records(self) -> Iterator[Record]:
        """The records of every run in it: a run_start, blocks of at most 64 steps a phase, a run_end.

        Every call reads the file anew. Raises Unreadable where the file turns out not to be readable further on.
        """
        ...

    def explain(self) -> str:
        """How every column is used and by which rule, and what is left out; complete once `records` is read."""
        ...


def open_log(path: Path, options: Options | None = None) -> Log:
    """The log in a file. Raises Unreadable, one sentence that names the first line at fault."""
    raise Unreadable(path, None, "no format is known yet")
