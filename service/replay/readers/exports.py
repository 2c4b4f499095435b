"""Tables that people download: charts of Weights & Biases, scalars of TensorBoard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from losswatch.arrays import reported
from service.replay.columns import Columns
from service.replay.delimited import names_of, read
from service.replay.head import Head
from service.replay.notes import Notes
from service.replay.readers.format import Format
from service.replay.scheme import Scheme

_BOUND: Final = re.compile(r".+ - .+__(?:MIN|MAX)")
_SERIES: Final = re.compile(r"(.+) - (.+)")
_TAG: Final = re.compile(r"run[-_](?P<run>.*?)[-_]tag-(?P<tag>.+)")
DOWNLOADED: Final = ("Wall time", "Step", "Value")


def chart(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """A chart of Weights & Biases: ``RUN - METRIC`` for each run, beside its bounds."""
    for columns in read(path, head, said):
        runs: dict[str, dict[str, str]] = {}
        for name in columns.values:
            if (found := _SERIES.fullmatch(name)) is not None and not _BOUND.fullmatch(name):
                runs.setdefault(found[1], {})[name] = found[2]
        shared = {name: values for name, values in columns.values.items() if " - " not in name}
        for run, names in runs.items():
            series = {short: columns.values[name] for name, short in names.items()}
            if any(reported(values).any() for values in series.values()):
                yield Columns(columns.rows, shared | series, part=run if len(runs) > 1 else "")


def download(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """One series of TensorBoard, which is named by the file."""
    found = _TAG.fullmatch(path.stem)
    tag = found["tag"] if found else path.stem
    held_out = found is not None and re.search(r"val|eval|test", found["run"], re.IGNORECASE)
    name = f"val/{tag}" if held_out else tag
    for columns in read(path, head, said):
        renamed = {name if column == "Value" else column: values for column, values in columns.values.items()}
        yield Columns(columns.rows, renamed, columns.texts)


WANDB: Final = Format(
    "wandb",
    "Weights & Biases chart as CSV",
    detect=lambda head: any(map(_BOUND.fullmatch, names_of(head))),
    read=chart,
    scheme=Scheme(steps=("Step", "_step", "trainer/global_step")),
)
TENSORBOARD: Final = Format(
    "tensorboard-csv",
    "TensorBoard scalars as CSV",
    detect=lambda head: names_of(head) == DOWNLOADED,
    read=download,
    scheme=Scheme(steps=("Step",)),
)
