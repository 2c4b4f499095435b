"""Maps between names and places that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.kinds import Facts
from detectors.labels.space import MISMATCH, MOVED, UNLABELLED, UNPREDICTED, LabelSpace
from tests.detectors.labels.records import Places, block_of, fired, readings

PREDICTED = [0, 1, 2, 5, 7, 8, 9]
LABELLED = [-1, 0, 2, 6, 102, 106, 107]
KIND = "label_space_mismatch"


def case_e(seed: int = 0) -> tuple[Places, Places, list[str]]:
    """The sets of the case: mostly normal, five classes on each side that the other does not know."""
    rng = np.random.default_rng(seed)
    names = sorted({*PREDICTED, *LABELLED})
    label = rng.choice(LABELLED, size=(30, 256), p=[0.3, 0.46, 0.06, 0.06, 0.04, 0.04, 0.04])
    predicted = rng.choice(PREDICTED, size=(30, 256), p=[0.5, 0.2, 0.1, 0.05, 0.05, 0.05, 0.05])
    return np.searchsorted(names, label), np.searchsorted(names, predicted), [str(name) for name in names]


def test_the_sets_of_case_e_are_a_mismatch_and_the_classes_are_named() -> None:
    label, predicted, names = case_e()
    block = block_of(label, predicted, len(names))
    assert fired(LabelSpace(), block, KIND) == [9]
    found = readings(LabelSpace(), block)
    flags = found["class_space_flags"][0, :, -1].long().tolist()
    assert [n for n, flag in zip(names, flags, strict=True) if flag & UNLABELLED] == ["1", "5", "7", "8", "9"]
    assert [n for n, flag in zip(names, flags, strict=True) if flag & UNPREDICTED] == ["-1", "6", "102", "106", "107"]
    slots = {name: dict(zip(names, found[name][0, :, -1].tolist(), strict=True)) for name in MISMATCH.slots}
    told = {name: found[name][0, -1].item() for name in (MISMATCH.value, *MISMATCH.evidence)}
    text = MISMATCH.describe(Facts("val", None, "firing", 5, 9, told, {}, {}, slots=slots))
    assert "[1 5 7 8 9] are predicted but never a label, [-1 6 102 106 107] the reverse" in text


@pytest.mark.parametrize("classes", [3, 10, 100, 1000])
def test_a_permuted_map_is_found_whatever_the_number_of_classes(classes: int) -> None:
    rng = np.random.default_rng(classes)
    label = rng.integers(0, classes, (10, max(256, 30 * classes)))
    right = np.where(rng.random(label.shape) < 0.8, label, rng.integers(0, classes, label.shape))
    as_text = np.argsort(np.argsort([str(place) for place in range(classes)]))  # 1, 10, 100, 11, ...
    order = as_text if classes > 10 else np.roll(np.arange(classes), 1)
    assert fired(LabelSpace(), block_of(label, right, classes), KIND) == [None]
    permuted = block_of(label, order[right], classes)
    assert fired(LabelSpace(), permuted, KIND) == [9]
    found = readings(LabelSpace(), permuted)
    flags = found["class_space_flags"][0, :, -1].long().numpy()
    moved = np.flatnonzero(flags & MOVED)
    assert moved.tolist() == np.flatnonzero(order != np.arange(classes)).tolist()
    assert found["class_space_place"][0, :, -1].long().numpy()[moved].tolist() == order[moved].tolist()


def test_two_exchanged_classes_are_enough() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, (20, 256))
    exchanged = np.array([0, 1, 3, 2, 4, 5, 6, 7, 8, 9])
    assert fired(LabelSpace(), block_of(label, exchanged[label], 10), KIND) == [9]


def test_classes_that_are_not_declared_or_not_trained_are_strange() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 5, (20, 128))
    assert fired(LabelSpace(), block_of(label, label, 5, declared=range(5)), KIND) == [None]
    assert fired(LabelSpace(), block_of(label, label, 5, declared=range(4)), KIND) == [9]
    judged = np.arange(20) % 2
    trained = np.where(judged[:, None] == 0, label % 4, label)
    assert fired(LabelSpace(), block_of(trained, trained, 5, judged=judged), KIND) == [19]
    assert fired(LabelSpace(), block_of(label, label, 5, judged=judged), KIND) == [None]


@pytest.mark.parametrize("accuracy", [0.1, 0.3, 0.6, 0.95])
def test_a_poor_classifier_is_no_mismatch(accuracy: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        label = rng.choice(10, size=(100, 64), p=rng.dirichlet(np.ones(10)))
        wrong = rng.choice(10, size=label.shape, p=rng.dirichlet(np.full(10, 0.5)))
        predicted = np.where(rng.random(label.shape) < accuracy, label, wrong)
        assert fired(LabelSpace(), block_of(label, predicted, 10), KIND) == [None]


def test_a_model_that_predicts_one_class_only_has_no_wrong_map() -> None:
    label = np.random.default_rng(0).integers(0, 10, (100, 64))
    assert fired(LabelSpace(), block_of(label, np.full_like(label, 3), 10), KIND) == [None]
