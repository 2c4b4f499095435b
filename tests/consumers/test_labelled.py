"""Labels, coverage, proxies and embeddings through the whole fleet: however records come, the same is found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.runs import StreamKey
from consumers.snapshots import restore, snapshot
from losswatch.schema import Predictions, Record
from tests.consumers.builders import a_broker, a_fleet, decoded, make_start, publish
from tests.consumers.labelled import everything, regressor, troubled
from tests.consumers.outcomes import Readings, Told, assert_same_outcomes, assert_same_readings, findings_on_topic, told
from tests.consumers.workers import Crash, CrashingBroker, a_worker, run_worker_until_idle

ITEMS = decoded(everything())


def readings(fleet: Fleet) -> dict[str, Readings]:
    view = Painter(fleet, 1e9).paint(2000.0)
    return {name: view.of_run(name) for name in view.runs}


def consume(batches: Sequence[Sequence[Decoded]], restarted: Sequence[int] = ()) -> tuple[list[Told], Fleet]:
    """``restarted``: before which batches another process goes on, from snapshots."""
    fleet, findings = a_fleet(), []
    for number, batch in enumerate(batches):
        if number in restarted:
            after = a_fleet()
            for data in snapshot(fleet, list(fleet.runs.values())):
                restore(after, data)
            fleet = after
        findings += [told(finding) for finding in fleet.take(batch)[0]]
    return sorted(findings), fleet


@pytest.fixture(scope="module")
def at_once() -> tuple[list[Told], dict[str, Readings]]:
    findings, fleet = consume([ITEMS])
    return findings, readings(fleet)


def test_the_story_has_something_to_tell(at_once: tuple[list[Told], dict[str, Readings]]) -> None:
    firing = {tuple(identity.split("/")[:4]) for identity, state, _, _ in at_once[0] if state == "firing"}
    assert firing == {
        ("troubled", "val", "class_never_predicted", "c"),
        ("troubled", "val", "label_space_mismatch", "-"),
        ("troubled", "val", "representation_collapse", "-"),
        ("troubled", "val", "sparse_coverage", "-"),
        ("troubled", "val", "sparse_coverage", "far-0"),
        ("troubled", "val", "sparse_coverage", "far-1"),
        ("troubled", "val", "sparse_coverage", "far-2"),
        ("troubled", "val", "weak_proxy", "parameter and curve"),
        ("regressor", "test", "non_finite", "embedding_cosine_ratio"),
    }


@settings(max_examples=8, deadline=None)
@given(often=st.floats(0.0, 1.0), seed=st.integers(0, 2**32))
def test_what_is_found_does_not_depend_on_how_records_are_cut_into_batches(
    at_once: tuple[list[Told], dict[str, Readings]], often: float, seed: int
) -> None:
    random = Random(seed)
    edges = [0, *(at for at in range(1, len(ITEMS)) if random.random() < often), len(ITEMS)]
    findings, fleet = consume([ITEMS[start:stop] for start, stop in pairwise(edges)])
    assert findings == at_once[0]
    assert_same_readings(readings(fleet), at_once[1])


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(1, len(ITEMS) - 1), min_size=1, max_size=6))
def test_another_process_goes_on_from_snapshots_anywhere(
    at_once: tuple[list[Told], dict[str, Readings]], edges: set[int]
) -> None:
    batches = [ITEMS[start:stop] for start, stop in pairwise([0, *sorted(edges), len(ITEMS)])]
    findings, fleet = consume(batches, range(1, len(batches)))
    assert findings == at_once[0]
    assert_same_readings(readings(fleet), at_once[1])


def test_each_run_is_told_what_it_is_told_alone(at_once: tuple[list[Told], dict[str, Readings]]) -> None:
    for name in ("troubled", "three", "twenty", "regressor"):
        findings, fleet = consume([[item for item in ITEMS if item.record.run == name]])
        assert findings == [each for each in at_once[0] if each[0].startswith(f"{name}/")]
        assert_same_readings(readings(fleet), {name: at_once[1][name]})


@pytest.mark.parametrize("at", [3, 9, 16, 23, 30])
def test_a_crash_between_two_calls_to_the_broker_changes_nothing(at: int) -> None:
    whole, broken = a_broker(), a_broker()
    for broker in (whole, broken):
        publish(broker, everything())
    expected = run_worker_until_idle(whole)
    crashing = CrashingBroker(broken, at, "after")
    with pytest.raises(Crash):
        run_worker_until_idle(broken, a_worker(crashing))
    assert_same_outcomes(run_worker_until_idle(broken), expected)
    assert sorted(findings_on_topic(broken)) == sorted(findings_on_topic(whole))


def test_a_row_of_labels_moves_to_wider_pools_as_classes_come() -> None:
    fleet, widths = a_fleet(), []
    for item in decoded(troubled("r")):
        fleet.take([item])
        row = fleet.runs["r"].streams.get(StreamKey("labels", "val"))
        widths.append(row.pool.slots if row else 0)
    assert sorted(set(widths)) == [0, 16, 64]
    assert widths == sorted(widths)


def test_a_regressor_has_coverage_a_proxy_and_a_representation_and_no_classes() -> None:
    _, fleet = consume([decoded(regressor("r"))])
    streams = {key.stream for key in fleet.runs["r"].streams}
    assert streams == {"coverage", "proxy", "representation"}
    found = readings(fleet)["r"]
    assert 0.8 < found["coverage_neighbour_error_ratio"]["test", ""] < 1.4
    assert found["error_spearman_correlation"]["test", "mae and square"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("value", "fires"), [(1.0, False), (float("nan"), True), (float("inf"), True)])
def test_embeddings_that_are_not_finite_are_a_finding_and_a_single_one_is_not(value: float, fires: bool) -> None:
    sizes = (1, 20) if fires else (1, 1, 20)
    records = [
        Predictions(
            run="r", time=0.0, phase="val", step=step,
            embeddings=np.where(np.arange(size)[:, None] == size - 1, value, np.eye(size, 3) + 0.5),
        )
        for step, size in enumerate(sizes)
    ]  # fmt: skip
    findings, _ = consume([decoded(records)])
    assert [identity for identity, *_ in findings] == ["r/val/non_finite/embedding_cosine_ratio/1"] * fires


@pytest.mark.parametrize("together", [1, 1000])
def test_a_validation_whose_map_is_another_than_the_training_phases_is_found_and_training_is_not(together: int) -> None:
    rng = np.random.default_rng(0)
    names = ["ant", "bee", "cat", "dog"]
    records: list[Record] = [make_start("r", classes=names)]
    for step in range(30):
        for phase, places in (("train", np.arange(4)), ("val", np.array([0, 2, 1, 3]))):
            labels = rng.integers(0, 4, 100)
            values = rng.normal(0, 1, (100, 4)) + 4 * np.eye(4)[places[labels]]
            told = {"kind": "logits", "values": values, "labels": labels.tolist()}
            records.append(Predictions(run="r", time=0.0, phase=phase, step=step, **told))
    items = decoded(records)
    fleet, firing = a_fleet(), []
    for start in range(0, len(items), together):
        firing += [one for one in fleet.take(items[start : start + together])[0] if one.state == "firing"]
    assert [(one.kind, one.phase) for one in firing] == [("label_space_mismatch", "val")]
    assert "bee as cat, cat as bee is predicted" in firing[0].message
