"""The lines of a text file, whatever wrote it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

BLOCK: Final = 4096
"""Lines that are looked at together."""
_NOISE: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00\x08]")
"""ANSI sequences, NUL (a crash leaves them) and backspace (a progress bar)."""
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def encoding_of(start: bytes) -> str:
    """The encoding that a file's first bytes say.

    >>> encoding_of(b"\\xff\\xfes\\x00")
    'utf-16'
    """
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")


def clean(line: str) -> str:
    """A line without colours and control characters.

    >>> clean("\\x1b[32mloss\\x1b[0m")
    'loss'
    """
    return _NOISE.sub("", line) if "\x1b" in line or "\x00" in line or "\x08" in line else line


def blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Blocks of lines with the number of the first. Only the last line of a file can be without a line end.

    A carriage return, alone or before a line feed, ends a line too.
    """
    with path.open("rb") as raw:
        encoding = encoding_of(raw.read(4))
    number = 1
    with path.open(encoding=encoding, errors="replace") as file:
        while lines := list(islice(file, BLOCK)):
            yield number, [clean(line) for line in lines]
            number += len(lines)
