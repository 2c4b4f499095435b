from __future__ import annotations

import math

import numpy as np
import pytest

from consumers.fleet import Fleet
from consumers.picture import LABELS, Painter
from consumers.view import Table, View
from detectors import catalog
from tests.consumers.builders import (
    a_fleet,
    a_story,
    decoded,
    make_labelled,
    make_predictions,
    make_reference,
    make_start,
    make_steps,
)


def painted(fleet: Fleet, now: float = 0.0) -> View:
    return Painter(fleet, 300.0).paint(now)


def table(view: View, name: str) -> Table:
    return next(table for table in view.tables if table.name == name)


def test_every_exported_reading_has_a_table_with_its_labels_and_one_value_per_key() -> None:
    fleet = a_fleet()
    fleet.take(decoded(a_story("one") + a_story("two")))
    declared = make_start("all", split={"train": (0.0, 2.0), "val": (1.0, 3.0)}, parameters=10, samples={"train": 5})
    fleet.take(decoded([declared, make_reference("all", seq=1), make_labelled("all", 1, seq=2)]))
    view = painted(fleet)
    expected = {
        reading.name: LABELS[cell.stream, reading.per]
        for cell in catalog.CELLS
        for reading in cell.readings
        if reading.exported
    }
    assert {stream for stream, _ in fleet.rows.pools} == {cell.stream for cell in catalog.CELLS}
    assert {table.name: table.labels for table in view.tables} == expected
    for each in view.tables:
        assert len(each.keys) == len(each.values) == len(set(each.keys))
        assert {len(key) for key in each.keys} <= {1 + len(each.labels)}


def test_a_run_shows_the_checkpoints_that_it_named() -> None:
    fleet = a_fleet()
    named = make_steps("r", 0, 3, seq=0).model_copy(update={"checkpoint": [None, "epoch-1.pt", None]})
    fleet.take(decoded([named]))
    assert painted(fleet).runs["r"].checkpoints == {1: "epoch-1.pt"}


def test_what_is_not_known_is_nan_and_never_zero() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 3, seq=0), make_predictions("r", 0, seq=1)]))
    view = painted(fleet)
    assert np.isnan(table(view, "component_change_ratio").values).all()
    assert np.isnan(table(view, "class_entropy_steps_to_floor").values).all()
    assert "component_change_ratio" not in view.of_run("r")


def test_a_detector_that_is_warming_up_says_so_until_it_can_judge() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 10, seq=0), make_predictions("r", 0, seq=1)]))
    warming = painted(fleet).runs["r"].warming
    assert {"component_conflict (train)", "diversity_decline (test)"} <= set(warming)
    assert len(warming) == len(set(warming)), "once for all series of a phase"
    assert not any(words.startswith("expectation_missed") for words in warming), "nothing is expected"
    more = [make_steps("r", 10, 60, seq=2), *(make_predictions("r", i, seq=2 + i) for i in range(1, 30))]
    other = a_fleet()
    other.take(decoded([make_steps("r", 0, 10, seq=0), make_predictions("r", 0, seq=1), *more]))
    assert not {"component_conflict (train)", "diversity_decline (test)"} & set(painted(other).runs["r"].warming)


def test_components_of_pools_of_several_widths_are_in_one_table() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("few", 0, 4, seq=0, components=2), make_steps("many", 0, 4, seq=0, components=9)]))
    keys = table(painted(fleet), "component_value").keys
    assert len([key for key in keys if key[0] == "few"]) == 2
    assert len([key for key in keys if key[0] == "many"]) == 9


def test_slices_are_named_with_what_they_are_slices_of() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 2, seq=0, slices={"exp-7": {"mae": [0.5, 0.25]}})]))
    assert painted(fleet).of_run("r")["metric_value"]["train", "exp-7/mae"] == 0.25


def test_a_dropped_run_leaves_no_key_behind() -> None:
    fleet, painter = a_fleet(), None
    fleet.take(decoded(a_story("one") + a_story("two")))
    painter = Painter(fleet, 300.0)
    painter.paint(0.0)
    fleet.drop(fleet.runs["one"])
    view = painter.paint(1.0)
    assert set(view.runs) == {"two"}
    assert {key[0] for table in view.tables for key in table.keys} == {"two"}
    assert set(view.traces) == {"two"}


def test_a_painter_shows_what_came_since_its_last_view() -> None:
    fleet = a_fleet()
    painter = Painter(fleet, 300.0)
    fleet.take(decoded([make_steps("r", 0, 4, seq=0, components=2)]))
    painter.paint(0.0)
    item = decoded([make_steps("r", 0, 4, seq=0), make_steps("r", 4, 4, seq=1, components=7)])[1]
    fleet.take([item])
    fresh, again = painted(fleet), painter.paint(1.0)
    assert again.of_run("r") == fresh.of_run("r")
    assert again.runs["r"] == fresh.runs["r"]
    assert len(again.of_run("r")["component_value"]) == 7


def test_a_view_does_not_change_when_the_fleet_goes_on() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 4, seq=0)]))
    view = painted(fleet)
    before = view.of_run("r"), view.runs["r"], [trace.values.tolist() for trace in view.traces["r"]]
    items = decoded([make_steps("r", 0, 4, seq=0), make_steps("r", 4, 40, seq=1, bad=[20])])
    fleet.take(items[1:])
    assert (view.of_run("r"), view.runs["r"], [trace.values.tolist() for trace in view.traces["r"]]) == before


def test_a_run_is_silent_when_nothing_was_heard_of_it_for_long() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_start("r")]))
    fleet.runs["r"].heard = fleet.runs["r"].told = 1000.0
    assert painted(fleet, 1300.0).runs["r"].status == "running"
    assert painted(fleet, 1300.5).runs["r"].status == "silent"


def test_firing_findings_come_first_and_the_worst_of_them_before_the_others() -> None:
    fleet = a_fleet()
    fleet.take(decoded(a_story("r")))
    states = [(finding.state, finding.severity) for finding in painted(fleet).findings["r"]]
    assert states == [("firing", "critical"), ("pending", "warning"), ("resolved", "critical")]


def test_readings_that_are_not_known_are_left_out_of_a_runs_readings() -> None:
    values = np.array([1.0, math.nan, 3.0])
    view = View(tables=[Table("t", "help", ("phase",), [("a", "x"), ("a", "y"), ("b", "x")], values)])
    assert view.of_run("a") == {"t": {("x",): 1.0}}
    assert view.of_run("c") == {}


@pytest.mark.parametrize("length", [1, 10, 500])
def test_traces_are_bounded_and_in_order(length: int) -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, length, session=None)]))
    traces = painted(fleet).traces["r"]
    assert {(trace.kind, trace.name) for trace in traces} == {
        ("total", "total"), ("component", "c0"), ("component", "c1"), ("metric", "accuracy"),
    }  # fmt: skip
    for trace in traces:
        assert 1 <= len(trace.steps) == len(trace.values) <= 64
        assert (np.diff(trace.steps) > 0).all()
