"""TensorBoard event files, read by the tensorboard package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from service.replay import jsonlines, notes
from service.replay.columns import Columns
from service.replay.head import Head
from service.replay.notes import Notes, Unreadable
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

PHASES: Final = {"validation": "val/", "val": "val/", "eval": "val/", "test": "test/"}
"""Folders whose event files are of another phase than training."""


def events(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """The scalars of an event file: those of one step, written one after the other, are a row."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    except ModuleNotFoundError:
        raise Unreadable(
            path, None, "event files need the package tensorboard: pip install 'losswatch-service[replay]'"
        ) from None
    yield from jsonlines.chunks(_rows(EventFileLoader(str(path)).Load(), PHASES.get(path.parent.name, ""), said))


def _rows(found: Iterator[Any], prefix: str, said: Notes) -> Iterator[dict[str, Any]]:
    from tensorboard.util import tensor_util

    scalars: set[str] = set()
    row: dict[str, Any] = {}
    while True:
        try:
            event = next(found, None)
        except Exception:  # whatever a damaged file makes the package raise ends it
            said.count(notes.HALF_LINE)
            event = None
        if event is None:
            break
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                scalars.add(value.tag)
            if value.tag not in scalars or not value.HasField("tensor"):
                continue
            array = tensor_util.make_ndarray(value.tensor)
            name = f"{prefix}{value.tag}"
            if array.size != 1:
                continue
            if row and (row["step"] != event.step or name in row):
                yield row
                row = {}
            row["step"], row["wall_time"] = int(event.step), float(event.wall_time)
            row[name] = float(array.item())
    if row:
        yield row


FORMAT: Final = Format(
    "tensorboard",
    "TensorBoard event file",
    detect=lambda head: b"brain.Event:" in head.data[:64],
    read=events,
    scheme=Scheme(steps=("step",)),
)
