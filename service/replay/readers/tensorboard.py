"""TensorBoard event files, read by the tensorboard package."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from service.replay import jsonlines, notes
from service.replay.columns import Columns
from service.replay.head import Head
from service.replay.mapping import split_phase
from service.replay.notes import Notes, Unreadable
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

PHASES: Final = {"validation": "val/", "val": "val/", "eval": "val/", "test": "test/"}
"""Folders whose event files are of another phase than training."""


def events(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """The scalars of an event file: those of one step, written one after the other, are a row."""
    yield from jsonlines.chunks(_rows_of(path, None, said))


def of_files(files: Sequence[tuple[Path, str | None]]) -> Format:
    """The format of a folder with several files of one run: see `service.replay.event_folders.Folders`."""

    def read(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
        rows = (_rows_of(file, series, said) for file, series in files)
        yield from jsonlines.chunks(heapq.merge(*rows, key=itemgetter("wall_time")))

    return replace(FORMAT, read=read, title=f"{len(files)} TensorBoard event files of one run")


def first_tag(path: Path) -> str | None:
    """The name of the first scalar in an event file."""
    row: Mapping[str, Any] = next(_rows_of(path, None, Notes()), {})
    return next((name for name in row if name not in ("step", "wall_time")), None)


def _rows_of(path: Path, series: str | None, said: Notes) -> Iterator[dict[str, Any]]:
    """The rows of a file; of a file for one series of `add_scalars`, that name goes with its tag."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    except ModuleNotFoundError:
        raise Unreadable(
            path, None, "event files need the package tensorboard: pip install 'losswatch-service[replay]'"
        ) from None
    found = LegacyEventFileLoader(str(path)).Load()  # the one that does not make a tensor of every number
    before, behind = PHASES.get(path.parent.name, ""), ""
    if series is not None:
        before, behind = (f"{series}/", "") if split_phase(f"{series}/x")[0] else (before, f"/{series}")
    return _rows(found, before, behind, said)


def _rows(found: Iterator[Any], before: str, behind: str, said: Notes) -> Iterator[dict[str, Any]]:
    """The name of a column is a tag with what goes ``before`` and ``behind`` it."""
    row: dict[str, Any] = {}
    scalars: set[str] = set()
    while (event := _next(found, said)) is not None:
        for value in event.summary.value:
            if (number := _scalar(value, scalars)) is None:
                continue
            name = f"{before}{value.tag}{behind}"
            if row and (row["step"] != event.step or name in row):
                yield row
                row = {}
            if not row:
                row = {"step": event.step, "wall_time": event.wall_time}
            row[name] = number
    if row:
        yield row


def _next(found: Iterator[Any], said: Notes) -> Any:
    """The next event; None at the end, which for a damaged file is where the package gives up."""
    try:
        return next(found, None)
    except Exception:
        said.count(notes.HALF_LINE)
        return None


def _scalar(value: Any, scalars: set[str]) -> float | None:
    """The number of a summary value; ``scalars`` are the tags whose tensors are scalars, which only the first says."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if value.metadata.plugin_data.plugin_name == "scalars":
        scalars.add(value.tag)
    if kind != "tensor" or value.tag not in scalars:
        return None
    from tensorboard.util import tensor_util

    array = tensor_util.make_ndarray(value.tensor)
    return float(array.item()) if array.size == 1 else None


FORMAT: Final = Format(
    "tensorboard",
    "TensorBoard event file",
    detect=lambda head: b"brain.Event:" in head.data[:64],
    read=events,
    scheme=Scheme(steps=("step",)),
)
