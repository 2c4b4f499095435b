"""What the value of the nearest training sample would give, against the model's error: as scikit-learn has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.references import MOST_TARGETS, References
from consumers.snapshots import restore, snapshot
from losswatch.schema import Predictions, Record, Reference
from tests.consumers.builders import a_fleet, decoded, make_start

COMMON: dict[str, Any] = {"run": "r", "time": 1000.0, "phase": "val"}


def taken(*records: Record) -> Fleet:
    fleet = a_fleet()
    fleet.take(decoded(records))
    return fleet


def reading(fleet: Fleet, name: str, part: str = "") -> float:
    """NaN where it is not exported."""
    return Painter(fleet, 1e9).paint(0.0).of_run("r").get(f"coverage_{name}", {}).get(("val", part), float("nan"))


def a_regression(**fields: Any) -> tuple[list[Record], np.ndarray[Any, np.dtype[np.float64]], Any]:
    """Records of a model that is off by a tenth of what it is to predict; the baseline's errors; the slices."""
    x, y = load_diabetes(return_X_y=True)
    x = x.astype(np.float32).astype(np.float64)  # as references are kept
    nearest = make_pipeline(StandardScaler(), KNeighborsRegressor(1)).fit(x[:300], y[:300])
    slices = ["low" if value < 100 else "high" for value in y[300:]]
    records = [
        Reference(run="r", time=1000.0, features=x[:300], targets={"mae": y[:300]}),
        Predictions(
            **COMMON,
            step=0,
            features=x[300:],
            slices=slices,
            errors={"mae": 0.1 * y[300:], "other": y[300:]},
            **({"targets": {"mae": y[300:]}} | fields),
        ),
    ]
    return records, np.abs(nearest.predict(x[300:]) - y[300:]), np.array(slices)


def test_a_regressor_is_compared_with_its_nearest_training_sample() -> None:
    records, copied, slices = a_regression()
    fleet = taken(*records)
    own = 0.1 * np.asarray(records[1].targets["mae"])  # type: ignore[attr-defined]  # it is the predictions
    assert reading(fleet, "neighbour_error") == pytest.approx(copied.mean())
    assert reading(fleet, "neighbour_error_ratio") == pytest.approx(own.mean() / copied.mean())
    for part in ("low", "high"):
        here = slices == part
        assert reading(fleet, "neighbour_error", part) == pytest.approx(copied[here].mean())
        assert reading(fleet, "neighbour_error_ratio", part) == pytest.approx(own[here].sum() / copied[here].sum())


def test_bins_of_distance_have_a_baseline_of_their_own() -> None:
    line = np.linspace(-2, 2, 101)[:, None]
    scale = line.std()
    at = np.array([0.0, 0.2, 2.0 + 0.7 * scale, 2.0 + 3 * scale])
    fleet = taken(
        Reference(run="r", time=0.0, features=line, targets={"y": 10 * line[:, 0]}),
        Predictions(**COMMON, step=0, features=at[:, None], errors={"y": [0.5, -0.5, 1.0, 9.0]},
                    targets={"y": [1.0, 3.0, 24.0, 22.0]}),
    )  # fmt: skip
    assert reading(fleet, "neighbour_error_near_ratio") == pytest.approx((0.5 + 0.5) / (1 + 1), rel=1e-5)
    assert reading(fleet, "neighbour_error_between_ratio") == pytest.approx(1.0 / 4, rel=1e-5)
    assert reading(fleet, "neighbour_error_far_ratio") == pytest.approx(9.0 / 2, rel=1e-5)


@pytest.mark.parametrize("kind", ["logits", "classes", "summary"])
def test_a_classifier_is_compared_with_the_label_of_its_nearest_training_sample(kind: str) -> None:
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32).astype(np.float64)
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[:60], order[60:]
    predicted = np.where(np.arange(len(val)) % 4 == 0, (y[val] + 1) % 3, y[val])
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(x[train], y[train])
    wrong = 1 - nearest.score(x[val], y[val])
    assert wrong > 0
    names = ["setosa", "versicolor", "virginica"]
    values: Any = 5.0 * np.eye(3)[predicted] if kind == "logits" else [names[place] for place in predicted]
    whole: Any = {"n": 90, "mean": np.full(3, 1 / 3), "counts": np.full(3, 30)} if kind == "summary" else {}
    fleet = taken(
        make_start("r", classes=names),
        Reference(run="r", time=0.0, features=x[train], labels=[names[place] for place in y[train]]),
        Predictions(**COMMON, step=0, kind=kind, values=values, features=x[val], labels=y[val].tolist(), **whole),
    )
    assert reading(fleet, "neighbour_error") == pytest.approx(wrong)
    assert reading(fleet, "neighbour_error_ratio") == pytest.approx((predicted != y[val]).mean() / wrong)


@pytest.mark.parametrize("fields", [{"targets": {}}, {"targets": {"other": np.zeros(142)}}])
def test_without_true_values_of_both_sides_nothing_is_compared(fields: dict[str, Any]) -> None:
    fleet = taken(*a_regression(**fields)[0])
    assert np.isnan(reading(fleet, "neighbour_error_ratio"))
    assert np.isfinite(reading(fleet, "error_far_ratio"))


def test_true_values_stay_with_their_samples_whatever_is_kept_and_through_a_snapshot() -> None:
    rows = np.arange(3000.0)[:, None].repeat(2, 1)
    kept = References(2)
    for start in range(0, 3000, 700):
        part = rows[start : start + 700]
        targets = {f"t{i}": i + part[:, 0] for i in range(6)} if start else {}
        kept.add(part, part[:, 0].astype(np.int64) % 10 if start else None, targets)
    kept = References.load(kept.dump())
    told = kept.rows[:, 0].astype(np.float64)
    late = told >= 700
    assert list(kept.targets) == [f"t{i}" for i in range(MOST_TARGETS)]
    np.testing.assert_array_equal(kept.targets["t3"][late], told[late] + 3)
    assert np.isnan(kept.targets["t3"][~late]).all()
    np.testing.assert_array_equal(kept.labels, np.where(late, told % 10, -1))


def test_labels_of_references_are_forgotten_when_other_classes_are_declared() -> None:
    features = np.random.default_rng(0).normal(size=(60, 2))
    reference = Reference(run="r", time=0.0, session="s", seq=1, features=features, labels=[0, 1] * 30)
    told = Predictions(**COMMON, step=0, kind="classes", values=[0, 1] * 5, labels=[0, 0] * 5, features=features[:10])
    declared = [make_start("r", seq=0, classes=["a", "b"]), make_start("r", seq=2, classes=["b", "a"])]
    assert reading(taken(declared[0], reference, told), "neighbour_error") == 0.5
    assert np.isnan(reading(taken(declared[0], reference, declared[1], told), "neighbour_error"))


def test_a_restored_run_knows_the_true_values_of_its_references() -> None:
    records, copied, _ = a_regression()
    fleet, other = taken(records[0]), a_fleet()
    restore(other, snapshot(fleet, list(fleet.runs.values()))[0])
    other.take(decoded([records[1]], first=1))
    assert reading(other, "neighbour_error") == pytest.approx(copied.mean())
