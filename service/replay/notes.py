"""What a log file holds beside clean rows, counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

HALF_LINE: Final = "half-written last line"
NO_ROW: Final = "lines that are no rows"
HEADER_AGAIN: Final = "repeated header lines"
DUPLICATE: Final = "rows that repeat an earlier one"
STEP_AGAIN: Final = "rows with other values for a step that was there already"
SECOND_WRITER: Final = "rows of a second writer"
NO_STEP: Final = "rows without a usable step"
WENT_BACK: Final = "times the step went back to an earlier one"
NEW_RUN: Final = "further runs in the file"


class Unreadable(Exception):
    """A file that cannot be understood, with the first line at fault (None: the file as a whole).

    >>> str(Unreadable(Path("a.csv"), 3, "it has no header"))
    'a.csv:3: it has no header'
    """

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}")
        self.path, self.line, self.reason = path, line, reason


class NoLog(Unreadable):
    """A file that is none of the formats: it may well be no log at all."""


class Notes:
    """The counts of one reading, and the first line that was no row."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first_odd: int | None = None
        """The number of the first line that could not be used."""

    def count(self, reason: str, by: int = 1) -> None:
        """Count something ordinary."""
        if by:
            self.counts[reason] += by

    def odd_line(self, line: int, reason: str = NO_ROW) -> None:
        """Count a line that could not be used."""
        self.count(reason)
        if self.first_odd is None:
            self.first_odd = line

    def clear(self) -> None:
        """Begin anew."""
        self.counts.clear()
        self.first_odd = None
