"""From a predictions record to what is to be reduced: the rows that it speaks of, and its labels as slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from consumers import facts
from consumers.classes import MOST
from consumers.courses import TRAIN
from consumers.pieces import StreamPiece
from consumers.rows import Rows
from consumers.runs import Run, StreamKey, StreamRow
from consumers.validity import matrix_of
from losswatch.arrays import Ints
from losswatch.schema import Predictions, RunStart

KEPT_SCORES: Final = 512
"""Newest samples whose anomaly scores are kept: slots of the stream ``scores``."""
MOST_ERRORS: Final = 4
"""Errors of a record that are compared with each other: the first."""
MOST_SLICES: Final = 32
"""Slices of a record whose coverage is measured: the first."""


@dataclass(frozen=True, slots=True)
class Item:
    """A record with its rows."""

    run: Run
    record: Predictions
    classes: int
    """0 where none are predicted."""
    label: Ints | None
    """(N) slots of the labels, see `consumers.classes.Classes.slots_of`."""
    predicted: Ints | None
    """(N) slots of the predicted classes, where those are not simply the places of the largest probabilities."""
    predictions: StreamRow | None = None
    labels: StreamRow | None = None
    judged: Sequence[StreamRow] = ()
    """Rows of other phases that are judged against this one's labels."""
    scores: StreamRow | None = None
    normal: int = 0
    """The output of the class that is no anomaly."""
    normal_slot: int = 0
    representation: StreamRow | None = None
    proxies: Sequence[tuple[StreamRow, str, str]] = ()
    coverage: Sequence[tuple[StreamRow, str | None]] = ()
    order: int = 0
    """See `consumers.pieces.ObjectivePiece`."""


def item_of(rows: Rows, run: Run, record: Predictions, order: int, settle: Callable[[], None]) -> Item | None:
    """Find or make the rows of a record; None where the caps allow none.

    ``settle`` is called before a row moves to a wider pool: what points at the old one must be used first.
    """

    def row(stream: str, slots: int = 0, subject: str | None = None) -> StreamRow | None:
        return rows.sampled(run, StreamKey(stream, record.phase, subject), slots, settle)  # type: ignore[arg-type]

    classes, predicted = _classes(run, record)
    ranked = record.kind in {"probabilities", "logits"}
    label = run.classes.slots_of(record.labels) if record.labels is not None and len(record.labels) else None
    normal = int(run.thresholds().get("normal_class", rows.defaults.get("normal_class", 0)))
    normal = min(max(normal, 0), max(classes - 1, 0))
    moved = ranked and label is not None and predicted is not None
    normal_slot = int(run.classes.slots_of([normal])[0]) if moved else normal
    predictions = row("predictions", classes if classes <= MOST else 0) if classes else None
    if classes and predictions is None:
        return None
    known = len(run.classes.names)
    known_each = predicted is not None or record.kind != "summary"
    labels = row("labels", known) if label is not None and classes and known_each else None
    others = [key for key in run.streams if key.stream == "labels" and key.phase != TRAIN]
    judged = [rows.sampled(run, key, known, settle) for key in others] if labels and record.phase == TRAIN else []
    return Item(
        run,
        record,
        classes,
        label,
        predicted,
        predictions=predictions,
        labels=labels,
        judged=[found for found in judged if found is not None],
        scores=row("scores", KEPT_SCORES) if label is not None and ranked else None,
        normal=normal,
        normal_slot=normal_slot,
        representation=row("representation") if record.embeddings is not None else None,
        proxies=[
            (found, a, b)
            for a, b in combinations(list(record.errors)[:MOST_ERRORS], 2)
            if (found := row("proxy", subject=f"{a} and {b}")) is not None
        ],
        coverage=[
            (found, part) for part in _parts(run, record) if (found := row("coverage", subject=part)) is not None
        ],
        order=order,
    )


def _classes(run: Run, record: Predictions) -> tuple[int, Ints | None]:
    """How many classes there are, and the slots of those predicted where they are not places of outputs."""
    if record.kind is None:
        return 0, None
    if record.kind == "classes":
        predicted = run.classes.slots_of(record.values)  # type: ignore[arg-type]  # of this kind they are labels
        return max(2, len(run.classes.names)), predicted
    if record.mean is not None and record.kind == "summary":
        run.classes.add_outputs(len(record.mean))
        single = None if record.values is None else run.classes.slots_of(record.values)  # type: ignore[arg-type]  # labels
        return len(record.mean), single
    values = matrix_of(record)
    run.classes.add_outputs(values.shape[1])
    if record.labels is None or run.classes.is_first(values.shape[1]):
        return values.shape[1], None
    return values.shape[1], run.classes.slots_of(np.nan_to_num(values, nan=-np.inf).argmax(1))


def _parts(run: Run, record: Predictions) -> list[str | None]:
    """The slices whose coverage is measured; None is the whole."""
    features = record.features
    if run.references is None or features is None or features.shape[1] != run.references.features:
        return []
    return [None, *list(dict.fromkeys(part for part in record.slices or () if part is not None))[:MOST_SLICES]]


def declarations(
    rows: Rows, run: Run, record: RunStart, settle: Callable[[], None]
) -> Iterator[tuple[StreamRow, StreamPiece]]:
    """What a run_start says about each phase, as a step of the stream ``declaration``."""
    for phase, values in facts.of_declaration(record):
        found = rows.sampled(run, StreamKey("declaration", phase), 0, settle)
        if found is not None:
            step = np.array([run.newest_step.get(phase, 0)], dtype=np.int64)
            yield found, StreamPiece(found.row, run, record.time, step, values)
