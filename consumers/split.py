"""From a steps record to the parts that go through the detectors: ordered, and short enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from consumers.pieces import STEPS
from consumers.runs import Run, SeriesKey
from detectors.aggregation.formulas import kendall_weights
from detectors.cell import MEASURED, Role
from losswatch.arrays import Bools, Floats, Ints
from losswatch.schema import Objective, Steps


@dataclass(frozen=True, slots=True)
class StepsPart:
    """At most `consumers.columns.STEPS` steps of a record; every array has the length of ``step``."""

    phase: str
    time: float
    step: Ints
    total: Floats | None
    components: Mapping[str, Floats]
    weights: Mapping[str, Floats]
    """By component: what the step itself says, or what its log variances make of it."""
    log_vars: Mapping[str, Floats]
    """Kendall's s by component."""
    series: Mapping[tuple[Role, str, str | None], Floats]
    """Metrics, and metrics of slices: by role, name and slice."""
    measured: int = 0
    """Place in `detectors.cell.MEASURED`."""
    divided_by: int = 1

    def columns(self) -> dict[SeriesKey, Floats]:
        """Every series of the part."""
        found = {SeriesKey(self.phase, "component", name): values for name, values in self.components.items()}
        if self.total is not None:
            found[SeriesKey(self.phase, "total", "total")] = self.total
        return found | {SeriesKey(self.phase, *key): values for key, values in self.series.items()}


def parts_of(run: Run, record: Steps) -> tuple[list[StepsPart], int]:
    """The record's parts, and how many of its steps came late and are left out.

    A step is late if its session has reported the same or a later one of the phase before. A new
    session may start anywhere: a job restarted from a checkpoint goes back.
    """
    whole = StepsPart(
        phase=record.phase,
        time=record.time,
        step=record.step,
        total=record.total,
        components=record.components,
        weights=_weights(run.objective(record.phase), record),
        log_vars=record.log_vars,
        series={("metric", name, None): values for name, values in record.metrics.items()}
        | {("slice", name, part): values for part, named in record.slices.items() for name, values in named.items()},
        measured=MEASURED.index(record.measured),
        divided_by=record.divided_by,
    )
    late = 0
    session = run.sessions.by_id.get(record.session) if record.session is not None and record.seq is not None else None
    if session is not None:
        newest = session.newest_step
        keep = _ordered(record.step, newest.get(record.phase))
        late = len(keep) - int(keep.sum())
        if late:
            whole = _select(whole, keep)
        if len(whole.step):
            newest[record.phase] = int(whole.step[-1])
    if len(whole.step) <= STEPS:
        return ([whole] if len(whole.step) else []), late
    cuts = range(0, len(whole.step), STEPS)
    return [_select(whole, slice(start, start + STEPS)) for start in cuts], late


def _ordered(step: Ints, newest: int | None) -> Bools:
    """Which steps are later than all before them."""
    floor = np.iinfo(np.int64).min if newest is None else newest
    before = np.maximum.accumulate(np.concatenate([[floor], step[:-1]]))
    return step > before if newest is not None else np.concatenate([[True], step[1:] > before[1:]])


def _weights(objective: Objective, record: Steps) -> Mapping[str, Floats]:
    if objective.form != "kendall" or not record.log_vars:
        return record.weights
    with np.errstate(over="ignore", invalid="ignore"):  # s of -1000 makes an infinite weight
        made = {name: kendall_weights(s, objective.variant, objective.scale) for name, s in record.log_vars.items()}
    return made | record.weights


def _select(part: StepsPart, where: Bools | slice) -> StepsPart:
    return replace(
        part,
        step=part.step[where],
        total=None if part.total is None else part.total[where],
        components={name: values[where] for name, values in part.components.items()},
        weights={name: values[where] for name, values in part.weights.items()},
        log_vars={name: values[where] for name, values in part.log_vars.items()},
        series={key: values[where] for key, values in part.series.items()},
    )
