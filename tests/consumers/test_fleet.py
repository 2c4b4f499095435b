from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.rows import WIDTHS, Limits
from consumers.runs import StreamKey
from losswatch.schema import Record, RunEnd, Steps
from losswatch.topics import STEPS
from tests.consumers.builders import a_fleet, a_story, decoded, make_end, make_predictions, make_start, make_steps
from tests.consumers.outcomes import Readings, assert_same_readings, told


def take(fleet: Fleet, *records: Record, partition: int = 0) -> None:
    """Each record in a batch of its own; their offsets go on from what the fleet has seen."""
    for record in records:
        for item in decoded([record], partition):
            run = fleet.runs.get(record.run)
            after = run.next_offset.get(item.message.topic, 0) if run else 0
            object.__setattr__(item.message, "offset", after)
            fleet.take([item])


def readings(fleet: Fleet, run: str) -> Readings:
    return Painter(fleet, 1e9).paint(0.0).of_run(run)


def test_runs_beyond_the_cap_are_refused_and_counted() -> None:
    fleet = a_fleet(limits=Limits(runs=2))
    take(fleet, *(make_steps(name, 0, 4, seq=0) for name in "abca"))
    assert sorted(fleet.runs) == ["a", "b"]
    assert fleet.telemetry.total("refused", ["runs"]) == 1


@pytest.mark.parametrize("block_steps", [1, 256])
def test_longer_or_shorter_blocks_change_nothing(block_steps: int) -> None:
    items = decoded([*a_story("a", blocks=30), *a_story("b", blocks=11, collapse=False)])
    usual, other = a_fleet(), a_fleet(block_steps=block_steps)
    expected, found = usual.take(items)[0], other.take(items)[0]
    assert list(map(told, found)) == list(map(told, expected))
    assert_same_readings({run: readings(other, run) for run in "ab"}, {run: readings(usual, run) for run in "ab"})


def test_a_dropped_run_makes_room_for_another() -> None:
    fleet = a_fleet(limits=Limits(runs=1))
    take(fleet, make_steps("a", 0, 4, seq=0))
    fleet.drop(fleet.runs["a"])
    assert all(len(pool) == 0 for pool in fleet.rows.pools.values())
    take(fleet, make_steps("b", 0, 4, seq=0))
    assert list(fleet.runs) == ["b"]


def test_series_beyond_the_cap_are_refused_and_counted_and_the_others_go_on() -> None:
    fleet = a_fleet(limits=Limits(series_per_run=5))
    record = make_steps("r", 0, 4, session=None, metrics={f"m{i}": [float(i)] * 4 for i in range(20)})
    take(fleet, record, record)
    run = fleet.runs["r"]
    assert len(run.series) + len(run.objectives) == 5
    assert fleet.telemetry.total("refused", ["series_per_run"]) >= 19
    assert readings(fleet, "r")["component_value"].keys() == {("train", "c0"), ("train", "c1")}


def test_phases_without_end_do_not_fill_the_memory() -> None:
    fleet = a_fleet(limits=Limits(series_per_run=5))
    take(fleet, *(make_steps("r", 0, 4, seq=i, phase=f"phase-{i}") for i in range(50)))
    run = fleet.runs["r"]
    assert len(run.newest_step) <= 5
    assert len(run.sessions.by_id["s"].course(STEPS).newest) <= 5
    assert fleet.telemetry.total("refused", ["series_per_run"]) >= 45


def test_names_longer_than_the_cap_are_refused_and_counted() -> None:
    fleet = a_fleet(limits=Limits(name_length=10))
    take(fleet, make_steps("r", 0, 4, seq=0, metrics={"x" * 11: [1.0] * 4, "x" * 10: [2.0] * 4}))
    assert readings(fleet, "r")["metric_value"] == {("train", "x" * 10): 2.0}
    assert fleet.telemetry.total("refused", ["name_length"]) == 1


