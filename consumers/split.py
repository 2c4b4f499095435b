"""From a steps record to the parts that go through the detectors: ordered, and short enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from consumers.courses import Restart
from consumers.pieces import STEPS
from consumers.points import APART
from consumers.runs import Run, SeriesKey
from detectors.aggregation.formulas import kendall_weights
from detectors.streams import MEASURED, Role
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
    """Place in `detectors.streams.MEASURED`."""
    divided_by: int = 1
    saved: bool = False
    """Whether the job made a checkpoint at its last step."""

    def columns(self) -> dict[SeriesKey, Floats]:
        """Every series of the part."""
        found = {SeriesKey(self.phase, "component", name): values for name, values in self.components.items()}
        if self.total is not None:
            found[SeriesKey(self.phase, "total", "total")] = self.total
        return found | {SeriesKey(self.phase, *key): values for key, values in self.series.items()}


def parts_of(run: Run, record: Steps) -> tuple[list[StepsPart], int, Restart | None]:
    """The record's parts, how many of its steps came late and are left out, and whether the job went back before it.

    A step is late if its session has reported the same or a later one of the phase before, unless the job went back:
    see `consumers.courses`. A part ends where the job made a checkpoint.
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
    objective = record.total is not None or bool(record.components)  # other numbers may be of earlier steps
    counts, restart = run.follow(record, record.step, tells=objective)
    late = len(counts) - int(counts.sum())
    saved = np.array([name is not None for name in record.checkpoint or ()], dtype=np.bool_)
    if late:
        whole = _select(whole, counts)
        saved = saved[counts] if len(saved) else saved
    steps = len(whole.step)
    if not saved.any() and steps <= STEPS:
        return ([whole] if steps else []), late, restart
    return (
        [
            replace(_select(whole, slice(start, stop)), saved=bool(saved[stop - 1]) if len(saved) else False)
            for start, stop in pairwise(_cuts(steps, saved))
        ],
        late,
        restart,
    )


def _cuts(steps: int, saved: Bools) -> list[int]:
    """Where parts begin and end: at checkpoints, some way from each other, and so that none is too long."""
    cuts = [0]
    for end in [*(np.flatnonzero(saved[:-1]) + 1).tolist(), steps]:
        if end == steps or end - cuts[-1] >= APART:
            cuts += [*range(cuts[-1] + STEPS, end, STEPS), end]
    return cuts


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
