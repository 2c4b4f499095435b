"""The fleet: all runs of this worker, fed a batch of records at a time.

Everything a batch brings is gathered first and then goes through the detectors as few, large
blocks. What comes out does not depend on how records were batched.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import nan
from typing import Final

import numpy as np
import torch

from consumers.courses import Restart
from consumers.decode import DeadLetter, Decoded
from consumers.detect import Gathering
from consumers.pieces import STEPS, ObjectivePiece, PairPiece, SeriesPiece
from consumers.references import References
from consumers.rows import Limits, Rows
from consumers.runs import Run, SeriesKey
from consumers.samples import declarations, item_of
from consumers.sessions import MAX_REASONS
from consumers.split import StepsPart, parts_of
from consumers.telemetry import Telemetry
from detectors import catalog
from detectors.cell import Cell
from detectors.series.stalled import FACTOR, LEAST, REPORTS, limit, paced
from losswatch.arrays import Bools, Floats, Ints, reported
from losswatch.schema import Finding, Heartbeat, Predictions, Record, Reference, RunEnd, RunStart, Steps

log: Final = logging.getLogger(__name__)

MAX_DECLARATION: Final = 512 * 1024
"""Bytes of a run_start as JSON: it is in every snapshot, which a broker with the usual limit of 1 MB must take."""
ENVELOPE: Final = {"seq", "time", "session", "dropped"}
"""Fields of a record that say nothing about the run."""


class Fleet:
    """See the module's docstring. Used on one thread.

    ``block_steps`` is how many steps of a row may go through the detectors together: more make few runs faster and
    many runs slower.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        cells: Sequence[Cell] = catalog.CELLS,
        thresholds: Mapping[str, float] | None = None,
        limits: Limits | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
        block_steps: int = STEPS,
    ) -> None:
        self.telemetry = telemetry
        own = (*(threshold for cell in cells for threshold in cell.thresholds), LEAST, FACTOR)
        self.defaults = {threshold.name: threshold.default for threshold in own} | dict(thresholds or {})
        """The deployment's thresholds."""
        like = torch.zeros((), dtype=dtype, device=device)
        self.rows = Rows(cells, self.defaults, limits or Limits(), like, telemetry)
        self.runs: dict[str, Run] = {}
        self.dirty: set[str] = set()
        """Runs that changed since their last snapshot."""
        self._gathering = Gathering(self.rows, self.runs, self.defaults, telemetry, block_steps)
        self._dead: list[DeadLetter] = []
        self._parts: dict[tuple[str, str], list[StepsPart]] = {}
        """What the batch brought so far, by run and phase."""

    def take(self, batch: Sequence[Decoded]) -> tuple[list[Finding], list[DeadLetter]]:
        """Use a batch; the findings that changed their state, by run and step, and what could not be used."""
        for item in batch:
            try:
                self._take_one(item)
            except Exception as error:
                message = item.message
                log.exception("%s[%d] offset %d could not be used", message.topic, message.partition, message.offset)
                self._dead.append(DeadLetter(message, "internal_error", f"{type(error).__name__}: {error}"))
        self._gathering.use()
        self._parts.clear()
        dead, self._dead = self._dead, []
        return self._gathering.findings(), dead

    def drop(self, run: Run) -> None:
        """Forget a run."""
        del self.runs[run.run]
        self.dirty.discard(run.run)
        self.rows.drop(run)

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
        if isinstance(record, Heartbeat):
            run.beats_every = record.every
            return
        self._gathering.record += 1
        self._pace(run, record.time)
        run.reported = max(run.reported, record.time)
        if isinstance(record, Steps):
            self._take_steps(run, record)
        elif isinstance(record, Predictions):
            self._take_predictions(run, record)
        elif isinstance(record, Reference):
            self._take_reference(run, record)
        elif isinstance(record, RunStart):
            self._declare(run, record, item)
        elif isinstance(record, RunEnd):
            run.status, run.ended = record.status, record.time

    def _pace(self, run: Run, time: float) -> None:
        """How long it may take until the next report, as far as this one tells."""
        longest = limit(run.pace, self.defaults.get(LEAST.name, LEAST.default), 1.0)
        if run.reported:
            run.pace = paced(run.pace, time - run.reported, longest)
        run.reports = min(run.reports + 1, REPORTS)

    def _new_run(self, record: Record, partition: int) -> Run | None:
        if not self.rows.has_room_for_run(len(self.runs)):
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
        if run.declared is not None and run.declared.model_dump(exclude=ENVELOPE) == record.model_dump(
            exclude=ENVELOPE
        ):
            return
        if (size := len(record.model_dump_json(exclude_unset=True))) > MAX_DECLARATION:
            detail = f"a declaration of {size} bytes, more than {MAX_DECLARATION}; the run is watched without it"
            self._dead.append(DeadLetter(item.message, "declaration_too_large", detail))
            return
        self._settle(run)
        run.declared = record
        self.rows.declare_classes(run)
        if unknown := [name for name in record.thresholds if name not in self.defaults]:
            self.telemetry.count("refused", "unknown_threshold", by=len(unknown))
            known = sorted(self.defaults)
            log.warning("run %r declares unknown thresholds %s; known are %s", run.run, unknown[:5], known)
        self.rows.declare(run)
        for declared in declarations(self.rows, run, record, lambda: self._settle(run)):
            self._gathering.runs.add(run.run)
            self._gathering.add_declaration(declared)

    def _settle(self, run: Run) -> None:
        """Use what was gathered of a run, before its rows change."""
        if run.run in self._gathering.runs:
            self._gathering.use()

    def _take_steps(self, run: Run, record: Steps) -> None:
        if not self.rows.has_room_for_phase(run, record.phase):
            return
        self.telemetry.count("steps", by=len(record.step))
        parts, late, restart = parts_of(run, record)
        if restart is not None:
            self._go_back(run, restart)
        if late:
            run.late_steps += late
            self.telemetry.count("late_steps", by=late)
        for step, name in zip(record.step.tolist(), record.checkpoint or (), strict=False):
            if name is not None:
                run.name_checkpoint(step, name)
        for part in parts:
            run.steps += len(part.step)
            run.newest_step[part.phase], run.phase = int(part.step[-1]), part.phase
            known = len(run.pairs)
            if part.total is not None or part.components:
                self._add_objective(run, part)
            for (role, name, slice_), values in part.series.items():
                self._add_series(run, part, SeriesKey(part.phase, role, name, slice_), values)
            if len(run.pairs) > known:
                self._open_pairs(run, part, known)
            if run.pairs:
                self._add_pairs(run, part)
            self._parts.setdefault((run.run, part.phase), []).append(part)
            self._gathering.runs.add(run.run)

    def _go_back(self, run: Run, restart: Restart) -> None:
        """The job went back to a checkpoint: what it took back no longer counts."""
        self._settle(run)
        for phase in restart.phases:
            self._parts.pop((run.run, phase), None)
        self._gathering.go_back(run, restart)

    def _add_objective(self, run: Run, part: StepsPart) -> None:
        weighted = bool(run.log_vars)
        row = self.rows.objective(run, part, lambda: self._settle(run))
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
            log_vars=[
                (row.slots[name], *self._carried(run, name, part.log_vars.get(name), len(part.step)))
                for name in run.log_vars.keys() | part.log_vars.keys()
                if name in row.slots
            ],
            measured=part.measured,
            divided_by=part.divided_by,
            order=self._gathering.record,
            saved=part.saved,
        )
        if run.log_vars and not weighted:
            self._settle(run)
            self.rows.declare(run)  # they say what the total is
        self._gathering.add_objective(row.pool.slots, piece)

    def _add_series(self, run: Run, part: StepsPart, key: SeriesKey, values: Floats) -> None:
        given = reported(values)
        if not given.any() or (row := self.rows.series(run, key)) < 0:
            return
        whole = bool(given.all())
        step: Ints = part.step if whole else part.step[given]
        value: Floats = values if whole else values[given]
        piece = SeriesPiece(row, run, part.time, step, value, self._gathering.record, part.saved)
        self._gathering.add_series(piece)

    def _carried(self, run: Run, name: str, column: Floats | None, steps: int) -> tuple[Floats, Bools]:
        """The newest log variance at each step, and whether it is that step's own."""
        before = run.log_vars.get(name, nan)
        if column is None:
            return np.full(steps, before), np.zeros(steps, dtype=np.bool_)
        told = reported(column)
        newest = np.maximum.accumulate(np.where(told, np.arange(1, steps + 1), 0))  # (T)
        known = np.concatenate([[before], column])[newest]
        run.log_vars[name] = float(known[-1])
        return known, told

    def _open_pairs(self, run: Run, part: StepsPart, known: int) -> None:
        """Tell new pairs what their reference said last, before there was anything to judge by it."""
        there = part.columns()
        for pair in list(run.pairs.values())[known:]:
            if pair.reference not in there and (found := self._latest(run, pair.reference)) is not None:
                step, value = found
                values = {"reference": np.array([value])}
                piece = PairPiece(pair.row, run, part.time, np.array([step], dtype=np.int64), values)
                self._gathering.add_pair(pair.stream, piece)

    def _latest(self, run: Run, key: SeriesKey) -> tuple[int, float] | None:
        """The newest step and value of a series, whether or not it went through the detectors already."""
        for part in reversed(self._parts.get((run.run, key.phase), ())):
            if (values := part.columns().get(key)) is not None and (given := reported(values)).any():
                newest = int(np.flatnonzero(given)[-1])
                return int(part.step[newest]), float(values[newest])
        return self.rows.latest(run, key)

    def _add_pairs(self, run: Run, part: StepsPart) -> None:
        """What the part says about series that are compared with others."""
        columns = part.columns()
        for key, pair in run.pairs.items():
            if key.stream == "formulas":
                continue  # it is fed by the detectors of the objectives
            values = {
                name: columns[series]
                for name, series in (("reference", pair.reference), ("judged", key.judged))
                if series in columns
            }
            if values:
                piece = PairPiece(pair.row, run, part.time, part.step, values, part.saved)
                self._gathering.add_pair(pair.stream, piece)

    def _take_predictions(self, run: Run, record: Predictions) -> None:
        if not self.rows.has_room_for_phase(run, record.phase):
            return
        _, restart = run.follow(record, np.array([record.step], dtype=np.int64))
        if restart is not None:
            self._go_back(run, restart)
        known = len(run.classes.names)
        item = item_of(self.rows, run, record, self._gathering.record, lambda: self._settle(run))
        if len(run.classes.names) != known:
            self.rows.name_classes(run)
        if item is None:
            return
        run.newest_step[record.phase] = max(record.step, run.newest_step.get(record.phase, record.step))
        self._gathering.runs.add(run.run)
        self._gathering.add_predictions(item)

    def _take_reference(self, run: Run, record: Reference) -> None:
        """Coverage is measured against what was given before; other features start afresh."""
        self._settle(run)
        features = record.features.shape[1]
        if run.references is None or run.references.features != features:
            run.references = References(features)
        known = len(run.classes.names)
        labels = run.classes.slots_of(record.labels) if record.labels is not None and len(record.labels) else None
        if len(run.classes.names) != known:
            self.rows.name_classes(run)
        run.references.add(record.features, labels, record.targets)
