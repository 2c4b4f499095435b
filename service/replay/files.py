"""Which files are meant: files, folders and patterns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Final

ENDINGS: Final = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".log"})
"""What a file in a folder must end in, unless it is a TensorBoard event file."""
EVENTS: Final = "tfevents"


class NoSuchFile(Exception):
    """What was given names no file; the message says so."""


def files_of(given: Iterable[str]) -> list[Path]:
    """The files, each once: files as they are, of folders whatever may be a log, of patterns whatever fits.

    Raises NoSuchFile.
    """
    found: dict[Path, None] = {}
    for each in given:
        for path in _expanded(each):
            found.setdefault(path)
    return list(found)


def _expanded(given: str) -> Iterator[Path]:
    path = Path(given)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists() or not has_magic(given):
        yield path
    else:
        matching = sorted(glob(given, recursive=True))
        if not matching:
            raise NoSuchFile(f"No file fits {given}.")
        for match in map(Path, matching):
            yield from _in_folder(match) if match.is_dir() else [match]


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and (path.suffix.lower() in ENDINGS or EVENTS in path.name)
    )
    if not found:
        raise NoSuchFile(f"No log is in the folder {folder}.")
    return found
