from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isnan, nan
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.runs import SeriesKey
from consumers.snapshots import restore, snapshot
from losswatch.schema import Finding, Record, Steps
from tests.consumers.builders import a_fleet, decoded, make_predictions
from tests.consumers.outcomes import Told, told

SLICE = ("val", "exp/mae")
BLOCK = 20


def train(first: int, stop: int, session: str, *, rises_from: int = 10**9, seq: int = 0) -> list[Steps]:
    """A loss that falls slowly with noise, from a step on doubles every 20 steps; a checkpoint every 100 steps."""
    records: list[Steps] = []
    for start in range(first, stop, BLOCK):
        step = np.arange(start, min(stop, start + BLOCK))
        noise = np.random.default_rng(start).normal(0, 0.01, len(step))
        loss = 1 + np.exp(-step / 300) + noise
        loss *= 2.0 ** np.maximum(0, (step - rises_from) / 20)
        saved = [f"step-{at}.pt" if at % 100 == 0 and at else None for at in step.tolist()]
        parts = {"a": 0.75 * loss, "b": 0.25 * loss}
        own = {"run": "r", "session": session, "time": 1000.0 + start, "phase": "train", "step": step}
        records.append(Steps(seq=seq, total=loss, components=parts, checkpoint=saved, **own))
        seq += 1
        for at in (at for at in step.tolist() if at % 50 == 0):
            # The slice is best at 400 (0.2), and at 600 (0.1), which is taken back.
            error = {400: 0.2, 600: 0.1}.get(at, 0.3 + at / 1e5)
            given = {"metrics": {"mae": [1 - at / 2000]}, "slices": {"exp": {"mae": [error]}}}
            own |= {"phase": "val", "step": [at]}
            records.append(Steps(seq=seq, **own, **given))
            seq += 1
    return records


BEFORE = train(1, 800, "first", rises_from=700)
AFTER = train(501, 760, "second")


def tell(fleet: Fleet, records: Sequence[Record], first: int = 0) -> list[Finding]:
    return fleet.take(decoded(records, first=first))[0]


def state_of(fleet: Fleet, series: SeriesKey) -> dict[str, list[float]]:
    """What the detectors know of a series, but for its picture."""
    pool, row = fleet.rows.pool("series"), fleet.runs["r"].series[series]
    cells = tuple(f"{cell.name}." for cell in pool.cells if cell.name != "trace")
    return {
        name: value[row].double().flatten().tolist() for name, value in pool.state.items() if name.startswith(cells)
    }


def reading(fleet: Fleet, name: str, key: tuple[str, ...]) -> float:
    view = Painter(fleet, 1e9).paint(2000.0)
    return view.of_run("r").get(name, {}).get(key, nan)


TOTAL = SeriesKey("train", "total", "total")


def test_a_divergence_that_is_taken_back_is_resolved_and_the_detectors_know_what_they_knew_at_the_checkpoint() -> None:
    fleet = a_fleet()
    found = tell(fleet, BEFORE)
    assert any(f.kind == "divergence" and f.state == "firing" and f.began > 700 for f in found)
    assert reading(fleet, "slice_best_step", SLICE) == 600.0
    told_back = tell(fleet, AFTER[:1], first=len(BEFORE))
    assert {"divergence"} <= {f.kind for f in told_back if f.state == "resolved"}
    assert all("went back to step 501" in f.message for f in told_back)
    assert not [f for f in fleet.runs["r"].findings.values() if f.state != "resolved" and f.began > 500]
    tell(fleet, AFTER[1:], first=len(BEFORE) + 1)
    assert not [f for f in fleet.runs["r"].findings.values() if f.kind == "divergence" and f.state == "firing"]


def test_a_checkpoint_gives_back_the_state_of_a_run_that_never_went_further() -> None:
    """To the seven digits in which points are kept."""
    fleet, other = a_fleet(), a_fleet()
    through = train(1, 501, "first")
    tell(fleet, BEFORE)
    tell(fleet, AFTER, first=len(BEFORE))
    tell(other, through)
    tell(other, AFTER, first=len(through))
    for series in (TOTAL, SeriesKey("train", "component", "b")):
        found, expected = state_of(fleet, series), state_of(other, series)
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-4, nan_ok=True), name


