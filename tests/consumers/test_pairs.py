"""Which series are judged against which others, and what their rows get to see."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from consumers.pairs import direction, pairs_with
from consumers.picture import Painter
from consumers.runs import PairKey, Run, SeriesKey
from detectors.streams import MEASURED
from losswatch.fields import Measured
from losswatch.schema import Finding, RunStart
from tests.consumers.builders import a_fleet, decoded, make_start, make_steps

TRAIN = SeriesKey("train", "total", "total")
VAL = SeriesKey("val", "total", "total")
ACCURACY = SeriesKey("val", "metric", "accuracy")


def a_run(*keys: SeriesKey, **declared: Any) -> Run:
    """A run that has reported these series."""
    run = Run("r", 0, 0.0, 0.0, declared=RunStart(run="r", time=0.0, **declared))
    run.series = {key: i for i, key in enumerate(keys)}
    return run


def pairs(*keys: SeriesKey, **declared: Any) -> set[tuple[PairKey, SeriesKey]]:
    """All pairs of a run with these series."""
    run = a_run(*keys, **declared)
    return {pair for key in keys for pair in pairs_with(run, key)}


def test_the_total_of_another_phase_is_judged_against_that_of_training() -> None:
    assert pairs(TRAIN, VAL) == {(PairKey("generalization", VAL), TRAIN)}
    assert pairs(VAL, SeriesKey("test", "total", "total")) == set(), "there is no training to compare with"


def test_a_metric_is_judged_against_the_training_total_and_without_one_against_that_of_its_phase() -> None:
    assert (PairKey("decoupling", ACCURACY), TRAIN) in pairs(TRAIN, VAL, ACCURACY)
    assert (PairKey("decoupling", ACCURACY), VAL) in pairs(VAL, ACCURACY)


def test_a_metric_of_unknown_direction_is_not_judged_unless_it_is_declared() -> None:
    strange = SeriesKey("val", "metric", "zorp")
    assert pairs(VAL, strange) == set()
    assert pairs(VAL, strange, metrics={"zorp": "higher"}) == {(PairKey("decoupling", strange), VAL)}


def test_a_declared_direction_wins_over_the_name() -> None:
    assert direction(a_run(), ACCURACY) == 1.0
    assert direction(a_run(metrics={"accuracy": "lower"}), ACCURACY) == -1.0
    assert direction(a_run(), TRAIN) == -1.0


def test_a_slice_is_judged_against_its_whole_and_without_one_against_the_total() -> None:
    part, whole = SeriesKey("val", "slice", "mae", "exp-7"), SeriesKey("val", "metric", "mae")
    assert (PairKey("slices", part), whole) in pairs(VAL, whole, part)
    assert pairs(VAL, part) == {(PairKey("slices", part), VAL)}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_pair_begins_with_what_its_reference_said_last(at_once: bool) -> None:
    fleet = a_fleet()
    records = decoded([make_steps("r", 0, 8, seq=0), make_steps("r", 7, 1, seq=1, phase="val")])
    for batch in [records] if at_once else [[record] for record in records]:
        fleet.take(batch)
    run = fleet.runs["r"]
    pair = run.pairs[PairKey("generalization", VAL)]
    pool = fleet.rows.pool("generalization")
    assert pair.reference == TRAIN
    assert pool.state["overfitting.judged_count"][pair.row].item() == 1
    assert pool.state["overfitting.reference_count"][pair.row].item() == 1, "the training at that step"
    newest = make_steps("r", 0, 8).total
    assert newest is not None
    assert pool.state["overfitting.level_reference"][pair.row].item() == pytest.approx(newest[-1])
    fleet.take(decoded([make_steps("r", 8, 8, seq=2)], first=2))
    assert pool.state["overfitting.reference_count"][pair.row].item() == 9


def test_a_pair_forgets_what_a_job_took_back() -> None:
    fleet = a_fleet()
    start, again = make_steps("r", 0, 20, seq=0), make_steps("r", 0, 1, seq=0, phase="val", session="later")
    fleet.take(decoded([start, again]))
    fleet.take(decoded([make_steps("r", 0, 8, seq=1, session="later")], first=2))
    pair = fleet.runs["r"].pairs[PairKey("generalization", VAL)]
    assert fleet.rows.pool("generalization").state["overfitting.reference_count"][pair.row].item() == 8


def test_what_a_validation_showed_is_known_while_training_goes_on() -> None:
    fleet = a_fleet()
    validations = [make_steps("r", 10 * i + 9, 1, seq=2 * i + 1, phase="val") for i in range(8)]
    training = [make_steps("r", 10 * i, 10, seq=2 * i) for i in range(8)]
    records = [record for both in zip(training, validations, strict=True) for record in both]
    fleet.take(decoded(records))
    shown = Painter(fleet, 300.0).paint(0.0)
    fleet.take(decoded([make_steps("r", 80, 10, seq=16)], first=len(records)))
    after = Painter(fleet, 300.0).paint(0.0)
    key = ("val", "total")
    assert shown.of_run("r")["generalization_gap"][key] == after.of_run("r")["generalization_gap"][key]
    assert not [words for words in after.runs["r"].warming if words.startswith(("overfitting", "erratic"))]


def found_in(records: list[Any], kind: str) -> list[Finding]:
    """Findings of a kind, fed one record at a time."""
    fleet = a_fleet()
    findings = []
    for i, record in enumerate(records):
        findings += fleet.take(decoded([record], first=i))[0]
    return [finding for finding in findings if finding.kind == kind]


def a_job(**validation: Any) -> list[Any]:
    """Training that falls, and a validation after every 4 steps with what is given, by its number."""
    records: list[Any] = [make_start("r")]
    for number in range(30):
        total = np.geomspace(1.0, 0.1, 120)[4 * number : 4 * number + 4]
        records.append(make_steps("r", 4 * number, 4, seq=len(records), components=0, total=total, metrics={}))
        own = {name: values(number) for name, values in validation.items()}
        step = 4 * number + 3
        records.append(make_steps("r", step, 1, seq=len(records), phase="val", components=0, metrics={}, **own))
    return records


def test_overfitting_is_found_across_phases_and_names_its_reference_and_checkpoint() -> None:
    records = a_job(
        total=lambda n: np.array([1 - 0.08 * n if n < 8 else 0.44 + 0.03 * (n - 8)]), checkpoint=lambda n: [f"{n}.pt"]
    )
    firing = next(finding for finding in found_in(records, "overfitting") if finding.state == "firing")
    assert (firing.phase, firing.subject) == ("val", "total")
    assert "train total" in firing.message
    assert ".pt)" in firing.message


def test_a_slice_that_gets_worse_is_found_and_told_by_its_name() -> None:
    records = a_job(
        total=lambda n: np.array([0.97**n]),
        slices=lambda n: {"exp-7": {"mae": np.array([1 - 0.05 * n if n < 10 else 0.5 + 0.03 * (n - 10)])}},
        checkpoint=lambda n: [f"{n}.pt"],
    )
    firing = next(finding for finding in found_in(records, "slice_divergence") if finding.state == "firing")
    assert firing.subject == "exp-7/mae"
    assert "Best for it: " in firing.message


def test_a_declared_band_reaches_the_series_from_its_step_on() -> None:
    fleet = a_fleet()
    expect = [
        {"series": "total", "from_step": 3, "high": 1.2},
        {"series": "total", "from_step": 6, "high": 0.6, "low": 0.1},
        {"series": "c0", "phase": "val", "high": 9.0},
    ]
    fleet.take(decoded([make_start("r", expect=expect), make_steps("r", 0, 8, seq=1)]))
    bands = fleet.rows.bands[fleet.runs["r"].series[TRAIN]]
    assert bands.from_step.tolist() == [3, 6]
    assert bands.high.tolist() == [1.2, 0.6]
    np.testing.assert_array_equal(bands.low, [np.nan, 0.1])
    assert len(fleet.rows.bands) == 1


def test_log_variances_are_carried_to_phases_that_report_none() -> None:
    fleet = a_fleet()
    log_vars = {"c0": np.array([1.0, 1.5])}
    fleet.take(decoded([make_steps("r", 0, 2, seq=0, log_vars=log_vars), make_steps("r", 2, 2, seq=1, phase="val")]))
    assert fleet.runs["r"].log_vars == {"c0": 1.5}


def test_the_ways_of_measuring_are_those_of_the_wire() -> None:
    assert get_args(Measured) == MEASURED


@pytest.mark.parametrize("length", [1, 250])
def test_only_the_newest_checkpoints_are_remembered(length: int) -> None:
    run = a_run()
    for step in range(length):
        run.name_checkpoint(step, f"{step}.pt")
    assert len(run.checkpoints) == min(length, 200)
    assert run.checkpoints[length - 1] == f"{length - 1}.pt"
