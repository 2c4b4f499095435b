"""From a predictions record to what is to be reduced: the rows that it speaks of, and its labels as slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from consumers import facts
from consumers.classes import MOST
from consumers.courses import TRAIN
from consumers.rows import Rows
from consumers.runs import Places, Run, StreamKey, StreamRow
from consumers.validity import matrix_of, places_of
from detectors.streams import Sampled
from losswatch.arrays import Floats, Ints
from losswatch.schema import Predictions, RunStart

KEPT_SCORES: Final = 512
"""Newest samples whose anomaly scores are kept: slots of the stream ``scores``."""
RANKED: Final = ("probabilities", "logits")
"""Kinds whose samples have anomaly scores."""
MOST_ERRORS: Final = 4
"""Errors of a record that are compared with each other: the first."""
MOST_SLICES: Final = 32
"""Slices of a record whose coverage is measured: the first."""


class Item(NamedTuple):
    """A record with its rows; a `consumers.lines.Origin`."""

    run: Run
    time: float
    step: int
    order: int
    record: Predictions
    size: int
    """Samples."""
    classes: int
    """Slots that the predictions have; 0 where none are predicted."""
    choices: int
    """How many classes the model chooses from, as far as that is known."""
    label: Ints | None
    """(N) slots of the labels, see `consumers.classes.Classes.slots_of`."""
    predicted: Ints | None
    """(N) slots of the predicted classes, where those are not simply the places of the largest probabilities."""
    normal: int
    """The output of the class that is no anomaly."""
    normal_slot: int
    places: Places
    coverage: Sequence[tuple[StreamRow, str | None]] = ()


class Declared(NamedTuple):
    """What a run says about a phase when it starts; a `consumers.lines.Origin`."""

    run: Run
    time: float
    step: int
    row: StreamRow
    values: Floats
    """In the order of `detectors.streams.VALUES`."""
    order: int = 0


def item_of(rows: Rows, run: Run, record: Predictions, order: int, settle: Callable[[], None]) -> Item | None:
    """Find or make the rows of a record; None where the caps allow none.

    ``settle`` is called before a row moves to a wider pool: what points at the old one must be used first.
    """
    classes, choices, predicted = _classes(run, record)
    label = run.classes.slots_of(record.labels) if record.labels is not None and len(record.labels) else None
    normal = int(run.thresholds().get("normal_class", rows.defaults.get("normal_class", 0)))
    normal = min(max(normal, 0), max(classes - 1, 0))
    moved = record.kind in RANKED and label is not None and predicted is not None
    normal_slot = int(run.classes.slots_of([normal])[0]) if moved else normal
    labelled = label is not None and (predicted is not None or record.kind != "summary")
    places = _places(rows, run, record, classes, labelled, settle)
    if classes and places.predictions is None:
        return None
    return Item(
        run,
        record.time,
        record.step,
        order,
        record,
        record.size,
        classes,
        choices,
        label,
        predicted,
        normal,
        normal_slot,
        places,
        _coverage(rows, run, record, settle) if record.features is not None else (),
    )


def _places(
    rows: Rows, run: Run, record: Predictions, classes: int, labelled: bool, settle: Callable[[], None]
) -> Places:
    known = len(run.classes.names)
    sort = (record.phase, record.kind, classes, known, labelled, record.embeddings is None, *record.errors)
    if (places := run.places.get(sort)) is not None:
        return places
    refused = False

    def row(stream: Sampled, slots: int = 0, subject: str | None = None) -> StreamRow | None:
        nonlocal refused
        found = rows.sampled(run, StreamKey(stream, record.phase, subject), slots, settle)
        refused |= found is None
        return found

    predictions = row("predictions", classes if classes <= MOST else 0) if classes else None
    if classes and predictions is None:
        return Places()
    labels = row("labels", known) if labelled and classes else None
    others = [key for key in run.streams if key.stream == "labels" and key.phase != TRAIN]
    judged = [rows.sampled(run, key, known, settle) for key in others] if labels and record.phase == TRAIN else []
    places = Places(
        predictions,
        labels,
        [found for found in judged if found is not None],
        row("scores", KEPT_SCORES) if labelled and record.kind in RANKED else None,
        row("representation") if record.embeddings is not None else None,
        [
            (found, a, b)
            for a, b in combinations(list(record.errors)[:MOST_ERRORS], 2)
            if (found := row("proxy", subject=f"{a} and {b}")) is not None
        ],
    )
    if not refused:
        run.places[sort] = places
    return places


def _coverage(
    rows: Rows, run: Run, record: Predictions, settle: Callable[[], None]
) -> Sequence[tuple[StreamRow, str | None]]:
    """The rows of the slices whose coverage is measured; None is the whole."""
    features = record.features
    if run.references is None or features is None or features.shape[1] != run.references.features:
        return ()
    slices = list(dict.fromkeys(part for part in record.slices or () if part is not None))[:MOST_SLICES]
    keys = {part: StreamKey("coverage", record.phase, part) for part in (None, *slices)}
    return [(row, part) for part, key in keys.items() if (row := rows.sampled(run, key, 0, settle)) is not None]


def _classes(run: Run, record: Predictions) -> tuple[int, int, Ints | None]:
    """How many classes and choices there are, and the slots of predictions that are not places of outputs."""
    if record.kind is None:
        return 0, 0, None
    if record.kind == "classes":
        predicted = run.classes.slots_of(record.values)  # type: ignore[arg-type]  # of this kind they are labels
        choices = run.classes.add_predicted(predicted)
        return max(2, len(run.classes.names)), choices, predicted
    if record.mean is not None and record.kind == "summary":
        run.classes.add_outputs(len(record.mean))
        single = None if record.values is None else run.classes.slots_of(record.values)  # type: ignore[arg-type]  # labels
        return len(record.mean), len(record.mean), single
    values = matrix_of(record)
    count = values.shape[1]
    run.classes.add_outputs(count)
    if record.labels is None or run.classes.is_first(count):
        return count, count, None
    return count, count, run.classes.slots_of(places_of(values))


def declarations(rows: Rows, run: Run, record: RunStart, settle: Callable[[], None]) -> Iterator[Declared]:
    """What a run_start says about each phase, as a step of the stream ``declaration``."""
    for phase, values in facts.of_declaration(record):
        found = rows.sampled(run, StreamKey("declaration", phase), 0, settle)
        if found is not None:
            yield Declared(run, record.time, run.newest_step.get(phase, 0), found, values)