def test_a_best_from_before_stays_and_is_unknown_until_the_next_evaluation() -> None:
    fleet = a_fleet()
    tell(fleet, BEFORE)
    tell(fleet, AFTER[:3], first=len(BEFORE))
    assert fleet.runs["r"].checkpoints.keys() == {100, 200, 300, 400, 500}
    assert isnan(reading(fleet, "slice_best_step", SLICE))
    tell(fleet, [record for record in AFTER if record.phase == "val"][:1], first=len(BEFORE) + 3)
    assert reading(fleet, "slice_best_step", SLICE) == 400.0


def test_what_began_before_the_step_goes_on() -> None:
    fleet = a_fleet()
    tell(fleet, train(1, 800, "first", rises_from=300))
    began = {f.id for f in fleet.runs["r"].findings.values() if f.kind == "divergence" and f.state == "firing"}
    assert began
    tell(fleet, train(501, 521, "second", rises_from=300), first=100)
    assert began <= {f.id for f in fleet.runs["r"].findings.values() if f.state == "firing"}


def test_the_view_says_where_the_job_went_back() -> None:
    fleet = a_fleet()
    tell(fleet, BEFORE)
    assert Painter(fleet, 1e9).paint(2000.0).runs["r"].restarts == 0
    tell(fleet, AFTER, first=len(BEFORE))
    view = Painter(fleet, 1e9).paint(2000.0).runs["r"]
    assert (view.restarts, view.steps["train"]) == (1, 759)
    assert view.restarted == {"phase": "train", "step": 501, "reached": 799, "time": 1501.0}


def test_predictions_go_back_by_themselves() -> None:
    fleet = a_fleet()
    before = [make_predictions("r", step, 0.5 + (step > 40) * 0.48, seq=step, phase="val") for step in range(1, 80)]
    tell(fleet, before)
    firing = {f.kind for f in fleet.runs["r"].findings.values() if f.state == "firing"}
    assert "diversity_collapse" in firing
    tell(fleet, [make_predictions("r", 33, 0.5, seq=0, session="b", phase="val")], first=100)
    assert not [f for f in fleet.runs["r"].findings.values() if f.state != "resolved"]


def the_story() -> list[Decoded]:
    return decoded([*BEFORE, *AFTER, *train(601, 700, "third", rises_from=640)])


STORY = the_story()
Consumed = tuple[list[Told], dict[str, dict[tuple[str, ...], float]]]


def consume(batches: Sequence[Sequence[Decoded]], crashes: Sequence[int] = ()) -> Consumed:
    """``crashes`` are batches after which the run goes through a snapshot into another fleet."""
    fleet, found = a_fleet(), []
    for number, batch in enumerate(batches):
        found += [told(finding) for finding in fleet.take(batch)[0]]
        if number in crashes:
            (data,) = snapshot(fleet, [fleet.runs["r"]])
            fleet = a_fleet()
            restore(fleet, data)
    return found, Painter(fleet, 1e9).paint(2000.0).of_run("r")


@pytest.fixture(scope="module")
def at_once() -> Consumed:
    return consume([STORY])


@settings(max_examples=8, deadline=None)
@given(often=st.floats(0.02, 0.6), seed=st.integers(0, 2**32))
def test_batches_and_crashes_change_nothing_of_a_run_that_goes_back(at_once: Consumed, often: float, seed: int) -> None:
    random = Random(seed)
    edges = [0, *(at for at in range(1, len(STORY)) if random.random() < often), len(STORY)]
    crashes = [number for number in range(len(edges)) if random.random() < 0.2]
    found, readings = consume([STORY[start:stop] for start, stop in pairwise(edges)], crashes)
    assert sorted(found) == sorted(at_once[0])
    assert readings.keys() == at_once[1].keys()
    for name, values in at_once[1].items():
        assert readings[name] == pytest.approx(values, rel=1e-6, abs=1e-9), name
