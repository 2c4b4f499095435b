"""What a batch brought, on its way through the detectors: gathered piece by piece, used in few large blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from consumers.columns import expecting, lines_block, objective_block, pair_block, series_block, series_of
from consumers.courses import TRAIN, Restart
from consumers.findings import make_finding
from consumers.lines import NO_LINE, Given, Lines, Origin, Sheet, by_pool, joined, sheets
from consumers.pieces import STEPS, ObjectivePiece, PairPiece, Piece, Round, SeriesPiece, pack
from consumers.points import Kept
from consumers.pools import Judged, Pool, Transition
from consumers.reduce import reduce_predictions
from consumers.reduce_samples import reduce_samples
from consumers.rewind import rewind
from consumers.rows import Rows
from consumers.runs import PairKey, RowKey, Run, SeriesKey
from consumers.samples import Declared, Item
from consumers.telemetry import Telemetry
from consumers.together import Change, together
from detectors.streams import PAIRS, Pair, Role, Stream
from losswatch.schema import Finding

log: Final = logging.getLogger(__name__)

PAIR_VALUES: Final[Mapping[Pair, Sequence[str]]] = dict.fromkeys(PAIRS, ("reference", "judged")) | {
    "formulas": ("reference", "judged", "reference_scale", "judged_scale")
}
"""What the blocks of pairs hold."""
SCORE_STEPS: Final = 4
"""Most records of a row in one block of scores: each step of it holds all the samples that are kept."""


class _Formula(NamedTuple):
    """How the total of a phase is made, as found at the end of a piece."""

    order: int
    owner: tuple[Run, str]
    time: float
    step: int
    form: float
    scale: float


class Gathering:
    """Pieces of a batch. `use` lets them go through the detectors and returns what was found."""

    def __init__(
        self,
        rows: Rows,
        runs: Mapping[str, Run],
        defaults: Mapping[str, float],
        telemetry: Telemetry,
        block_steps: int = STEPS,
    ) -> None:
        self._rows, self._runs, self._defaults, self._telemetry = rows, runs, defaults, telemetry
        self._block_steps = block_steps
        self._findings: list[Finding] = []
        self.record = 0
        """Counts the records: a piece says which one it is of."""
        self._told: list[Finding] = []
        """What was found before a job went back: later ones come after it whatever their step is."""
        self._clear()

    def _clear(self) -> None:
        self._objectives: dict[int, list[ObjectivePiece]] = {}
        self._series: list[SeriesPiece] = []
        self._pairs: dict[Pair, list[PairPiece]] = {}
        self._items: list[Item] = []
        self._declared: list[Declared] = []
        self._changes: list[Change] = []
        self.runs: set[str] = set()
        """Runs that have pieces here."""

    def add_objective(self, slots: int, piece: ObjectivePiece) -> None:
        """``slots`` says which pool the piece's row is in."""
        self._objectives.setdefault(slots, []).append(piece)

    def add_series(self, piece: SeriesPiece) -> None:
        """A metric, of the whole or of a slice."""
        self._series.append(piece)

    def add_pair(self, stream: Pair, piece: PairPiece) -> None:
        """What a step says about a series and the one that it is judged against."""
        self._pairs.setdefault(stream, []).append(piece)

    def add_predictions(self, item: Item) -> None:
        """A record of predictions."""
        self._items.append(item)

    def add_declaration(self, declared: Declared) -> None:
        """What a run declares about a phase."""
        self._declared.append(declared)

    def findings(self) -> list[Finding]:
        """What was found since the last call, by run and step."""
        told, self._told = self._told + _sorted(self._findings), []
        self._findings.clear()
        return told

    def go_back(self, run: Run, restart: Restart) -> None:
        """Let a run go back: its rows, and the findings that had begun in steps which no longer count."""
        self._told = self.findings()
        for finding in rewind(self._rows, run, restart):
            self._tell(run, finding)

    def use(self) -> None:
        """Let everything gathered go through the detectors."""
        objectives, series, items, pairs = self._objectives, self._series, self._items, self._pairs
        declared = self._declared
        formulas: list[_Formula] = []
        self._clear()
        for slots, pieces in objectives.items():
            pool = self._rows.pool("objective", slots)
            for work in pack(pieces, self._block_steps, pool.points):
                self._guard(partial(self._use_objectives, pool, work, formulas))
        if items or declared:
            self._use_records(items, declared)
        for loose in pack(series, self._block_steps, self._rows.pool("series").points):
            self._guard(partial(self._use_series, loose))
        if judged := self._compared(formulas):
            pairs["formulas"] = judged
        for stream, found in pairs.items():
            for couple in pack(found, self._block_steps, self._rows.pool(stream).points):
                self._guard(partial(self._use_pairs, stream, couple))
        changes, self._changes = self._changes, []
        for whole in together(changes):
            self._tell(whole.lead.run, whole.finding(self._thresholds(whole.lead.run)))

    def _guard(self, step: Callable[[], None]) -> None:
        """A detector that breaks its contract costs its own block, not the worker."""
        try:
            step()
        except Exception:
            self._telemetry.count("detector_errors")
            log.exception("a block could not be judged; its runs go on with the next one")

    def _use_objectives(self, pool: Pool, work: Round[ObjectivePiece], formulas: list[_Formula]) -> None:
        block, values = objective_block(work, pool.slots, self._rows.like)
        judged = pool.update(work.rows, block)
        for change in judged.transitions:
            piece = work.piece_at(change.at, change.offset)
            run, phase = piece.owner
            names = list(run.objectives[phase].slots)
            self._report(run, phase, names[change.slot] if change.slot is not None else None, change, piece.time)
        formulas += _formulas_of(work, judged.fed)
        if (found := series_of(work, values, block, self._rows.bands, self._rows.like)) is not None:
            rows, origin, offset, series = found
            changes = self._rows.pool("series").update(rows, series).transitions
            self._report_series(
                "series",
                changes,
                rows,
                lambda change: work.piece_at(origin[change.at], int(offset[change.at, change.offset])),
            )
        pool.keep(work.kept)
        self._rows.pool("series").keep(_of_series(work))

    def _use_series(self, work: Round[SeriesPiece]) -> None:
        block = series_block(work, self._rows.bands, self._rows.like)
        pool = self._rows.pool("series")
        self._report_round("series", work, pool.update(work.rows, block))
        pool.keep(work.kept)

    def _use_pairs(self, stream: Pair, work: Round[PairPiece]) -> None:
        block = pair_block(work, PAIR_VALUES[stream], self._rows.like)
        pool = self._rows.pool(stream)
        self._report_round(stream, work, pool.update(work.rows, block))
        pool.keep(work.kept)

    def _use_records(self, items: Sequence[Item], declared: Sequence[Declared]) -> None:
        """Readings that are series of their own go through the detectors of those at once."""
        origins: Sequence[Origin] = [*items, *declared]
        given: list[Given] = []
        self._guard(lambda: given.extend(reduce_predictions(items, self._rows.like)))
        self._guard(lambda: given.extend(reduce_samples(items, self._rows.like)))
        self._telemetry.count("samples", by=sum(item.size for item in items))
        if declared:
            values = torch.from_numpy(np.stack([each.values for each in declared]))
            given.append(Given([each.row for each in declared], range(len(items), len(origins)), values))
        step = np.array([origin.step for origin in origins], dtype=np.int64)
        read: list[Lines] = []
        for lines in by_pool(given, step):
            self._use_lines(lines, origins, read)
        if read:
            self._use_lines(joined(read), origins, read)

    def _use_lines(self, lines: Lines, origins: Sequence[Origin], read: list[Lines]) -> None:
        most = min(self._block_steps, SCORE_STEPS) if lines.pool.stream == "scores" else self._block_steps
        for work in sheets(lines, most):
            self._guard(partial(self._use_sheet, work, lines, origins, read))

    def _use_sheet(self, work: Sheet, lines: Lines, origins: Sequence[Origin], read: list[Lines]) -> None:
        """Readings that are series of their own are put to ``read``."""
        pool, block = lines.pool, lines_block(work, lines)

        def origin(change: Transition) -> Origin:
            return origins[int(lines.of[work.line[change.at, change.offset]])]

        if pool.stream == "series":
            block = expecting(block, work.rows, self._rows.bands, pool.like)
            self._report_series("series", pool.update(work.rows, block).transitions, work.rows, origin)
        else:
            judged = pool.update(work.rows, block)
            for change in judged.transitions:
                brought, key = origin(change), pool.keys[work.rows[change.at]]
                subject = key.subject if change.slot is None else brought.run.classes.name_of(change.slot)
                self._report(brought.run, key.phase, subject, change, brought.time)
            for name, fed in judged.fed.items():
                read.append(self._readings(work, lines, name, fed))
        pool.keep(work.kept)

    def _readings(self, work: Sheet, lines: Lines, name: str, values: Tensor) -> Lines:
        """A reading (R, T) as lines of series."""
        keys = [lines.pool.keys[row] for row in work.rows]
        found = [self._rows.series(self._runs[key.run], SeriesKey(key.phase, "reading", name)) for key in keys]
        taken = (work.line != NO_LINE) & (np.array(found) >= 0)[:, None]
        row = np.broadcast_to(np.array(found)[:, None], taken.shape)[taken]
        value, line = values[torch.from_numpy(taken).to(values.device)], work.line[taken]
        return Lines(self._rows.pool("series"), row, lines.of[line], lines.step[line], value[:, None])

    def _compared(self, formulas: list[_Formula]) -> list[PairPiece]:
        """What other phases make their totals by, each with what the training phase did at that time."""
        pieces = []
        for found in sorted(formulas, key=lambda formula: formula.order):
            run, phase = found.owner
            if phase == TRAIN:
                run.formula = (found.form, found.scale)
                continue
            total, trained = SeriesKey(phase, "total", "total"), SeriesKey(TRAIN, "total", "total")
            pair = self._rows.pair(run, PairKey("formulas", total), trained)
            numbers = dict(
                zip(PAIR_VALUES["formulas"], (run.formula[0], found.form, run.formula[1], found.scale), strict=True)
            )
            values = {name: np.array([number]) for name, number in numbers.items()}
            pieces.append(PairPiece(pair.row, run, found.time, np.array([found.step], dtype=np.int64), values))
        return pieces

    def _report_round(self, stream: Stream, work: Round[Piece], judged: Judged) -> None:
        self._report_series(
            stream, judged.transitions, work.rows, lambda change: work.piece_at(change.at, change.offset)
        )

    def _report_series(
        self, stream: Stream, changes: Iterable[Transition], rows: Sequence[int], piece: Callable[[Transition], Any]
    ) -> None:
        """``piece`` finds the one that brought the step of a change."""
        keys = self._rows.pool(stream).keys
        for change in changes:
            key: RowKey = keys[rows[change.at]]
            assert key.series is not None
            run, series, brought = self._runs[key.run], key.series, piece(change)
            if change.kind.together is not None:
                self._changes.append(Change(run, series, change, brought.time, brought.order))
            else:
                self._report(run, key.phase, series.label, change, brought.time, key.reference, series.role)

    def _report(
        self,
        run: Run,
        phase: str,
        subject: str | None,
        change: Transition,
        time: float,
        reference: SeriesKey | None = None,
        role: Role | None = None,
    ) -> None:
        self._tell(run, make_finding(run, phase, subject, change, self._thresholds(run), time, reference, role))

    def _thresholds(self, run: Run) -> Mapping[str, float]:
        return {**self._defaults, **run.thresholds()}

    def _tell(self, run: Run, finding: Finding) -> None:
        run.note(finding)
        self._telemetry.count("findings", finding.kind, finding.state)
        self._findings.append(finding)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (f.run, f.step, f.phase, f.kind, f.subject or "", f.began))


def _of_series(work: Round[ObjectivePiece]) -> list[Kept]:
    """The points of the series that go with objectives: at the same steps as theirs."""
    newest = {piece.row: piece.series for _, _, piece in work.placed} if work.kept else {}
    return [kept._replace(row=row) for kept in work.kept for row in newest[kept.row].tolist() if row >= 0]


def _formulas_of(work: Round[ObjectivePiece], fed: Mapping[str, Tensor]) -> Iterator[_Formula]:
    if "total_form" not in fed:
        return
    form, scale = (fed[name].double().cpu().numpy() for name in ("total_form", "total_scale"))  # (R, T)
    for place, start, piece in work.placed:
        at = start + len(piece.step) - 1
        if not np.isnan(form[place, at]):
            yield _Formula(
                piece.order,
                piece.owner,
                piece.time,
                int(piece.step[-1]),
                float(form[place, at]),
                float(scale[place, at]),
            )
