"""From the columns of one run to the records that its job would have published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, Final

import numpy as np

from losswatch.arrays import Floats, Ints, reported
from losswatch.fields import Measured
from losswatch.schema import Objective, Record, RunEnd, RunStart, Steps
from service.replay import notes, order
from service.replay.columns import Batch, Columns, any_reported, empty
from service.replay.mapping import Namer
from service.replay.notes import Notes
from service.replay.order import Order, Rows
from service.replay.scheme import Scheme
from service.replay.steps import Stepper, usable

BLOCK: Final = 64
"""Most steps of a record."""
HELD: Final = 4096
"""Most rows that are kept back until it is clear what follows them."""
GROUPS: Final = {"component": "components", "metric": "metrics"}
"""The field of a record for each role of many series."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What all records of a log have in common."""

    run: str
    time: float
    """Unix seconds, for rows that do not say when they were written."""
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """M steps of one phase, and the row (M) at which each of them begins."""

    phase: str
    steps: Ints
    values: Mapping[str, Floats]
    rows: Rows

    def part(self, start: int, stop: int) -> Stretch:
        """The steps whose rows are in a range, at most `BLOCK`."""
        chosen = slice(start, stop)
        return Stretch(
            self.phase, self.steps[chosen], {n: v[chosen] for n, v in self.values.items()}, self.rows[chosen]
        )


