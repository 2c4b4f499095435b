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


def files_of(given: Iterable[str]) -> dict[Path, bool]:
    """The files, each once, and whether it was asked for: files as they are, of patterns whatever fits; of folders
    whatever may be a log.

    Raises NoSuchFile.
    """
    found: dict[Path, bool] = {}
    for each in given:
        for path, named in _expanded(each):
            found[path] = found.get(path, False) or named
    return found


def _expanded(given: str) -> Iterator[tuple[Path, bool]]:
    path = Path(given)
    if path.exists() or not has_magic(given):
        matching = [path]
    else:
        matching = [Path(match) for match in sorted(glob(given, recursive=True))]
    if not matching:
        raise NoSuchFile(f"No file fits {given}.")
    for match in matching:
        yield from ((inside, False) for inside in _in_folder(match)) if match.is_dir() else [(match, True)]


def _in_folder(folder: Path) -> list[Path]:
    found = sorted(
        path for path in folder.rglob("*") if path.is_file() and (path.suffix.lower() in ENDINGS or EVENTS in path.name)
    )
    if not found:
        raise NoSuchFile(f"No log is in the folder {folder}.")
    return found
