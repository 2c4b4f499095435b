"""Keras: the table of its CSVLogger, and a history as JSON, a list per name. Its means run over the epoch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from losswatch.arrays import Floats
from service.replay import text
from service.replay.columns import Columns, empty
from service.replay.delimited import names_of, read
from service.replay.head import Head
from service.replay.notes import Notes, Unreadable
from service.replay.numbers import of_values
from service.replay.readers.format import Format
from service.replay.scheme import Scheme
from service.replay.steps import usable

LARGEST: Final = 256 << 20
"""Most bytes of a history: it has to be read as a whole."""
_COUNTS: Final = re.compile(r"(?:.*[_ ])?(?:steps?|epochs?|iterations?)", re.IGNORECASE)
SCHEME: Final = Scheme(steps=("epoch", "epochs"), measured={"train": "running_mean"})


def _is_table(head: Head) -> bool:
    names = names_of(head)
    return names[:1] == ("epoch",) and "loss" in names and "batch" not in names and list(names[1:]) == sorted(names[1:])


def history(path: Path, head: Head, said: Notes) -> Iterator[Columns]:
    """The lists of a history; a mapping of several histories is several runs. Raises Unreadable."""
    data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
    if not data:
        raise Unreadable(path, None, f"a history of more than {LARGEST >> 20} MB; write an object a line instead")
    try:
        document = json.loads(data.decode(text.encoding_of(data), errors="replace"))
    except json.JSONDecodeError as error:
        raise Unreadable(path, error.lineno, f"it is no JSON: {error.msg}") from None
    except RecursionError:
        raise Unreadable(path, 1, "it is no history: objects in objects without end") from None
    yield from _histories(document, "")


def _histories(document: Any, part: str) -> Iterator[Columns]:
    if not isinstance(document, Mapping):
        return
    lists = {str(name): value for name, value in document.items() if isinstance(value, list) and value}
    columns = {name: column for name, value in lists.items() if (column := of_values(value)) is not None}
    if columns:
        yield Columns(*_side_by_side(columns), part=part)
    for name, value in document.items():
        yield from _histories(value, f"{part}/{name}" if part else str(name))


def _side_by_side(columns: Mapping[str, Floats]) -> tuple[int, dict[str, Floats]]:
    """Lists of any lengths as columns, beside one called ``epoch``: the step that another list says for each.

    A list for whose length no list counts is spread over the steps of the longest.

    >>> _side_by_side({"step": np.array([5.0, 10.0]), "loss": np.array([0.3, 0.2]), "score": np.array([0.9])})[1]
    {'epoch': array([ 5., 10.]), 'loss': array([0.3, 0.2]), 'score': array([nan, 0.9])}
    """
    counting = {name: v for name, v in columns.items() if _COUNTS.fullmatch(name) and (np.diff(v) > 0).all()}
    counting = {name: values for name, values in counting.items() if usable(values).all()}
    by_length = {len(values): values for values in reversed(counting.values())}
    series = {name: values for name, values in columns.items() if name not in counting} or dict(columns)
    most = max(map(len, series.values()))
    longest = by_length.get(most, np.arange(most, dtype=np.float64))
    steps = {n: by_length.get(n, longest[np.arange(1, n + 1) * most // n - 1]) for n in set(map(len, series.values()))}
    every = np.unique(np.concatenate(list(steps.values())))
    out = {"epoch": every}
    for name, values in series.items():
        out[name] = empty(len(every))
        out[name][np.searchsorted(every, steps[len(values)])] = values
    return len(every), out


def _is_history(head: Head) -> bool:
    return head.is_document and head.text.startswith("{") and "[" in head.text


CSV: Final = Format("keras", "Keras CSVLogger", detect=_is_table, read=read, scheme=SCHEME)
HISTORY: Final = Format("history", "history as JSON", detect=_is_history, read=history, scheme=SCHEME, anything=True)
