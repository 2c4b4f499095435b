"""``results.csv`` and ``results.txt`` of Ultralytics and YOLOv5 to v8: parts per epoch, weighted, without their sum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.replay import notes, text
from service.replay.columns import Columns
from service.replay.delimited import names_of, read
from service.replay.head import Head
from service.replay.notes import Notes
from service.replay.numbers import number, of_texts
from service.replay.readers.format import Format
from service.replay.rules import rule
from service.replay.scheme import Scheme

_PART: Final = re.compile(r"(?:train|val)/\w*loss")
_ROW: Final = re.compile(r"\s*(\d+)/\d+\s+[\d.]+G?\s+(.*\S)\s*")
_TRAINED: Final = ("train/box_loss", "train/obj_loss", "train/cls_loss")
_REST: Final = (
    *("train/loss", "labels", "img_size"),
    *("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"),
    *("val/box_loss", "val/obj_loss", "val/cls_loss"),
)
PRINTED: Final = {13: (*_TRAINED, *_REST), 14: (*_TRAINED, "train/landmark_loss", *_REST)}
"""The columns of results.txt after the epoch and the memory, by their number."""
RULES: Final = (
    rule(r"metrics/(.*)", "metric", "measured on the validation data", r"\1", "val"),
    rule(r"(?:lr|x)/\w+", "metric", "the learning rate of a group of parameters"),
)


def printed(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """The rows of results.txt, which has no header."""
    for first, lines in text.blocks(path):
        rows: dict[tuple[str, ...], list[list[str]]] = {}
        for at, line in enumerate(lines, first):
            found = _ROW.fullmatch(line)
            cells = found[2].split() if found else []
            names = PRINTED.get(len(cells))
            if found and names and all(number(cell) is not None for cell in cells):
                rows.setdefault(names, []).append([found[1], *cells])
            elif line.strip():
                said.odd_line(at, notes.NO_ROW if line.endswith("\n") else notes.HALF_LINE)
        for names, cells_of_rows in rows.items():
            columns = zip(("epoch", *names), map(of_texts, zip(*cells_of_rows, strict=True)), strict=True)
            yield Columns(len(cells_of_rows), {name: values for name, values in columns if values is not None})


def _is_table(names: tuple[str, ...]) -> bool:
    known = any(name.startswith(("metrics/", "lr/", "x/")) for name in names)
    return known and any(map(_PART.fullmatch, names)) and "epoch" in names and "step" not in names


CSV: Final = Format(
    "ultralytics",
    "Ultralytics results.csv",
    detect=lambda head: _is_table(names_of(head)),
    read=read,
    scheme=Scheme(steps=("epoch",), rules=RULES, sums=True, adds=True),
)
TXT: Final = Format(
    "yolo-txt",
    "YOLOv5/v7 results.txt",
    detect=lambda head: any(
        (found := _ROW.fullmatch(line)) is not None and len(found[2].split()) in PRINTED for line in head.lines[:3]
    ),
    read=printed,
    scheme=Scheme(steps=("epoch",), rules=RULES, sums=True, adds=True),
)