def test_refused_components_take_no_wider_pool() -> None:
    fleet = a_fleet(limits=Limits(name_length=10))
    take(fleet, make_steps("r", 0, 4, seq=0, components=2))
    parts = {f"a name of too many letters {i}": [1.0] * 4 for i in range(50)}
    take(fleet, Steps(run="r", time=0.0, step=[4, 5, 6, 7], components=parts))
    assert fleet.runs["r"].objectives["train"].pool.slots == WIDTHS[0]


@pytest.mark.parametrize("count", [1, 4, 5, 8, 9, 250])
def test_an_objective_lives_in_the_narrowest_pool_that_holds_its_components(count: int) -> None:
    fleet = a_fleet(limits=Limits(series_per_run=1000))
    take(fleet, make_steps("r", 0, 8, seq=0, components=count))
    row = fleet.runs["r"].objectives["train"]
    assert row.pool.slots == next(width for width in WIDTHS if width >= count)
    assert len(readings(fleet, "r")["component_share_ratio"]) == count


def test_components_beyond_the_widest_pool_are_refused_and_counted() -> None:
    fleet = a_fleet(limits=Limits(series_per_run=1000))
    take(fleet, make_steps("r", 0, 4, seq=0, components=300))
    assert len(fleet.runs["r"].objectives["train"].slots) == WIDTHS[-1]
    assert fleet.telemetry.total("refused", ["components"]) == 300 - WIDTHS[-1]


def test_components_that_come_later_do_not_disturb_those_that_are_there() -> None:
    changing, alone = a_fleet(), a_fleet()
    for block, components in enumerate((2, 3, 9, 2, 5, 40)):
        take(changing, make_steps("r", 16 * block, 16, seq=block, components=components))
        take(alone, make_steps("r", 16 * block, 16, seq=block, components=1))
    found = readings(changing, "r")
    assert len(found["component_value"]) == 40
    for table in ("component_value", "component_change_ratio"):
        assert found[table]["train", "c0"] == pytest.approx(readings(alone, "r")[table]["train", "c0"])


@pytest.mark.parametrize("terms", [1, 3])
def test_a_total_that_gets_a_term_more_has_not_diverged_and_one_that_rises_by_itself_has(terms: int) -> None:
    step = np.arange(400)
    total = np.where(step < 200, 0.2, 1.0) * (1 + 0.01 * np.sin(step))
    records = []
    for block in np.split(step, 10):
        parts = {f"c{k}": total[block] / 3 for k in range(terms if block[0] >= 200 else 1)}
        records.append(Steps(run="r", time=0.0, step=block, total=total[block], components=parts))
    kinds = {finding.kind for finding in a_fleet().take(decoded(records))[0] if finding.state == "firing"}
    assert ("divergence" in kinds) is (terms == 1)


def test_thresholds_declared_before_during_or_anew_are_those_in_force() -> None:
    fleet = a_fleet(thresholds={"class_entropy_floor": 0.6})

    def floor() -> float:
        row = fleet.runs["r"].streams[StreamKey("predictions", "test")]
        value: float = row.pool.state["threshold.class_entropy_floor"][row.row].item()
        return value

    take(fleet, make_predictions("r", 0, seq=1))
    assert floor() == 0.6
    take(fleet, make_start("r", seq=2, thresholds={"class_entropy_floor": 0.7}))
    assert floor() == 0.7
    take(fleet, make_start("r", seq=3, thresholds={"conflict_share": 0.7}))
    assert floor() == 0.6


def test_a_declared_threshold_holds_for_rows_that_come_later() -> None:
    fleet = a_fleet()
    take(fleet, make_start("r", thresholds={"class_entropy_floor": 1.0}), make_predictions("r", 0, 0.9, seq=1))
    row = fleet.runs["r"].streams[StreamKey("predictions", "test")]
    assert row.pool.state["threshold.class_entropy_floor"][row.row].item() == 1.0


def test_unknown_thresholds_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    fleet = a_fleet()
    take(fleet, make_start("r", thresholds={"clas_entropy_floor": 0.7}))
    assert fleet.telemetry.total("refused", ["unknown_threshold"]) == 1
    assert "class_entropy_floor" in caplog.text


