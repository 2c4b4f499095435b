"""What a batch brought, on its way through the detectors: gathered piece by piece, used in few large blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from consumers.columns import (
    ObjectivePiece,
    Round,
    SeriesPiece,
    objective_block,
    pack,
    prediction_block,
    series_block,
    series_of,
)
from consumers.findings import make_finding
from consumers.pools import Pool, Transition
from consumers.reduce import reduce_predictions
from consumers.rows import Rows
from consumers.runs import RowKey, Run
from consumers.telemetry import Telemetry
from losswatch.schema import Finding, Predictions

log: Final = logging.getLogger(__name__)


class Gathering:
    """Pieces of a batch. `use` lets them go through the detectors and returns what was found."""

    def __init__(
        self, rows: Rows, runs: Mapping[str, Run], defaults: Mapping[str, float], telemetry: Telemetry
    ) -> None:
        self._rows, self._runs, self._defaults, self._telemetry = rows, runs, defaults, telemetry
        self._findings: list[Finding] = []
        self._clear()

    def _clear(self) -> None:
        self._objectives: dict[int, list[ObjectivePiece]] = {}
        self._series: list[SeriesPiece] = []
        self._predictions: list[tuple[Run, int, Predictions]] = []
        self.runs: set[str] = set()
        """Runs that have pieces here."""

    def add_objective(self, slots: int, piece: ObjectivePiece) -> None:
        """``slots`` says which pool the piece's row is in."""
        self._objectives.setdefault(slots, []).append(piece)

    def add_series(self, piece: SeriesPiece) -> None:
        """A metric, of the whole or of a slice."""
        self._series.append(piece)

    def add_predictions(self, run: Run, row: int, record: Predictions) -> None:
        """A record of a prediction stream."""
        self._predictions.append((run, row, record))

    def findings(self) -> list[Finding]:
        """What was found since the last call, by run and step."""
        found, self._findings = self._findings, []
        return sorted(found, key=lambda f: (f.run, f.step, f.phase, f.kind, f.subject or "", f.began))

    def use(self) -> None:
        """Let everything gathered go through the detectors."""
        objectives, series, predictions = self._objectives, self._series, self._predictions
        self._clear()
        for slots, pieces in objectives.items():
            pool = self._rows.pool("objective", slots)
            for work in pack(pieces):
                self._guard(partial(self._use_objectives, pool, work))
        for loose in pack(series):
            self._guard(partial(self._use_series, loose))
        if predictions:
            self._guard(partial(self._use_predictions, predictions))

    def _guard(self, step: Callable[[], None]) -> None:
        """A detector that breaks its contract costs its own block, not the worker."""
        try:
            step()
        except Exception:
            self._telemetry.count("detector_errors")
            log.exception("a block could not be judged; its runs go on with the next one")

    def _use_objectives(self, pool: Pool, work: Round[ObjectivePiece]) -> None:
        block, values = objective_block(work, pool.slots, self._rows.like)
        for change in pool.update(work.rows, block):
            piece = work.piece_at(change.at, change.offset)
            run, phase = piece.owner
            names = list(run.objectives[phase].slots)
            self._report(run, phase, names[change.slot] if change.slot is not None else None, change, piece.time)
        if (found := series_of(work, values, block, self._rows.like)) is not None:
            rows, origin, series = found
            changes = self._rows.pool("series").update(rows, series)
            self._report_series(changes, rows, lambda change: _time_of(work, origin[change.at], change.step))

    def _use_series(self, work: Round[SeriesPiece]) -> None:
        changes = self._rows.pool("series").update(work.rows, series_block(work, self._rows.like))
        self._report_series(changes, work.rows, lambda change: work.piece_at(change.at, change.offset).time)

    def _use_predictions(self, items: Sequence[tuple[Run, int, Predictions]]) -> None:
        pool = self._rows.pool("predictions")
        pieces, samples = reduce_predictions(items, self._rows.like)
        self._telemetry.count("samples", by=samples)
        for work in pack(pieces):
            for change in pool.update(work.rows, prediction_block(work, self._rows.like)):
                piece = work.piece_at(change.at, change.offset)
                self._report(piece.owner, pool.keys[piece.row].phase, None, change, piece.time)

    def _report_series(
        self, changes: Iterable[Transition], rows: Sequence[int], time: Callable[[Transition], float]
    ) -> None:
        keys = self._rows.pool("series").keys
        for change in changes:
            key: RowKey = keys[rows[change.at]]
            assert key.series is not None
            self._report(self._runs[key.run], key.phase, key.series.label, change, time(change))

    def _report(self, run: Run, phase: str, subject: str | None, change: Transition, time: float) -> None:
        finding = make_finding(run, phase, subject, change, {**self._defaults, **run.thresholds()}, time)
        run.note(finding)
        self._telemetry.count("findings", finding.kind, finding.state)
        self._findings.append(finding)


def _time_of(work: Round[ObjectivePiece], row: int, step: int) -> float:
    """When the record that brought a step of a row was made: the newest such record."""
    return next(piece.time for place, _, piece in reversed(work.placed) if place == row and step in piece.step)
