"""The fleet: all runs of this worker, their rows and the detectors, fed a batch of records at a time.

Everything a batch brings is gathered first and then goes through the detectors as few, large
blocks. What comes out does not depend on how records were batched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from sys import intern
from typing import Final

import numpy as np
import torch

from consumers.columns import (
    ObjectivePiece,
    PredictionPiece,
    Round,
    SeriesPiece,
    objective_block,
    pack,
    prediction_block,
    series_block,
    series_of,
)
from consumers.decode import DeadLetter, Decoded
from consumers.findings import make_finding
from consumers.pools import Pool, Transition
from consumers.reduce import reduce_predictions
from consumers.runs import ObjectiveRow, Role, RowKey, Run, SeriesKey
from consumers.sessions import MAX_REASONS
from consumers.split import StepsPart, parts_of
from consumers.telemetry import Telemetry
from detectors import catalog
from detectors.cell import Cell, Stream
from losswatch.arrays import Floats, Ints, reported
from losswatch.schema import Finding, Predictions, Record, RunEnd, RunStart, Steps

log: Final = logging.getLogger(__name__)

WIDTHS: Final = (4, 8, 16, 32, 64, 128, 256)
"""Slots of the objective pools: an objective lives in the narrowest that holds its components."""

MAX_DECLARATION: Final = 512 * 1024
"""Bytes of a run_start as JSON: it is in every snapshot, which a broker with the usual limit of 1 MB must take."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the memory and the label sets."""

    runs: int = 20_000
    series_per_run: int = 256
    name_length: int = 200


@dataclass(slots=True)
class _Pending:
    """What a batch has brought so far."""

    objectives: dict[int, list[ObjectivePiece]] = field(default_factory=dict)
    """By number of slots."""
    series: list[SeriesPiece] = field(default_factory=list)
    predictions: list[tuple[Run, int, Predictions]] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)


