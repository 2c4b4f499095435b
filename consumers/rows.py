"""Where every run's series, objectives and predictions live: the pools, their rows, and the caps on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Final

import numpy as np
import torch

from consumers import facts
from consumers.classes import Classes
from consumers.pairs import pairs_with
from consumers.pieces import Bands
from consumers.pools import Pool
from consumers.runs import ObjectiveRow, PairKey, PairRow, RowKey, Run, SeriesKey, StreamKey, StreamRow
from consumers.split import StepsPart
from consumers.telemetry import Telemetry
from detectors.cell import Cell
from detectors.series.health import Health
from detectors.series.trace import Trace
from detectors.streams import Sampled, Stream
from losswatch.arrays import Ints

WIDTHS: Final = (2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)
"""Slots of the objective pools: an objective lives in the narrowest that holds its components."""
CLASS_STREAMS: Final = {"predictions", "labels", "scores"}
"""Streams that know classes by their slots."""
CLASS_WIDTHS: Final = (0, 4, 16, 64, 256, 1024)
"""Slots of the pools of streams whose slots are classes. Labels of the most are counted in float32, or a few phases
would make a snapshot longer than a broker takes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the memory and the label sets."""

    runs: int = 20_000
    series_per_run: int = 256
    name_length: int = 200


class Rows:
    """Gives runs their rows. ``defaults`` are the deployment's thresholds, ``like`` the state's dtype and device."""

    def __init__(
        self,
        cells: Sequence[Cell],
        defaults: Mapping[str, float],
        limits: Limits,
        like: torch.Tensor,
        telemetry: Telemetry,
    ) -> None:
        self._cells, self.defaults, self._limits, self._telemetry = cells, defaults, limits, telemetry
        self.like = like
        self.pools: dict[tuple[Stream, int], Pool] = {}
        self.bands: dict[int, Bands] = {}
        """What is expected of series, by row."""

    def pool(self, stream: Stream, slots: int = 0) -> Pool:
        """The pool of a stream, made at its first use."""
        if (stream, slots) not in self.pools:
            like = self.like.float() if (stream, slots) == ("labels", CLASS_WIDTHS[-1]) else self.like
            self.pools[stream, slots] = Pool(stream, slots, self._cells, self.defaults, like)
        return self.pools[stream, slots]

    def drop(self, run: Run) -> None:
        """Free all rows of a run."""
        for objective in run.objectives.values():
            objective.pool.drop(objective.row)
        for row in run.series.values():
            self.pool("series").drop(row)
            self.bands.pop(row, None)
        for stream in run.streams.values():
            stream.pool.drop(stream.row)
        for pair in run.pairs.values():
            self.pool(pair.stream).drop(pair.row)

    def declare(self, run: Run) -> None:
        """Set what the run declared; a threshold that it no longer declares goes back to the deployment's."""
        run.places.clear()
        thresholds = {**self.defaults, **run.thresholds()}
        for phase, objective in run.objectives.items():
            objective.pool.set_thresholds(objective.row, thresholds)
            self._weigh(run, phase, objective)
        for key, row in run.series.items():
            self.pool("series").set_thresholds(row, thresholds)
            self._expect(run, key, row)
        for stream_key, stream in run.streams.items():
            stream.pool.set_thresholds(stream.row, thresholds)
            stream.pool.set_facts(stream.row, facts.of_stream(run, stream_key))
        for pair_key, pair in run.pairs.items():
            self.pool(pair.stream).set_thresholds(pair.row, thresholds)
            self.pool(pair.stream).set_facts(pair.row, facts.of_pair(run, pair_key, pair.reference))

    def _weigh(self, run: Run, phase: str, row: ObjectiveRow) -> None:
        run.weigh(phase, row)
        row.pool.set_facts(row.row, facts.of_objective(run, phase, row))

    def _expect(self, run: Run, key: SeriesKey, row: int) -> None:
        self.pool("series").set_facts(row, facts.of_series(run, key))
        if (bands := facts.bands_of(run, key)) is not None:
            self.bands[row] = bands
        else:
            self.bands.pop(row, None)

    def objective(self, run: Run, part: StepsPart, settle: Callable[[], None]) -> ObjectiveRow | None:
        """The phase's row, with a slot for every component of the part that the caps allow; None if they allow none.

        ``settle`` is called before the row moves to a wider pool: pieces that point at the old one must be used first.
        """
        row = run.objectives.get(part.phase)
        if row is None:
            if not self._room(run, part.phase):
                return None
            row = run.objectives[part.phase] = self._place(run, part.phase, len(part.components))
        if part.total is not None and row.series[0] < 0:
            if row.slots:
                settle()  # so far its components were judged for themselves
            row.series = _with(row.series, 0, self.series(run, SeriesKey(part.phase, "total", "total")))
            for name in row.slots:
                if (place := run.series.get(key := SeriesKey(part.phase, "component", name))) is not None:
                    self.pool("series").set_facts(place, facts.of_series(run, key))
        if new := [name for name in part.components if name not in row.slots]:
            self._add_slots(run, part.phase, row, new, settle)
        return row

    def series(self, run: Run, key: SeriesKey) -> int:
        """The row of a series; -1 where a cap refuses a new one."""
        row = run.series.get(key)
        if row is None:
            if not self._room(run, max(key.name, key.slice or "", key=len)):
                return -1
            key = key._replace(phase=intern(key.phase), name=intern(key.name))  # the same in most runs
            row = run.series[key] = self._add(self.pool("series"), run, key.phase, key)
            self._expect(run, key, row)
            for pair, reference in pairs_with(run, key):
                self.pair(run, pair, reference)
        return row

    def latest(self, run: Run, key: SeriesKey) -> tuple[int, float] | None:
        """The newest step and value of a series; None where it has none, or none that is a number."""
        pool = self.pool("series")
        cell = next((cell for cell in pool.cells if isinstance(cell, Trace)), None)
        if cell is None or (row := run.series.get(key)) is None:
            return None
        step, value = (pool.state[f"{cell.name}.{name}"][row].item() for name in ("newest", "latest"))
        return (int(step), value) if math.isfinite(value) else None

    def pair(self, run: Run, key: PairKey, reference: SeriesKey) -> PairRow:
        """The row of a pair, made where it is new."""
        pair = run.pairs.get(key)
        if pair is None:
            pool = self.pool(key.stream)
            row = self._add(pool, run, key.judged.phase, key.judged, reference)
            pair = run.pairs[key] = PairRow(key.stream, row, reference)
            pool.set_facts(row, facts.of_pair(run, key, reference))
        return pair

    def sampled(self, run: Run, key: StreamKey, slots: int, settle: Callable[[], None]) -> StreamRow | None:
        """The row of a stream of records, with so many slots or more; None where a cap refuses a new one.

        ``settle`` is called before the row moves to a wider pool: pieces that point at the old one must be used first.
        """
        row = run.streams.get(key)
        if row is not None and slots <= row.pool.slots and bool(slots) >= bool(row.pool.slots):
            return row
        run.places.clear()
        if row is None:
            if not self._room(run, max(key.phase, key.subject or "", key=len)):
                return None
            pool = self.pool(key.stream, _width(key.stream, slots))
            row = run.streams[key] = StreamRow(pool, self._add(pool, run, key.phase, subject=key.subject))
            pool.set_facts(row.row, facts.of_stream(run, key))
        else:
            settle()
            wider = self.pool(key.stream, _width(key.stream, slots))
            moved = self._add(wider, run, key.phase, subject=key.subject)
            row.pool.widen(row.row, wider, moved)
            row.pool.drop(row.row)
            row.pool, row.row = wider, moved
        return row

    def declare_classes(self, run: Run) -> None:
        """Start the classes of a run afresh where it declares other ones than it had."""
        declared = list(run.declared.classes or []) if run.declared else []
        if [str(label) for label in declared] == run.classes.declared:
            return
        run.classes = Classes(declared)
        run.places.clear()
        if run.references is not None:
            run.references.forget_labels()
        for key in [key for key in run.streams if key.stream in CLASS_STREAMS]:
            row = run.streams.pop(key)
            run.forget_findings(key.phase, row.pool)
            row.pool.drop(row.row)

    def name_classes(self, run: Run) -> None:
        """Tell the rows that the run has more classes than before."""
        for key, row in run.streams.items():
            row.pool.version += 1
            if run.classes.declared:
                row.pool.set_facts(row.row, facts.of_stream(run, key))

    def has_room_for_phase(self, run: Run, phase: str) -> bool:
        """Whether the run may use this phase; counts a refusal."""
        if phase not in run.newest_step and len(run.newest_step) >= self._limits.series_per_run:
            return self._refuse("series_per_run")
        return True

    def has_room_for_run(self, runs: int) -> bool:
        """Whether one more run may be watched; counts a refusal."""
        return runs < self._limits.runs or self._refuse("runs")

    def _add(
        self,
        pool: Pool,
        run: Run,
        phase: str,
        series: SeriesKey | None = None,
        reference: SeriesKey | None = None,
        subject: str | None = None,
    ) -> int:
        row = pool.add(RowKey(run.run, phase, series, reference, subject))
        pool.set_thresholds(row, run.thresholds())
        return row

    def _place(self, run: Run, phase: str, components: int) -> ObjectiveRow:
        """A fresh row in the narrowest pool that holds so many components."""
        width = next((width for width in WIDTHS if width >= components), WIDTHS[-1])
        pool = self.pool("objective", width)
        row = self._add(pool, run, phase)
        return ObjectiveRow(pool, row, {}, np.ones(width), np.full(1 + width, -1, dtype=np.int64))

    def _add_slots(
        self, run: Run, phase: str, row: ObjectiveRow, names: Sequence[str], settle: Callable[[], None]
    ) -> None:
        """Give components a slot, in a wider pool if need be."""
        names = self._affordable(run, names, WIDTHS[-1] - len(row.slots))
        if names and row.slots and row.series[0] >= 0:
            settle()
            self.pool("series").restart(int(row.series[0]), Health)  # a total of more terms is another total
        if len(row.slots) + len(names) > row.pool.slots:
            settle()
            wider = self._place(run, phase, len(row.slots) + len(names))
            row.pool.widen(row.row, wider.pool, wider.row)
            row.pool.drop(row.row)
            wider.series[: len(row.series)] = row.series
            row.pool, row.row, row.series = wider.pool, wider.row, wider.series
        for name in names:
            row.slots[name] = len(row.slots)
            row.series = _with(row.series, len(row.slots), self.series(run, SeriesKey(phase, "component", name)))
        row.pool.version += 1
        self._weigh(run, phase, row)

    def _affordable(self, run: Run, names: Sequence[str], most: int) -> list[str]:
        """The names of new components that the caps allow; counts what they refuse."""
        taken: list[str] = []
        for name in names:
            if len(taken) == most:
                self._refuse("components")
            elif self._room(run, name, len(taken)):
                taken.append(name)
        return taken

    def _room(self, run: Run, name: str, more: int = 0) -> bool:
        """Whether the caps allow one series of this name, and ``more``; counts what they refuse."""
        if len(name) > self._limits.name_length:
            return self._refuse("name_length")
        if len(run.series) + len(run.objectives) + len(run.streams) + more >= self._limits.series_per_run:
            return self._refuse("series_per_run")
        return True

    def _refuse(self, cap: str) -> bool:
        self._telemetry.count("refused", cap)
        return False


def _width(stream: Sampled, slots: int) -> int:
    """Slots of the narrowest pool that holds so many; scores keep exactly as many samples as they are told to."""
    return slots if stream == "scores" else next((width for width in CLASS_WIDTHS if width >= slots), CLASS_WIDTHS[-1])


def _with(series: Ints, place: int, row: int) -> Ints:
    """A copy with one entry set: pieces already gathered keep the array they were given."""
    changed = series.copy()
    changed[place] = row
    return changed
