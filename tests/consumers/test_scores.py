"""Scores of labelled predictions, from the wire to the metric, against scikit-learn over the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.samples import KEPT_SCORES
from detectors.labels.confusion import RARE
from detectors.labels.ranking import TOP
from detectors.predictions.distribution import BINS
from detectors.recurrence import decay_of
from losswatch.schema import Predictions
from tests.consumers.builders import a_fleet, decoded

Floats = npt.NDArray[np.float64]
RECORDS, SAMPLES = 9, 96
WINDOW = 32.0


def a_phase(classes: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Probabilities (T, N, C), many of them equal, and labels (T, N), most of which are of the class 0."""
    rng = np.random.default_rng(classes)
    share = np.full(classes, 0.6 / (classes - 1))
    share[0] = 0.4
    labels = rng.choice(classes, (RECORDS, SAMPLES), p=share)
    logits = np.round(rng.normal(0, 1, (RECORDS, SAMPLES, classes)) + 3 * np.eye(classes)[labels], 1)
    powers = np.exp(logits)
    return powers / powers.sum(-1, keepdims=True), labels


def consumed(p: Floats, labels: npt.NDArray[np.int64], together: int) -> Fleet:
    fleet = a_fleet()
    items = decoded(
        Predictions(
            run="r", time=0.0, phase="val", step=step, kind="probabilities", values=p[step], labels=labels[step]
        )
        for step in range(RECORDS)
    )
    for start in range(0, RECORDS, together):
        fleet.take(items[start : start + together])
    return fleet


def scores(fleet: Fleet) -> Mapping[str, float]:
    found = Painter(fleet, 1e9).paint(0.0).of_run("r")
    return {name: values["val",] for name, values in found.items() if ("val",) in values}


def expected_calibration_error(p: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Bin by bin, as Guo et al. (2017) define it."""
    confidence, right = p.max(1), p.argmax(1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    inside = [(confidence > low) & (confidence <= high) for low, high in pairwise(edges)]
    gaps = [abs(right[where].mean() - confidence[where].mean()) * where.mean() for where in inside if where.any()]
    return float(sum(gaps))


def precision_at(k: int, positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Of the highest scores; those that tie for the last places are drawn at random."""
    last = np.sort(score)[-k]
    sure, tied = score > last, score == last
    return float((positive[sure].sum() + (k - sure.sum()) * positive[tied].mean()) / k)


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("classes", [2, 3, 40, 1500])
def test_scores_are_those_of_scikit_learn(classes: int, together: int) -> None:
    p, labels = a_phase(classes)
    found = scores(consumed(p, labels, together))
    truth, predicted = labels.ravel(), p.argmax(-1).ravel()
    weight = np.repeat(decay_of(WINDOW) ** np.arange(RECORDS - 1, -1, -1), SAMPLES)
    anomaly, score = truth[-KEPT_SCORES:] != 0, (1 - p[..., 0]).ravel()[-KEPT_SCORES:]
    want = {
        "label_accuracy_ratio": accuracy_score(truth, predicted, sample_weight=weight),
        "label_accuracy_since_start_ratio": accuracy_score(truth, predicted),
        "calibration_error_ratio": expected_calibration_error(p[-1], labels[-1]),
        "roc_auc_ratio": roc_auc_score(anomaly, score),
        "pr_auc_ratio": average_precision_score(anomaly, score),
        "precision_at_k_ratio": precision_at(int(TOP.default), anomaly, score),
    }
    for average in ("macro", "weighted"):
        f1 = f1_score(truth, predicted, average=average, zero_division=0, sample_weight=weight)
        whole = f1_score(truth, predicted, average=average, zero_division=0)
        want |= {f"{average}_f1_ratio": f1, f"{average}_f1_since_start_ratio": whole}
    assert len(np.union1d(truth, predicted)) <= 1024
    for name, value in want.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_the_f1_of_rare_classes_is_the_mean_over_those_below_the_share() -> None:
    p, labels = a_phase(40)
    truth, predicted = labels.ravel(), p.argmax(-1).ravel()
    weight = np.repeat(decay_of(WINDOW) ** np.arange(RECORDS - 1, -1, -1), SAMPLES)
    share = np.bincount(truth, weight, minlength=40) / weight.sum()
    rare = np.flatnonzero((share > 0) & (share < RARE.default))
    assert len(rare) == 39
    want = f1_score(truth, predicted, labels=rare, average="macro", zero_division=0, sample_weight=weight)
    assert scores(consumed(p, labels, 2))["rare_f1_ratio"] == pytest.approx(want, abs=1e-6)


def test_accuracy_and_calibration_are_of_all_classes_where_there_are_more_than_have_a_place() -> None:
    rng = np.random.default_rng(0)
    fleet, classes, hits = a_fleet(), 5000, 0.0
    for step in range(4):
        labels = rng.integers(0, classes, 600)
        predicted = np.where(rng.random(600) < 0.75, labels, rng.integers(0, classes, 600))
        told = Predictions(
            run="r", time=0.0, phase="val", step=step, kind="classes", values=[f"c{k}" for k in predicted],
            labels=[f"c{k}" for k in labels],
        )  # fmt: skip
        fleet.take(decoded([told], first=step))
        hits += (labels == predicted).sum()
    assert len(fleet.runs["r"].classes.names) == 1024
    assert scores(fleet)["label_accuracy_since_start_ratio"] == pytest.approx(hits / 2400, abs=1e-6)


@pytest.mark.parametrize(("right", "fires"), [(True, False), (False, True)])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_good_classifier_of_imbalanced_data_has_not_collapsed(right: bool, fires: bool, labelled: bool) -> None:
    rng = np.random.default_rng(0)
    fleet, found = a_fleet(), []
    for step in range(40):
        labels = (rng.random(128) < 0.1).astype(np.int64)
        values = rng.normal(0, 1, (128, 2)) + 8 * np.eye(2)[labels if right else np.zeros(128, dtype=np.int64)]
        told = Predictions(
            run="r", time=0.0, phase="val", step=step, kind="logits", values=values, labels=labels if labelled else None
        )
        found += fleet.take(decoded([told], first=step))[0]
    fired = "diversity_collapse" in {each.kind for each in found if each.state == "firing"}
    assert fired == (fires or not labelled)
