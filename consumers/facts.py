"""What a run's declaration and the roles of its series say about rows: the numbers of `detectors.streams.FACTS`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan
from typing import Final

import numpy as np

from consumers.courses import TRAIN
from consumers.pairs import direction
from consumers.pieces import Bands
from consumers.runs import ObjectiveRow, PairKey, Run, SeriesKey, StreamKey
from detectors.declaration.facts import overlap
from detectors.streams import FORMS, FORMULA, ROLES, VALUES, VARIANTS
from losswatch.arrays import Floats
from losswatch.schema import Objective, RunStart

Facts = Mapping[str, float | Sequence[float]]
UNDECLARED: Final[Facts] = {fact.name: [] if fact.per == "slot" else fact.default for fact in FORMULA}
"""Of an objective that nobody declared."""
MAX_BANDS: Final = 64
"""Expectations of one series that are kept: the first."""


def of_series(run: Run, key: SeriesKey) -> Facts:
    """Of a series row."""
    alone = key.role == "component" and SeriesKey(key.phase, "total", "total") not in run.series
    return {"role": float(ROLES.index(key.role)), "direction": direction(run, key), "alone": float(alone)}


def of_pair(run: Run, key: PairKey, reference: SeriesKey) -> Facts:
    """Of a row of a pair."""
    facts: dict[str, float] = {}
    if key.stream == "formulas":
        facts["unlike"] = float(_unlike(run, key.judged.phase))
    else:
        facts["direction"] = direction(run, key.judged)
    if key.stream == "generalization":
        facts["floor"] = float(not (key.judged.role == "total" and _uncertainty_weighted(run, key.judged.phase)))
    if key.stream == "slices":
        facts["reference_direction"] = direction(run, reference)
    return facts


def _unlike(run: Run, phase: str) -> bool:
    """Whether this phase and the training phase declare the same form with other numbers in it."""
    declared = run.declared.objective if run.declared else {}
    if phase not in declared or TRAIN not in declared or declared[phase].form != declared[TRAIN].form:
        return False
    names = declared[phase].weights.keys() | declared[TRAIN].weights.keys()
    one, other = (_formula(declared[of], dict.fromkeys(names, 0)) for of in (phase, TRAIN))
    terms = [(declared[of].base, declared[of].factor) for of in (phase, TRAIN)]
    return one != other or terms[0] != terms[1]


def _uncertainty_weighted(run: Run, phase: str) -> bool:
    """Whether log variances may be in a total of this phase, or in the training total that it is compared with."""
    declared = run.declared.objective if run.declared else {}
    return bool(run.log_vars) or any(of in declared and declared[of].form == "kendall" for of in (phase, TRAIN))


def of_objective(run: Run, phase: str, row: ObjectiveRow) -> Facts:
    """Of an objective row: its own declaration, and the training phase's, which totals are made comparable by."""
    facts: dict[str, float | Sequence[float]] = {"components": float(len(row.slots))}
    for prefix, of in (("", phase), ("train_", TRAIN)):
        declared = run.declared.objective.get(of) if run.declared else None
        facts |= {prefix + name: value for name, value in _formula(declared, row.slots).items()}
    return facts


def of_stream(run: Run, key: StreamKey) -> Facts:
    """Of a row of a stream of records."""
    if key.stream != "labels":
        return {}
    known = set(run.classes.declared)
    declared = [float(name in known) for name in run.classes.names] if known else []
    return {"training": float(key.phase == TRAIN), "declared_class": declared}


def of_declaration(record: RunStart) -> Iterator[tuple[str, Floats]]:
    """What a run declares about each phase, in the order of `detectors.streams.VALUES`; NaN where it does not."""
    for phase in dict.fromkeys((TRAIN, *record.split, *record.precision)):
        ranges, formats = (record.split.get(phase), record.split.get(TRAIN)), record.precision
        values = dict.fromkeys(VALUES["declaration"].row, nan)
        if phase == TRAIN:
            values["parameters"] = nan if record.parameters is None else float(record.parameters)
            values["samples"] = float(record.samples.get(TRAIN, nan))
        elif ranges[0] is not None and ranges[1] is not None:
            values["overlap"] = overlap(ranges[0], ranges[1])
        if phase != TRAIN and phase in formats and TRAIN in formats:
            values["precision_differs"] = float(formats[phase] != formats[TRAIN])
        if not all(isnan(value) for value in values.values()):
            yield phase, np.array(list(values.values()))


def _formula(declared: Objective | None, slots: Mapping[str, int]) -> Facts:
    if declared is None:
        return {
            "form": 0.0,
            "variant": 0.0,
            "scale": 1.0,
            "regularizer": 0.0,
            "base": -1.0,
            "factor": -1.0,
            "declared": [],
        }
    return {
        "form": float(FORMS.index(declared.form)),
        "variant": float(VARIANTS.index(declared.variant)),
        "scale": declared.scale,
        "regularizer": declared.regularizer,
        "base": float(slots.get(declared.base or "", -1)),
        "factor": float(slots.get(declared.factor or "", -1)),
        "declared": [declared.weights.get(name, 1.0) for name in slots],
    }


def bands_of(run: Run, key: SeriesKey) -> Bands | None:
    """What the run expects of a series; None where it expects nothing."""
    declared = run.declared.expect if run.declared else []
    wanted = sorted(
        (band for band in declared if (band.phase, band.series) == (key.phase, key.label)),
        key=lambda band: band.from_step,
    )[:MAX_BANDS]
    if not wanted:
        return None
    return Bands(
        np.array([band.from_step for band in wanted], dtype=np.int64),
        np.array([nan if band.low is None else band.low for band in wanted]),
        np.array([nan if band.high is None else band.high for band in wanted]),
    )