class Assembly:
    """Makes the records of the rows of one run, or of several after each other.

    Rows of training lead. A row of another phase whose step is missing or behind them is put at the last training
    step before it: evaluations that count epochs. A log that goes back is a restart of the run; one that goes
    back to where its first run began is a new run.
    """

    def __init__(self, origin: Origin, namer: Namer, scheme: Scheme, stepper: Stepper, said: Notes) -> None:
        self._origin, self._namer, self._scheme, self._stepper, self._said = origin, namer, scheme, stepper, said
        self._order = Order()
        self._held = Batch(np.empty(0), np.empty(0, dtype=np.bool_), {})
        self._trained = np.nan
        """The last training step so far."""
        self._newest: dict[str, int] = {}
        """The newest step published in this session, by phase."""
        self._run, self._session, self._seq = 1, 1, 0
        self._declared: RunStart | None = None
        self.published = False
        """Whether any step was."""

    def take(self, columns: Columns) -> Iterator[Record]:
        """Use the next rows."""
        self._held = self._held + self._stepped(columns)
        yield from self._use(self._settled())

    def close(self) -> Iterator[Record]:
        """Use what was kept back, and end the run."""
        yield from self._use(len(self._held))
        if self._declared is not None:
            yield RunEnd(**self._envelope(self._origin.time))

    def _stepped(self, columns: Columns) -> Batch:
        """The rows that have numbers and a step."""
        places = {name: self._namer.place(name) for name in columns.values}
        series = {name: v for name, v in columns.values.items() if places[name].role in ("total", *GROUPS)}
        used = any_reported(series.values(), columns.rows)
        train = "train" in self._namer.phases
        leads = any_reported((v for n, v in series.items() if places[n].phase == "train" or not train), columns.rows)
        steps = self._stepper(columns)
        steps = np.where(usable(steps), steps, np.where(reported(steps), np.inf, np.nan))
        rows = np.arange(len(steps))
        newest = np.maximum.accumulate(np.where(leads & np.isfinite(steps), rows, -1))
        trained = np.where(newest >= 0, steps[newest], self._trained)
        behind = ~leads & ~np.isnan(trained) & ~(steps >= trained)
        steps = np.where(behind, trained, steps)
        kept = used & np.isfinite(steps)
        self._said.count(notes.NO_STEP, int((used & ~kept).sum()))
        if len(trained):
            self._trained = float(trained[-1])
        wanted = {name: v for name, v in columns.values.items() if name in series or places[name].role == "at"}
        batch = Batch(steps, leads, wanted)
        return batch if kept.all() else batch[kept]

    def _settled(self) -> int:
        """How many of the rows held back can be used: later rows cannot change what becomes of them."""
        training = np.flatnonzero(self._held.leads)
        decided = len(training) - order.LOOKAHEAD
        if decided > 0:
            rises = np.flatnonzero(np.diff(self._held.steps[training[: decided + 1]]) != 0)
            end = int(training[rises[-1] + 1]) if len(rises) else 0
            if len(self._held) - end <= HELD:
                return end
            return int(training[decided])
        return len(self._held) if len(self._held) > HELD else 0

    def _use(self, end: int) -> Iterator[Record]:
        """Turn the first rows of those held back into records."""
        batch = self._held
        training = np.flatnonzero(batch.leads)
        ready = int(np.searchsorted(training, end))
        course = order.follow(self._order, training, batch.steps[training], ready)
        self._said.count(notes.SECOND_WRITER, len(course.strays))
        kept = np.ones(len(batch), dtype=np.bool_)
        kept[course.strays] = False
        for (start, _), (stop, new_run) in pairwise([(0, False), *course.cuts, (end, False)]):
            yield from self._records(batch[start:stop][kept[start:stop]])
            if stop < end:
                yield from self._restart(new_run)
        self._held = batch[end:]

    def _restart(self, new_run: bool) -> Iterator[Record]:
        """Go on as a new session of the run, or as a new run."""
        self._said.count(notes.NEW_RUN if new_run else notes.WENT_BACK)
        if new_run and self._declared is not None:
            yield RunEnd(**self._envelope(self._origin.time))
        self._run, self._session = (self._run + 1, 1) if new_run else (self._run, self._session + 1)
        self._seq, self._declared = 0, None
        self._newest.clear()

    def _records(self, batch: Batch) -> Iterator[Record]:
        """The records of rows of one session: blocks of all phases side by side, in the order of the rows."""
        if not len(batch):
            return
        stretches = [stretch for phase in self._namer.phases if (stretch := self._stretch(batch, phase)) is not None]
        if not stretches:
            return
        busiest = max(stretches, key=lambda stretch: len(stretch.steps))
        # A block ends where another phase reports: what compares phases needs to know which of them was where.
        others = [stretch.rows + 1 for stretch in stretches if stretch is not busiest]
        borders = np.unique(np.concatenate([busiest.rows[BLOCK::BLOCK], [len(batch)], *others])).tolist()
        starts = [0] * len(stretches)
        for border in borders:
            parts = []
            for i, stretch in enumerate(stretches):
                stop = int(np.searchsorted(stretch.rows, border))
                parts += [stretch.part(at, min(at + BLOCK, stop)) for at in range(starts[i], stop, BLOCK)]
                starts[i] = stop
            for part in sorted(parts, key=lambda part: int(part.rows[0])):
                yield from self._block(part, batch)

    def _stretch(self, batch: Batch, phase: str) -> Stretch | None:
        """What the rows have of a phase."""
        places = self._namer.places
        mine = {n: v for n, v in batch.values.items() if places[n].phase == phase and places[n].role != "at"}
        rows = np.flatnonzero(any_reported(mine.values(), len(batch)))
        if not len(rows):
            return None
        values = mine if len(rows) == len(batch) else {name: v[rows] for name, v in mine.items()}
        steps, values, kept = order.merged(batch.steps[rows], values, self._newest.get(phase), self._said)
        if not len(steps):
            return None
        self._newest[phase] = int(steps[-1])
        return Stretch(phase, steps, values, rows[kept])

    def _block(self, part: Stretch, batch: Batch) -> Iterator[Record]:
        """The record of at most `BLOCK` steps, after a declaration where there is something new to declare."""
        fields: dict[str, Any] = {}
        for name, values in part.values.items():
            if reported(values).any():
                place = self._namer.places[name]
                if place.role == "total":
                    fields["total"] = values
                else:
                    fields.setdefault(GROUPS[place.role], {})[place.name] = values
        if self._scheme.adds and "total" not in fields and "components" in fields:
            fields["total"] = reduce(add, fields["components"].values())
            given = np.logical_and.reduce([reported(values) for values in fields["components"].values()])
            fields["total"] = np.where(given, fields["total"], empty(len(part.steps)))
        time = self._origin.time
        if (at := self._times(batch, part.rows)) is not None:
            fields["at"] = at
            time = float(at[-1]) if np.isfinite(at[-1]) else time
        self.published = True
        yield from self._declare(time)
        yield Steps(
            **self._envelope(time), phase=part.phase, step=part.steps, measured=self._measured(part.phase), **fields
        )

    def _times(self, batch: Batch, rows: Rows) -> Floats | None:
        """When the rows were written (M), where the log says it."""
        named = (v[rows] for name, v in batch.values.items() if self._namer.places[name].role == "at")
        return next((values for values in named if reported(values).any()), None)

    def _declare(self, time: float) -> Iterator[Record]:
        """A run_start where there is something new to declare."""
        metrics = self._namer.directions()
        weights = self._scheme.weights
        phases = self._namer.summed if self._scheme.sums or weights else ()
        formula = Objective(form="weighted_sum", weights=dict(weights)) if weights else Objective(form="sum")
        objective = dict.fromkeys(phases, formula)
        before = self._declared
        if before is None or before.metrics != metrics or before.objective != objective:
            labels = dict(self._origin.labels)
            self._declared = RunStart(**self._envelope(time), labels=labels, metrics=metrics, objective=objective)
            yield self._declared

    def _measured(self, phase: str) -> Measured:
        return self._scheme.measured_in(phase, self._stepper.by_epoch)

    def _envelope(self, time: float) -> dict[str, Any]:
        suffix = f"#{self._run}" if self._run > 1 else ""
        self._seq += 1
        return {"run": self._origin.run + suffix, "session": str(self._session), "seq": self._seq - 1, "time": time}