class Fleet:
    """See the module's docstring. Used on one thread."""

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        cells: Sequence[Cell] = catalog.CELLS,
        thresholds: Mapping[str, float] | None = None,
        limits: Limits | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.telemetry = telemetry
        self.cells = tuple(cells)
        self.defaults = {t.name: t.default for cell in cells for t in cell.thresholds} | dict(thresholds or {})
        """The deployment's thresholds."""
        self.limits = limits or Limits()
        self.like = torch.zeros((), dtype=dtype, device=device)
        self.runs: dict[str, Run] = {}
        self.dirty: set[str] = set()
        """Runs that changed since their last snapshot."""
        self.pools: dict[tuple[Stream, int], Pool] = {}
        self._pending = _Pending()
        self._findings: list[Finding] = []
        self._dead: list[DeadLetter] = []

    def pool(self, stream: Stream, slots: int = 0) -> Pool:
        """The pool of a stream, made at its first use."""
        if (stream, slots) not in self.pools:
            self.pools[stream, slots] = Pool(stream, slots, self.cells, self.defaults, self.like)
        return self.pools[stream, slots]

    def take(self, batch: Sequence[Decoded]) -> tuple[list[Finding], list[DeadLetter]]:
        """Use a batch; the findings that changed their state, by run and step, and what could not be used."""
        for item in batch:
            try:
                self._take_one(item)
            except Exception as error:
                message = item.message
                log.exception("%s[%d] offset %d could not be used", message.topic, message.partition, message.offset)
                self._dead.append(DeadLetter(message, "internal_error", f"{type(error).__name__}: {error}"))
        self._flush()
        findings, self._findings = self._findings, []
        dead, self._dead = self._dead, []
        return sorted(findings, key=lambda f: (f.run, f.step, f.phase, f.kind, f.subject or "", f.began)), dead

    def drop(self, run: Run) -> None:
        """Forget a run."""
        del self.runs[run.run]
        self.dirty.discard(run.run)
        for objective in run.objectives.values():
            objective.pool.drop(objective.row)
        for row in run.series.values():
            self.pool("series").drop(row)
        for row in run.predictions.values():
            self.pool("predictions").drop(row)

    def _take_one(self, item: Decoded) -> None:
        record, message = item.record, item.message
        run = self.runs.get(record.run) or self._new_run(record, message.partition)
        if run is None:
            return
        if message.partition != run.partition:
            detail = f"this run is published to partition {run.partition}: use the run id as the record key"
            self._dead.append(DeadLetter(message, "wrong_partition", detail))
            return
        if message.offset < run.next_offset.get(message.topic, 0):
            return
        run.next_offset[message.topic] = message.offset + 1
        self.dirty.add(run.run)
        if not self._is_new(run, item):
            return
        run.seen = max(run.seen, record.time)
        run.records += 1
        if isinstance(record, Steps):
            self._take_steps(run, record)
        elif isinstance(record, Predictions):
            self._take_predictions(run, record)
        elif isinstance(record, RunStart):
            self._declare(run, record, item)
        elif isinstance(record, RunEnd):
            run.status, run.ended = record.status, record.time

    def _new_run(self, record: Record, partition: int) -> Run | None:
        if len(self.runs) >= self.limits.runs:
            self.telemetry.count("refused", "runs")
            return None
        run = self.runs[record.run] = Run(record.run, partition, started=record.time, seen=record.time)
        return run

    def _is_new(self, run: Run, item: Decoded) -> bool:
        """Deduplicate, and note what the record says of its session."""
        record = item.record
        if record.session is None or record.seq is None:
            if not isinstance(record, RunEnd):
                run.status, run.ended = "running", None
            return True
        session, rival = run.sessions.hear(record.session)
        if rival:
            self.telemetry.count("session_conflicts")
        if not session.take(item.message.topic, record.seq, isinstance(record, RunStart | RunEnd)):
            run.duplicates += 1
            self.telemetry.count("duplicates")
            return False
        told = self.telemetry.counters["hook_drops"]
        for reason, more in session.drop(record.dropped).items():
            label = reason if (reason,) in told or len(told) < MAX_REASONS else "other"
            self.telemetry.count("hook_drops", label, by=more)
        if isinstance(record, RunEnd):
            session.ended = True
        elif not session.ended:
            run.status, run.ended = "running", None
        return True

    def _declare(self, run: Run, record: RunStart, item: Decoded) -> None:
        """Take a declaration; what came before it was judged without it."""
        if run.declared is not None and run.declared.model_dump(
            exclude={"seq", "time", "session", "dropped"}
        ) == record.model_dump(exclude={"seq", "time", "session", "dropped"}):
            return
        if (size := len(record.model_dump_json(exclude_unset=True))) > MAX_DECLARATION:
            detail = f"a declaration of {size} bytes, more than {MAX_DECLARATION}; the run is watched without it"
            self._dead.append(DeadLetter(item.message, "declaration_too_large", detail))
            return
        if run.run in self._pending.runs:
            self._flush()
        run.declared = record
        if unknown := [name for name in record.thresholds if name not in self.defaults]:
            self.telemetry.count("refused", "unknown_threshold", by=len(unknown))
            log.warning(
                "run %r declares unknown thresholds %s; known are %s", run.run, unknown[:5], sorted(self.defaults)
            )
        thresholds = self.defaults | record.thresholds  # an override that is no longer declared ends
        for phase, objective in run.objectives.items():
            objective.pool.set_thresholds(objective.row, thresholds)
            run.weigh(phase, objective)
        for stream, rows in (("series", run.series.values()), ("predictions", run.predictions.values())):
            for row in rows:
                self.pool(stream).set_thresholds(row, thresholds)  # type: ignore[arg-type]  # both are streams

    def _take_steps(self, run: Run, record: Steps) -> None:
        if record.phase not in run.newest_step and len(run.newest_step) >= self.limits.series_per_run:
            self.telemetry.count("refused", "series_per_run")
            return
        self.telemetry.count("steps", by=len(record.step))
        parts, late = parts_of(run, record)
        if late:
            run.late_steps += late
            self.telemetry.count("late_steps", by=late)
        for part in parts:
            run.steps += len(part.step)
            run.newest_step[part.phase] = int(part.step[-1])
            if part.total is not None or part.components:
                self._add_objective(run, part)
            for key, values in part.series.items():
                self._add_series(run, part, key, values)
            self._pending.runs.add(run.run)

    def _add_objective(self, run: Run, part: StepsPart) -> None:
        row = self._objective_row(run, part)
        if row is None:
            return
        piece = ObjectivePiece(
            row=row.row,
            owner=(run, part.phase),
            time=part.time,
            step=part.step,
            total=part.total,
            components=[(row.slots[name], values) for name, values in part.components.items() if name in row.slots],
            declared=row.weights,
            weights=[(row.slots[name], values) for name, values in part.weights.items() if name in row.slots],
            series=row.series,
        )
        self._pending.objectives.setdefault(row.pool.slots, []).append(piece)

    def _objective_row(self, run: Run, part: StepsPart) -> ObjectiveRow | None:
        """The phase's row, with a slot for every component of the part that the caps allow."""
        row = run.objectives.get(part.phase)
        if row is None:
            if not self._room(run, part.phase):
                return None
            row = run.objectives[part.phase] = self._place(run, part.phase, len(part.components))
            row.pool.set_thresholds(row.row, run.thresholds())
        if part.total is not None and row.series[0] < 0:
            row.series = _with(row.series, 0, self._series_row(run, part.phase, "total", "total"))
        if new := [name for name in part.components if name not in row.slots]:
            self._add_slots(run, part.phase, row, new)
        return row

    def _place(self, run: Run, phase: str, components: int) -> ObjectiveRow:
        """A fresh row in the narrowest pool that holds so many components."""
        width = next((width for width in WIDTHS if width >= components), WIDTHS[-1])
        pool = self.pool("objective", width)
        row = pool.add(RowKey(run.run, phase))
        return ObjectiveRow(pool, row, {}, np.ones(width), np.full(1 + width, -1, dtype=np.int64))

    def _add_slots(self, run: Run, phase: str, row: ObjectiveRow, names: Sequence[str]) -> None:
        """Give components a slot, in a wider pool if need be."""
        names = self._affordable(run, names, WIDTHS[-1] - len(row.slots))
        if len(row.slots) + len(names) > row.pool.slots:
            if run.run in self._pending.runs:
                self._flush()  # pieces already gathered point at the narrow row
            wider = self._place(run, phase, len(row.slots) + len(names))
            row.pool.widen(row.row, wider.pool, wider.row)
            row.pool.drop(row.row)
            wider.series[: len(row.series)] = row.series
            row.pool, row.row, row.series = wider.pool, wider.row, wider.series
        for name in names:
            row.slots[name] = len(row.slots)
            row.series = _with(row.series, len(row.slots), self._series_row(run, phase, "component", name))
        row.pool.version += 1
        run.weigh(phase, row)

    def _series_row(self, run: Run, phase: str, role: Role, name: str, part: str | None = None) -> int:
        """The row of a series; -1 where a cap refuses a new one."""
        key = SeriesKey(phase, role, name, part)
        row = run.series.get(key)
        if row is None:
            if not self._room(run, name if part is None else max(name, part, key=len)):
                return -1
            key = SeriesKey(intern(phase), role, intern(name), part)  # names are the same in most runs
            row = run.series[key] = self.pool("series").add(RowKey(run.run, key.phase, key))
            self.pool("series").set_thresholds(row, run.thresholds())
        return row

    def _affordable(self, run: Run, names: Sequence[str], most: int) -> list[str]:
        """The names of new components that the caps allow; counts what they refuse."""
        taken: list[str] = []
        for name in names:
            if len(taken) == most:
                self.telemetry.count("refused", "components", by=1)
            elif self._room(run, name, len(taken)):
                taken.append(name)
        return taken

    def _room(self, run: Run, name: str, more: int = 0) -> bool:
        """Whether the caps allow one series of this name, and ``more``; counts what they refuse."""
        if len(name) > self.limits.name_length:
            self.telemetry.count("refused", "name_length")
            return False
        if len(run.series) + len(run.objectives) + more >= self.limits.series_per_run:
            self.telemetry.count("refused", "series_per_run")
            return False
        return True

    def _add_series(self, run: Run, part: StepsPart, key: tuple[Role, str, str | None], values: Floats) -> None:
        given = reported(values)
        if not given.any():
            return
        role, name, slice_ = key
        row = self._series_row(run, part.phase, role, name, slice_)
        if row < 0:
            return
        whole = bool(given.all())
        step: Ints = part.step if whole else part.step[given]
        value: Floats = values if whole else values[given]
        self._pending.series.append(SeriesPiece(row, run, part.time, step, value))

    def _take_predictions(self, run: Run, record: Predictions) -> None:
        row = run.predictions.get(record.phase)
        if row is None:
            if not self._room(run, record.phase):
                return
            row = run.predictions[record.phase] = self.pool("predictions").add(RowKey(run.run, record.phase))
            self.pool("predictions").set_thresholds(row, run.thresholds())
        run.newest_step[record.phase] = max(record.step, run.newest_step.get(record.phase, record.step))
        self._pending.runs.add(run.run)
        self._pending.predictions.append((run, row, record))

    def _flush(self) -> None:
        """Let everything gathered go through the detectors."""
        pending, self._pending = self._pending, _Pending()
        for slots, pieces in pending.objectives.items():
            pool = self.pool("objective", slots)
            for work in pack(pieces):
                self._update_objectives(pool, work)
        series = self.pool("series")
        for loose in pack(pending.series):
            changes = series.update(loose.rows, series_block(loose, self.like))
            self._report_series(changes, loose.rows, partial(_time_in, loose))
        predictions = self.pool("predictions")
        reduced, samples = reduce_predictions(pending.predictions, self.like)
        self.telemetry.count("samples", by=samples)
        for streams in pack(reduced):
            for change in predictions.update(streams.rows, prediction_block(streams, self.like)):
                piece: PredictionPiece = streams.piece_at(change.at, change.offset)
                key = predictions.keys[piece.row]
                self._report(piece.owner, key.phase, None, change, piece.time, predictions, piece.row)

    def _update_objectives(self, pool: Pool, work: Round[ObjectivePiece]) -> None:
        block, values = objective_block(work, pool.slots, self.like)
        for change in pool.update(work.rows, block):
            piece = work.piece_at(change.at, change.offset)
            run, phase = piece.owner
            names = list(run.objectives[phase].slots)
            subject = names[change.slot] if change.slot is not None else None
            self._report(run, phase, subject, change, piece.time, pool, piece.row)
        if (found := series_of(work, values, block, self.like)) is not None:
            rows, origin, series = found
            changes = self.pool("series").update(rows, series)
            self._report_series(changes, rows, lambda change: _time_of(work, origin[change.at], change.step))

    def _report_series(
        self, changes: Sequence[Transition], rows: Sequence[int], time: Callable[[Transition], float]
    ) -> None:
        pool = self.pool("series")
        for change in changes:
            row = rows[change.at]
            key: RowKey = pool.keys[row]
            series = key.series
            assert series is not None
            self._report(self.runs[key.run], key.phase, series.label, change, time(change), pool, row)

    def _report(
        self, run: Run, phase: str, subject: str | None, change: Transition, time: float, pool: Pool, row: int
    ) -> None:
        finding = make_finding(run, phase, subject, change, self.defaults | dict(run.thresholds()), time)
        run.note(finding)
        self.telemetry.count("findings", finding.kind, finding.state)
        self._findings.append(finding)


def _with(
    series: np.ndarray[tuple[int], np.dtype[np.int64]], place: int, row: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """A copy with one entry set: pieces already gathered keep the array they were given."""
    changed = series.copy()
    changed[place] = row
    return changed


def _time_in(work: Round[SeriesPiece], change: Transition) -> float:
    """When the record that brought a change was made."""
    return work.piece_at(change.at, change.offset).time


def _time_of(work: Round[ObjectivePiece], row: int, step: int) -> float:
    """When the record that brought a step of a row was made."""
    return next(piece.time for place, _, piece in work.placed if place == row and step in piece.step)
