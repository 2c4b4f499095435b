"""Which series of a run are judged against which others."""

from __future__ import annotations

from collections.abc import Container, Iterator

from consumers.courses import TRAIN
from consumers.runs import PairKey, Run, SeriesKey
from detectors.evaluation.directions import direction_of, is_goal
from detectors.streams import Pair


def direction(run: Run, key: SeriesKey) -> float:
    """-1 where lower values of a series are better, 1 where higher ones are, 0 where nobody knows.

    Totals and components are losses. A metric goes by the run's declaration, then by its name.
    """
    if key.role in {"total", "component"}:
        return -1.0
    declared = run.declared.metrics if run.declared else {}
    known = declared.get(key.name) or direction_of(key.name)
    return {"higher": 1.0, "lower": -1.0}.get(known or "", 0.0)


def pairs_with(run: Run, new: SeriesKey) -> Iterator[tuple[PairKey, SeriesKey]]:
    """The pairs that are possible now that a series was reported for the first time, with their references.

    A series is judged in a stream once: a pair that exists already keeps its reference.
    """
    for judged in run.series:
        for stream, reference in _references(run, judged, run.series):
            if new in {judged, reference}:
                yield PairKey(stream, judged), reference


def _references(run: Run, judged: SeriesKey, known: Container[SeriesKey]) -> Iterator[tuple[Pair, SeriesKey]]:
    total = SeriesKey(judged.phase, "total", "total")
    train_total = SeriesKey(TRAIN, "total", "total")
    if judged.role == "slice":
        whole = SeriesKey(judged.phase, "metric", judged.name)
        if direction(run, judged) and (reference := _first(known, whole, total)):
            yield "slices", reference
        return
    goal = judged.role == "metric" and is_goal(judged.name) and direction(run, judged)
    if goal and (reference := _first(known, train_total, total)):
        yield "decoupling", reference
    if judged.phase == TRAIN or not direction(run, judged):
        return
    twin = judged._replace(phase=TRAIN)
    if twin in known:
        yield "generalization", twin


def _first(known: Container[SeriesKey], *wanted: SeriesKey) -> SeriesKey | None:
    return next((key for key in wanted if key in known), None)
