"""The beginning of a file, as formats look at it to tell whether it is theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from service.replay.notes import Unreadable
from service.replay.text import clean, encoding_of

SIZE: Final = 1 << 20
"""Bytes looked at; the first line of an MMCV log holds a whole configuration."""
ROWS: Final = 400
"""Lines looked at."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Head:
    """The first bytes of a file."""

    path: Path
    data: bytes
    whole: bool
    """Whether that is all of it."""

    @classmethod
    def of(cls, path: Path) -> Head:
        """Read it. Raises Unreadable where there is nothing to read."""
        try:
            with path.open("rb") as file:
                data = file.read(SIZE + 1)
        except OSError as error:
            raise Unreadable(path, None, f"it cannot be opened: {error.strerror or error}") from None
        if not data.strip(b"\0 \t\r\n"):
            raise Unreadable(path, None, "it is empty" if not data else "it holds nothing but blanks")
        return cls(path, data[:SIZE], len(data) <= SIZE)

    @cached_property
    def lines(self) -> list[str]:
        """The first lines, without their ends."""
        lines = self.data.decode(encoding_of(self.data), errors="replace").splitlines()
        return [clean(line) for line in (lines if self.whole or len(lines) == 1 else lines[:-1])[:ROWS]]

    @cached_property
    def text(self) -> str:
        """The lines in one."""
        return "\n".join(self.lines).lstrip()

    @cached_property
    def rows(self) -> list[Row]:
        """The JSON objects among the first lines, one a line."""
        found: list[Row] = []
        for line in self.lines:
            if (row := json_row(line)) is not None:
                found.append(row)
        return found

    @cached_property
    def keys(self) -> frozenset[str]:
        """The names in `rows`."""
        return frozenset(name for row in self.rows for name in row)

    @property
    def is_document(self) -> bool:
        """Whether it looks like one JSON value over many lines, or in one."""
        if not self.text.startswith(("{", "[")):
            return False
        lines = [line for line in self.lines if line.strip()]
        return len(lines) == 1 or json_row(lines[0]) is None


def json_row(line: str) -> dict[str, Any] | None:
    """The JSON object on a line, also after something else as a progress bar; None where there is none.

    >>> json_row('10%|#  | {"loss": NaN}')
    {'loss': nan}
    """
    line = line.strip()
    start = line.find("{")
    if start < 0 or not line.endswith("}"):
        return None
    try:
        row = json.loads(line if start == 0 else line[start:])
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
