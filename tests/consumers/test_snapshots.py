from __future__ import annotations

import itertools
import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.snapshots import SnapshotUnusable, next_offsets, restore, snapshot
from detectors import catalog
from detectors.components.balance import Balance
from detectors.predictions.diversity import Diversity
from losswatch.schema import Predictions
from tests.consumers.builders import a_fleet, a_story, decoded, make_start, make_steps
from tests.consumers.outcomes import told

ITEMS = decoded(
    [record for pair in zip(a_story("one"), a_story("two", collapse=False), strict=True) for record in pair]
    + [make_steps("many", 10 * i, 10, seq=i, components=3 + 2 * i) for i in range(5)]
)


def readings(fleet: Fleet) -> dict[str, object]:
    view = Painter(fleet, 1e9).paint(0.0)
    return {name: view.of_run(name) for name in view.runs}


def moved(fleet: Fleet, **options: object) -> Fleet:
    """Another process that restores everything."""
    other = a_fleet(**options)
    for data in snapshot(fleet, list(fleet.runs.values())):
        restore(other, data)
    return other


@pytest.mark.parametrize("cut", range(0, len(ITEMS), 4))
def test_a_fleet_restored_anywhere_goes_on_bit_for_bit(cut: int) -> None:
    fleet = a_fleet()
    fleet.take(ITEMS[:cut])
    other = moved(fleet)
    assert readings(other) == readings(fleet)
    rest = [ITEMS[start : start + 10] for start in range(cut, len(ITEMS), 10)]
    assert [list(map(told, other.take(b)[0])) for b in rest] == [list(map(told, fleet.take(b)[0])) for b in rest]
    assert readings(other) == readings(fleet)
    for name, run in fleet.runs.items():
        there = other.runs[name]
        assert there.findings == run.findings
        assert (there.sessions, there.next_offset, there.records) == (run.sessions, run.next_offset, run.records)


def test_what_is_in_a_snapshot_is_skipped_when_it_comes_again() -> None:
    fleet = a_fleet()
    fleet.take(ITEMS)
    other = moved(fleet)
    assert other.take(ITEMS) == ([], [])
    assert readings(other) == readings(fleet)
    assert other.runs["one"].duplicates == 0


def test_rows_of_other_detectors_start_afresh_and_are_counted() -> None:
    fleet = a_fleet()
    fleet.take(ITEMS)
    cells = [Balance(warm_up=30) if isinstance(c, Balance) else c for c in catalog.CELLS]
    other = moved(fleet, cells=cells)
    assert other.telemetry.total("snapshots_unusable", ["other_detectors"]) == 5
    found, expected = readings(other)["one"], readings(fleet)["one"]
    assert isinstance(found, dict)
    assert isinstance(expected, dict)
    assert found["class_entropy_ratio"] == expected["class_entropy_ratio"]
    assert "component_value" not in found
    assert other.runs["one"].steps == fleet.runs["one"].steps


def test_findings_of_other_detectors_do_not_fire_for_ever() -> None:
    fleet = a_fleet()
    fleet.take(ITEMS)
    firing = {kept.kind for kept in fleet.runs["one"].findings.values() if kept.state != "resolved"}
    assert {"diversity_collapse", "diversity_decline"} <= firing
    cells = [Diversity(warm_up=30) if isinstance(c, Diversity) else c for c in catalog.CELLS]
    kept = moved(fleet, cells=cells).runs["one"].findings.values()
    assert {k.kind for k in kept if k.state != "resolved"} == firing - {"diversity_collapse", "diversity_decline"}


def test_the_deployments_thresholds_are_those_of_today_and_the_runs_own_stay() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_start("r", thresholds={"conflict_share": 0.5}), make_steps("r", 0, 4, seq=1)]))
    other = moved(fleet, thresholds={"conflict_total_fall": 0.25, "conflict_share": 0.75})
    row = other.runs["r"].objectives["train"]
    assert row.pool.state["threshold.conflict_total_fall"][row.row].item() == 0.25
    assert row.pool.state["threshold.conflict_share"][row.row].item() == 0.5


