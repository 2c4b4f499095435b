"""Scores against scikit-learn, and what averages hide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from detectors.labels.confusion import Confusion
from detectors.labels.counts import class_counts
from detectors.recurrence import decay_of
from tests.detectors.labels.records import Places, block_of, fired, readings


def a_classifier(
    seed: int, shares: list[float], accuracy: float, records: int = 60, samples: int = 64
) -> tuple[Places, Places]:
    """Labels of given shares; wrong predictions are spread over the other classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), size=(records, samples), p=shares)
    other = (labels + rng.integers(1, len(shares), labels.shape)) % len(shares)
    return labels, np.where(rng.random(labels.shape) < accuracy, labels, other)


@pytest.mark.parametrize("classes", [2, 7, 64, 65, 300])
def test_counts_are_those_of_the_confusion_matrix(classes: int) -> None:
    rng = np.random.default_rng(classes)
    label, predicted = rng.integers(0, classes, (2, 3, 500))
    found = class_counts(torch.from_numpy(label), torch.from_numpy(predicted), classes)
    for g in range(3):
        matrix = confusion_matrix(label[g], predicted[g], labels=np.arange(classes))
        assert found[g, 0].tolist() == matrix.sum(1).tolist()
        assert found[g, 1].tolist() == matrix.sum(0).tolist()
        assert found[g, 2].tolist() == matrix.diagonal().tolist()
        by_bit = [[int(((predicted[g] >> bit) & 1)[label[g] == c].sum()) for c in range(classes)] for bit in range(10)]
        assert found[g, 3:13].tolist() == by_bit


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_scores_are_those_of_scikit_learn_on_the_same_window(classes: int) -> None:
    labels, predicted = a_classifier(0, [1 / classes] * classes, 0.6)
    found = readings(Confusion(), block_of(labels, predicted, classes))
    age = np.repeat(np.arange(59, -1, -1), 64)
    weight = decay_of(32.0) ** age
    for average in ("macro", "weighted"):
        want = precision_recall_fscore_support(
            labels.ravel(), predicted.ravel(), average=average, zero_division=0, sample_weight=weight
        )
        for name, value in zip(("precision", "recall", "f1"), want[:3], strict=True):
            assert found[f"{average}_{name}_ratio"][0, -1].item() == pytest.approx(value, abs=1e-6)
        whole = precision_recall_fscore_support(labels.ravel(), predicted.ravel(), average=average, zero_division=0)
        assert found[f"{average}_f1_since_start_ratio"][0, -1].item() == pytest.approx(whole[2], abs=1e-6)
    each = precision_recall_fscore_support(
        labels.ravel(), predicted.ravel(), labels=np.arange(classes), zero_division=0, sample_weight=weight
    )
    for name, values in zip(("precision", "recall", "f1"), each[:3], strict=True):
        np.testing.assert_allclose(found[f"class_{name}_ratio"][0, :, -1].numpy(), values, atol=1e-6)
    accuracy = accuracy_score(labels.ravel(), predicted.ravel(), sample_weight=weight)
    assert found["label_accuracy_ratio"][0, -1].item() == pytest.approx(accuracy, abs=1e-6)


def test_a_model_that_predicts_normal_whatever_comes_is_found_out_as_in_case_e() -> None:
    shares = [0.14, 0.80, 0.02, 0.01, 0.01, 0.01, 0.01]
    labels, _ = a_classifier(0, shares, 1.0, records=40, samples=256)
    predicted = np.where(labels == 0, 1, labels)
    predicted = np.where(np.isin(predicted, [2, 3, 4, 5, 6]), 1, predicted)
    block = block_of(labels, predicted, 7)
    found = readings(Confusion(), block)
    assert found["weighted_precision_ratio"][0, -1] > 0.6
    assert found["macro_precision_ratio"][0, -1] < 0.2
    assert fired(Confusion(), block, "class_imbalance")[0] is not None
    never = fired(Confusion(), block, "class_never_predicted")
    assert [place for place, at in enumerate(never) if at is not None] == [0, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("shares", [[0.25] * 4, [0.1] * 10, [0.9, 0.1], [0.97, 0.01, 0.01, 0.01]])
def test_a_classifier_that_finds_its_rare_classes_is_healthy(shares: list[float], accuracy: float) -> None:
    for seed in range(5):
        labels, predicted = a_classifier(seed, shares, max(accuracy, 0.9 if shares[0] > 0.5 else 0.0), records=200)
        block = block_of(labels, predicted, len(shares))
        assert fired(Confusion(), block, "class_never_predicted") == [None] * len(shares)
        if shares[0] < 0.95:
            assert fired(Confusion(), block, "class_imbalance") == [None]


def test_rare_classes_have_an_average_of_their_own() -> None:
    labels, predicted = a_classifier(0, [0.5, 0.47, 0.03], 1.0)
    predicted = np.where(labels == 2, 0, labels)
    found = readings(Confusion(), block_of(labels, predicted, 3))
    assert found["rare_f1_ratio"][0, -1].item() == 0.0
    assert found["macro_f1_ratio"][0, -1].item() > 0.6


def test_the_training_phase_has_more_time() -> None:
    labels, _ = a_classifier(0, [0.5, 0.5], 1.0, records=20)
    predicted = np.zeros_like(labels)
    assert fired(Confusion(), block_of(labels, predicted, 2), "class_never_predicted")[1] is not None
    early = block_of(labels, predicted, 2, training=True)
    assert fired(Confusion(), early, "class_never_predicted") == [None, None]


def test_a_real_classifier_that_never_saw_a_class_is_told_and_one_that_did_is_not() -> None:
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    images, digits = images[order] / 16, digits[order]
    half = 900
    for seen, expected in ((digits != 7, [7]), (digits >= 0, [])):
        train = np.flatnonzero(seen[:half])
        model = LogisticRegression(max_iter=200).fit(images[train], digits[train])
        labels = digits[half : half + 64 * 13].reshape(13, 64).astype(np.int64)
        predicted = model.predict(images[half : half + 64 * 13]).reshape(13, 64).astype(np.int64)
        told = fired(Confusion(), block_of(labels, predicted, 10), "class_never_predicted")
        assert [place for place, at in enumerate(told) if at is not None] == expected
