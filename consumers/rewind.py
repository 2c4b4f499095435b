"""What a run forgets when its job goes back to a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import nan

from consumers.courses import Restart
from consumers.findings import finding_id
from consumers.pools import Pool
from consumers.rows import Rows
from consumers.runs import RowKey, Run, Together
from detectors.kinds import Kind
from losswatch.schema import Finding
from losswatch.topics import PREDICTIONS, STEPS


@dataclass(frozen=True, slots=True)
class Gone:
    """A finding that had begun in steps which no longer count."""

    kind: Kind
    key: RowKey
    subject: str | None
    began: int
    confirmed: int | None


def rewind(rows: Rows, run: Run, restart: Restart) -> list[Finding]:
    """Take the run's rows back; the findings that had begun in steps which no longer count, as resolved ones.

    Rows that are fed by the other topic stay as they are: it has its own restart. Of a run that went back as a whole
    the names of later checkpoints are forgotten too, and what the newest steps said about its weights and totals.
    """
    if restart.leads and restart.topic == STEPS:
        run.checkpoints = {step: name for step, name in run.checkpoints.items() if step < restart.step}
        run.log_vars, run.formula = {}, (nan, nan)
    for phase in restart.phases:
        if phase in run.newest_step:
            run.newest_step[phase] = min(run.newest_step[phase], max(0, restart.step - 1))
    by_pool: dict[int, tuple[Pool, list[int]]] = {}
    for pool, row in _rows(rows, run, restart):
        by_pool.setdefault(id(pool), (pool, []))[1].append(row)
    gone = [
        Gone(each.kind, key := pool.keys[each.row], _subject(run, pool, key, each.slot), each.began, each.confirmed)
        for pool, members in by_pool.values()
        for each in pool.rewind(members, restart.step)
    ]
    return [_finding(run, each, restart) for each in _as_told(run, gone)]


def _rows(rows: Rows, run: Run, restart: Restart) -> Iterator[tuple[Pool, int]]:
    """The rows of the phases that go back, of the topic that says so."""
    phases = set(restart.phases)
    of_predictions = restart.topic == PREDICTIONS
    for series, row in run.series.items():
        if series.phase in phases and (series.role == "reading") is of_predictions:
            yield rows.pool("series"), row
    if of_predictions:
        for key, stream in run.streams.items():
            if key.phase in phases and key.stream != "declaration":
                yield stream.pool, stream.row
        return
    for phase, objective in run.objectives.items():
        if phase in phases:
            yield objective.pool, objective.row
    for pair, found in run.pairs.items():
        if {pair.judged.phase, found.reference.phase} & phases:
            yield rows.pool(pair.stream), found.row


def _as_told(run: Run, gone: list[Gone]) -> Iterator[Gone]:
    """Of findings that were told together for several series the one, with the last of its series."""
    wholes: dict[Together, Gone] = {}
    for each in gone:
        whole = None
        if each.kind.together is not None and each.key.series is not None:
            whole = run.together.pop((each.kind.name, each.key.series), None)
        if whole is None:
            yield each
        else:
            wholes[whole] = replace(each, subject=whole.lead)
    yield from (each for whole, each in wholes.items() if whole not in run.together.values())


def _finding(run: Run, gone: Gone, restart: Restart) -> Finding:
    identity = finding_id(run.run, gone.key.phase, gone.kind.name, gone.subject, gone.began)
    told = run.findings.get(identity)
    return Finding(
        run=run.run,
        time=restart.time,
        id=identity,
        kind=gone.kind.name,
        phase=gone.key.phase,
        subject=gone.subject,
        severity=gone.kind.severity,
        state="resolved",
        began=gone.began,
        confirmed=gone.confirmed,
        step=max(gone.began, restart.step),
        value=told.value if told else None,
        threshold=told.threshold if told else None,
        message=f"The job went back to step {restart.step}; what was seen since step {gone.began} no longer counts.",
    )


def _subject(run: Run, pool: Pool, key: RowKey, slot: int | None) -> str | None:
    if key.series is not None:
        return key.series.label
    if slot is None:
        return key.subject
    return list(run.objectives[key.phase].slots)[slot] if pool.stream == "objective" else run.classes.name_of(slot)
