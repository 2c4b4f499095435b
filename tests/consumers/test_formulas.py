"""Phases whose totals are made differently, through the whole fleet."""

from __future__ import annotations

import numpy as np

from losswatch.schema import Record, Steps
from tests.consumers.builders import a_fleet, decoded, make_start
from tests.detectors.aggregation.totals import Floats, kendall, log_vars, losses

KENDALL = {"form": "kendall", "variant": "half"}
X, S = losses(120), log_vars(120)
NAMES = ("casualty", "regime", "transition", "anomaly", "forecast", "daily_forecast")


def steps(phase: str, seq: int, where: slice, total: Floats, *, logs: bool) -> Steps:
    return Steps(
        run="b",
        session="s",
        seq=seq,
        time=1000.0 + seq,
        phase=phase,
        step=np.arange(120)[where],
        total=total[where],
        components={name: X[k, where] for k, name in enumerate(NAMES)},
        log_vars={name: S[k, where] for k, name in enumerate(NAMES)} if logs else {},
    )


def told(test: Floats) -> list[tuple[str, str, str]]:
    """Kind, phase and state of what is found in a run that is trained and validated alike and tested once."""
    weighted = kendall(X, S)
    records: list[Record] = [make_start("b", objective={"train": KENDALL, "val": KENDALL})]
    records += [
        steps("train", 1, slice(0, 60), weighted, logs=True),
        steps("val", 2, slice(59, 60), weighted, logs=False),
    ]
    records += [
        steps("train", 3, slice(60, 120), weighted, logs=True),
        steps("test", 4, slice(119, 120), test, logs=False),
    ]
    fleet = a_fleet()
    found = [finding for record in decoded(records) for finding in fleet.take([record])[0]]
    assert all("mean of the components" in finding.message for finding in found)
    return [(finding.kind, finding.phase, finding.state) for finding in found]


def test_a_single_test_total_that_is_a_mean_is_told_from_uncertainty_weighting() -> None:
    assert told(X.mean(0)) == [("aggregation_mismatch", "test", "firing")]


def test_a_test_total_that_is_made_as_in_training_is_nothing_to_tell() -> None:
    assert told(kendall(X, S)) == []


def test_phases_that_declare_the_same_form_with_other_weights_are_told_and_those_with_the_same_are_not() -> None:
    for other in (2.0, 5.0):
        declared = {
            phase: {"form": "weighted_sum", "weights": {"regime": w}} for phase, w in (("train", 2.0), ("val", other))
        }
        records: list[Record] = [make_start("b", objective=declared)]
        for seq, (phase, weight) in enumerate((("train", 2.0), ("val", other)), 1):
            records.append(steps(phase, seq, slice(0, 120), X.sum(0) + (weight - 1) * X[1], logs=False))
        findings, _ = a_fleet().take(decoded(records))
        assert [f.kind for f in findings] == (["aggregation_mismatch"] if other != 2.0 else [])
        assert all("declared with other weights" in f.message for f in findings)