def test_a_record_of_another_partition_is_a_dead_letter() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 4, seq=0)], partition=1))
    _, (dead,) = fleet.take(decoded([make_steps("r", 4, 4, seq=1)], partition=2))
    assert dead.reason == "wrong_partition"
    assert "partition 1" in dead.detail
    assert fleet.runs["r"].steps == 4


def test_a_duplicate_is_counted_and_changes_nothing() -> None:
    fleet = a_fleet()
    take(fleet, make_steps("r", 0, 4, seq=0), make_steps("r", 4, 4, seq=1))
    before = readings(fleet, "r")
    take(fleet, make_steps("r", 0, 4, seq=0))
    assert (fleet.runs["r"].duplicates, fleet.runs["r"].steps) == (1, 8)
    assert readings(fleet, "r") == before


def test_a_run_that_ended_runs_again_when_a_new_session_speaks() -> None:
    fleet = a_fleet()
    take(fleet, make_steps("r", 0, 4, seq=0), make_end("r", seq=1))
    assert fleet.runs["r"].status == "finished"
    take(fleet, make_steps("r", 2, 4, seq=0, session="again"))
    assert (fleet.runs["r"].status, fleet.runs["r"].ended) == ("running", None)


def test_what_was_on_its_way_when_a_session_ended_does_not_revive_the_run() -> None:
    fleet = a_fleet()
    take(fleet, make_steps("r", 0, 4, seq=0), make_end("r", seq=2), make_predictions("r", 0, seq=1))
    assert fleet.runs["r"].status == "finished"


def test_an_end_without_session_is_taken_as_it_is() -> None:
    fleet = a_fleet()
    take(fleet, make_steps("r", 0, 4, session=None), RunEnd(run="r", time=5.0, status="failed"))
    assert fleet.runs["r"].status == "failed"


def test_what_publishers_dropped_is_counted_once() -> None:
    fleet = a_fleet()
    take(fleet, *(make_steps("r", 4 * i, 4, seq=i, dropped={"steps_buffer_full": 5}) for i in range(3)))
    assert fleet.telemetry.total("hook_drops", ["steps_buffer_full"]) == 5


def test_a_dropped_run_that_comes_back_starts_afresh() -> None:
    fleet = a_fleet()
    take(fleet, *a_story("r"))
    fleet.drop(fleet.runs["r"])
    fresh = a_fleet()
    take(fleet, make_steps("r", 0, 8, seq=0))
    take(fresh, make_steps("r", 0, 8, seq=0))
    assert readings(fleet, "r") == readings(fresh, "r")


MEASURE = """
import gc, os, torch
from tests.consumers.builders import a_fleet, decoded, make_predictions, make_start, make_steps

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

torch.set_num_threads(1)
fleet = a_fleet()

def feed(names):
    for start in range(0, len(names), 100):
        batch = [
            record
            for name in names[start : start + 100]
            for record in (
                make_start(name, labels={"team": "a"}, classes=[0, 1]),
                make_steps(name, 0, 64, seq=1, components=6),
                make_predictions(name, 63, 0.5, seq=2, samples=50),
                make_steps(name, 64, 64, seq=3, components=6),
            )
        ]
        fleet.take(decoded(batch))

feed([f"warm-{i}" for i in range(500)])
gc.collect()
before = resident()
feed([f"run-{i}" for i in range(2000)])
gc.collect()
print((resident() - before) / 2000)
"""


def test_a_run_of_six_components_and_predictions_takes_less_than_seventy_kilobytes(
    record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    env = {"PYTHONPATH": ":".join(path for path in sys.path if path), "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=root, env=env, capture_output=True, text=True, check=True
    )
    per_run = float(done.stdout)
    record_property("bytes_per_run", per_run)
    with capsys.disabled():
        print(f"\nresident memory per run: {per_run / 1000:.1f} kB")
    assert 1_000 < per_run < 70_000
