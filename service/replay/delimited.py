"""Text tables: a header line, then rows of cells between delimiters."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.replay import notes, text
from service.replay.columns import Columns
from service.replay.head import Head
from service.replay.notes import Notes, Unreadable
from service.replay.numbers import number, of_texts

DELIMITERS: Final = (",", "\t", ";", "|")
BLANKS: Final = ""
"""The delimiter of tables that are aligned with blanks."""


@dataclass(frozen=True, slots=True)
class Header:
    """The line that names the columns."""

    line: int
    """Its number; 0 where the names come from elsewhere."""
    delimiter: str
    names: tuple[str, ...]


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of a line; beside semicolons a comma is the decimal one.

    >>> cells_of('1,"1,234", 0.5', ",")
    ['1', '1,234', '0.5']
    """
    if not delimiter:
        return line.split()
    if delimiter == ";" and "," in line and "." not in line:
        line = line.replace(",", ".")
    if '"' in line:
        try:
            return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        except csv.Error:
            return line.split(delimiter)
    return line.split(delimiter)


def _row(line: str, delimiter: str, names: int) -> list[str]:
    """The cells of a row; a delimiter at its end begins no cell where there is no name for it."""
    cells = cells_of(line, delimiter)
    if len(cells) == names + 1 and not cells[-1].strip():
        cells.pop()
    return cells


def header_of(head: Head) -> Header | None:
    """The header of a table: the first line of names that a line of as many cells, numbers among them, follows."""
    for at, line in enumerate(head.lines):
        if not (stripped := line.strip().lstrip("#").strip()) or stripped.startswith(("{", "[")):
            continue
        for delimiter in (*DELIMITERS, BLANKS):
            names = [name.strip() for name in cells_of(stripped, delimiter)]
            if _are_names(names, delimiter) and _numbers_follow(head.lines[at + 1 :], len(names), delimiter):
                return Header(at + 1, delimiter, _unique(names))
    return None


def names_of(head: Head) -> tuple[str, ...]:
    """The names in the header; none where there is no table."""
    header = header_of(head)
    return header.names if header else ()


def read(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """The rows of a table. Raises Unreadable where it has none."""
    header = header_of(head)
    if header is None:
        raise Unreadable(path, 1, "no line names columns of which the next line holds numbers, so it is no table")
    yield from rows_under(path, header, said)


def rows_under(path: Path, header: Header, said: Notes) -> Iterator[Columns]:
    """The rows below a header. A line of other names goes on with these; the same names again are left out."""
    for first, lines in text.blocks(path):
        rows: list[list[str]] = []
        for at, line in enumerate(lines, first):
            if at <= header.line or not line.strip():
                continue
            cells = _row(line.rstrip("\n"), header.delimiter, len(header.names))
            if len(cells) == len(header.names) and (_is_number(cells[0]) or not _are_names(cells, header.delimiter)):
                rows.append(cells)
                continue
            names = _unique([cell.strip() for cell in cells_of(line.strip().lstrip("#"), header.delimiter)])
            if names == header.names:
                said.count(notes.HEADER_AGAIN)
            elif len(names) > 1 and _are_names(names, header.delimiter) and line.endswith("\n"):
                said.count(notes.HEADER_AGAIN)
                yield from _columns(header.names, rows)
                header, rows = Header(header.line, header.delimiter, names), []
            elif not line.endswith("\n"):
                said.count(notes.HALF_LINE)
            else:
                said.odd_line(at)
        yield from _columns(header.names, rows)


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Columns]:
    if not rows:
        return
    values, texts = {}, []
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        column = of_texts(cells)
        if column is None:
            texts.append(name)
        else:
            values[name] = column
    yield Columns(len(rows), values, frozenset(texts))


def _are_names(cells: Sequence[str], delimiter: str) -> bool:
    """Whether cells could be the names of columns: none is a number, most are there."""
    if not cells or (len(cells) == 1 and (delimiter != "," or not cells[0].strip().isidentifier())):
        return False
    there = [cell for cell in cells if cell.strip()]
    return 2 * len(there) > len(cells) and all(number(cell) is None for cell in there)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers_follow(lines: Sequence[str], cells: int, delimiter: str) -> bool:
    for line in lines[:20]:
        found = _row(line, delimiter, cells)
        if len(found) == cells and any(cell.strip() and number(cell) is not None for cell in found):
            return True
    return False


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once: pandas writes a column of row numbers without one, tables repeat names."""
    out: list[str] = []
    for at, name in enumerate(names):
        short = name or f"column {at + 1}"
        out.append(short if short not in out else f"{short}.{out.count(short)}~{at + 1}")
    return tuple(out)
