"""Predictions that are nothing but a class of each sample: among how many classes did the model choose?"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import pytest

from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.snapshots import restore, snapshot
from losswatch.fields import Label
from losswatch.schema import Predictions, Record
from tests.consumers.builders import a_fleet, decoded, make_start

EVENLY: list[Label] = ["cat", "dog", "cow"] * 40


def chosen(step: int, predicted: Sequence[Label], labels: Sequence[Label] | None = None) -> Predictions:
    return Predictions(
        run="r", session="s", seq=step + 1, time=0.0, phase="val", step=step, kind="classes", values=list(predicted),
        labels=None if labels is None else list(labels),
    )  # fmt: skip


def class_entropy(fleet: Fleet) -> float:
    return Painter(fleet, 1e9).paint(0.0).of_run("r")["class_entropy_ratio"]["val",]


def entropies(records: Sequence[Record], fleet: Fleet | None = None) -> list[float]:
    """After each record."""
    fleet, found = fleet or a_fleet(), []
    for item in decoded(records):
        assert fleet.take([item])[1] == []
        if isinstance(item.record, Predictions):
            found.append(class_entropy(fleet))
    return found


def test_labels_of_other_classes_do_not_lower_the_class_entropy_of_the_same_predictions() -> None:
    labels: list[list[Label]] = [EVENLY, [*EVENLY[:-1], "bee"], [*EVENLY[:-20], *(f"rare-{i}" for i in range(20))]]
    assert entropies([chosen(i, EVENLY, each) for i, each in enumerate(labels)]) == pytest.approx([1.0] * 3)


def test_a_class_that_is_predicted_no_more_does() -> None:
    two = ["cat", "dog"] * 60
    assert entropies([chosen(0, two), chosen(1, EVENLY), chosen(2, two)]) == pytest.approx([1.0, 1.0, log(2, 3)])


def test_declared_classes_count_whether_they_are_predicted_or_not() -> None:
    start = make_start("r", session="s", seq=0, classes=["cat", "dog", "cow", "bee"])
    assert entropies([start, chosen(0, EVENLY), chosen(1, ["fly"] * 4)]) == pytest.approx([log(3, 4), 0.0])
    assert entropies([start, chosen(0, ["cat", "dog", "cow", "bee", "fly"])]) == pytest.approx([1.0])


def test_what_was_predicted_is_known_after_a_snapshot() -> None:
    first, other = a_fleet(), a_fleet()
    entropies([chosen(0, EVENLY)], first)
    restore(other, snapshot(first, [first.runs["r"]])[0])
    other.take(decoded([chosen(0, EVENLY), chosen(1, ["cat", "dog"] * 60)])[1:])
    assert class_entropy(other) == pytest.approx(log(2, 3))