def test_a_snapshot_says_how_far_it_reaches() -> None:
    fleet = a_fleet()
    fleet.take(ITEMS)
    (data,) = snapshot(fleet, [fleet.runs["one"]])
    assert next_offsets(data) == fleet.runs["one"].next_offset


def a_snapshot() -> bytes:
    fleet = a_fleet()
    fleet.take(decoded(a_story("r", blocks=3)))
    return snapshot(fleet, list(fleet.runs.values()))[0]


SNAPSHOT = a_snapshot()
FIELDS = msgpack.unpackb(SNAPSHOT)


@given(st.data())
def test_broken_bytes_are_unusable_and_leave_nothing_behind(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["cut", "field", "row"]))
    if kind == "cut":
        broken = SNAPSHOT[: data.draw(st.integers(0, len(SNAPSHOT) - 1))]
    else:
        fields = dict(FIELDS)
        odd = data.draw(st.sampled_from([None, 5, "x", [], {}, b"", [[1]], {"a": 1}]))
        if kind == "field":
            fields[data.draw(st.sampled_from(["v", "sessions", "next_offset", "counts", "findings", "rows"]))] = odd
        else:
            fields["rows"] = [*fields["rows"][:3], odd]
        broken = msgpack.packb(fields)
    fleet = a_fleet()
    try:
        restore(fleet, broken)
    except SnapshotUnusable:
        assert fleet.runs == {}
        assert all(len(pool) == 0 for pool in fleet.rows.pools.values())
    Painter(fleet, 1.0).paint(0.0)


def test_a_run_that_is_here_already_is_not_restored_over() -> None:
    fleet = a_fleet()
    fleet.take(decoded(a_story("r"), partition=1))
    before = readings(fleet)
    with pytest.raises(SnapshotUnusable, match="here already, from partition 1"):
        restore(fleet, SNAPSHOT)
    assert readings(fleet) == before


@pytest.mark.parametrize("data", [b"", b"\xc1", msgpack.packb([1]), msgpack.packb({"v": 2}), msgpack.packb({"v": 1})])
def test_bytes_that_are_no_snapshot_say_so(data: bytes) -> None:
    with pytest.raises(SnapshotUnusable):
        next_offsets(data)


def test_five_phases_of_a_thousand_classes_fit_into_a_record_of_a_broker() -> None:
    rng = np.random.default_rng(0)
    fleet = a_fleet()
    for step in range(8):
        labels = rng.integers(0, 1000, 4000)
        predicted = np.where(rng.random(4000) < 0.7, labels, rng.integers(0, 1000, 4000))
        for place in range(5):
            common: dict[str, Any] = {"run": "r", "time": 0.0, "phase": f"phase-{place}", "step": step}
            told = Predictions(**common, kind="classes", values=predicted, labels=labels)
            fleet.take([Decoded(told, decoded([told], first=5 * step + place)[0].message)])
    (data,) = snapshot(fleet, [fleet.runs["r"]])
    assert len(data) < 700_000, "a broker takes 1 MB, and findings come on top"
    other = a_fleet()
    restore(other, data)
    assert readings(other) == readings(fleet)
    assert next_offsets(data) == next_offsets(zlib.decompress(data))


@pytest.mark.parametrize("data", [b"\x78", b"\x78\x01junk", zlib.compress(b"\xc1"), zlib.compress(SNAPSHOT)[:-40]])
def test_compressed_bytes_that_are_no_snapshot_say_so(data: bytes) -> None:
    with pytest.raises(SnapshotUnusable):
        next_offsets(data)


def test_runs_are_packed_together_as_they_are_alone() -> None:
    fleet = a_fleet()
    fleet.take(ITEMS)
    runs = list(fleet.runs.values())
    assert snapshot(fleet, runs) == list(itertools.chain(*(snapshot(fleet, [run]) for run in runs)))
