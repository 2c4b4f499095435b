"""What a run says about its series, as detectors know it."""

from __future__ import annotations

import numpy as np
import pytest

from consumers.fleet import Fleet
from consumers.runs import PairKey, SeriesKey
from losswatch.schema import Objective
from tests.consumers.builders import a_fleet, decoded, make_start, make_steps

TOTAL = SeriesKey("val", "total", "total")
COMPONENT = SeriesKey("val", "component", "c0")


def floor_of(fleet: Fleet, judged: SeriesKey) -> float:
    """Whether detectors take zero for the least that a series of another phase can be."""
    pair = fleet.runs["r"].pairs[PairKey("generalization", judged)]
    return float(fleet.rows.pool("generalization").state["fact.floor"][pair.row].item())


@pytest.mark.parametrize("at_once", [True, False])
def test_totals_with_log_variances_may_be_below_zero_and_their_components_may_not(at_once: bool) -> None:
    fleet = a_fleet()
    plain = [make_steps("r", 0, 4, phase="train", seq=0), make_steps("r", 0, 4, phase="val", seq=1)]
    told = make_steps("r", 4, 4, seq=2, log_vars={"c0": np.full(4, 0.5), "c1": np.full(4, -0.5)})
    fleet.take(decoded(plain))
    assert floor_of(fleet, TOTAL) == 1
    records = decoded([told, make_steps("r", 4, 4, phase="val", seq=3)], first=2)
    for batch in [records] if at_once else [[record] for record in records]:
        fleet.take(batch)
    assert floor_of(fleet, TOTAL) == 0
    assert floor_of(fleet, COMPONENT) == 1


@pytest.mark.parametrize("phase", ["train", "val"])
def test_so_may_those_that_are_declared_to_be_uncertainty_weighted(phase: str) -> None:
    fleet = a_fleet()
    start = make_start("r", objective={phase: Objective(form="kendall")}, seq=0)
    steps = [make_steps("r", 0, 4, phase="train", seq=1), make_steps("r", 0, 4, phase="val", seq=2)]
    fleet.take(decoded([start, *steps]))
    assert floor_of(fleet, TOTAL) == 0
    assert floor_of(fleet, COMPONENT) == 1
