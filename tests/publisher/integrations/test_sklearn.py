from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.metrics import hinge_loss, log_loss, mean_squared_error
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

import losswatch
from losswatch.integrations.sklearn import PartialFit
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import predictions, series

CLASSES = [0, 1, 2]


@pytest.fixture
def data() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(30, 4)), np.arange(30) % 3


def of_probabilities(model: Any, X: Any, y: Any) -> float:
    return float(log_loss(y, model.predict_proba(X), labels=CLASSES))


def of_decisions(model: Any, X: Any, y: Any) -> float:
    return float(hinge_loss(y, model.decision_function(X), labels=CLASSES))


def of_itself(model: Any, X: Any, y: Any) -> float:
    return float(model.loss_)


@pytest.mark.parametrize(
    ("estimator", "loss"),
    [
        (SGDClassifier(loss="log_loss", random_state=0), of_probabilities),
        (SGDClassifier(loss="hinge", random_state=0), of_decisions),
        (GaussianNB(), of_probabilities),
        (MLPClassifier((4,), random_state=0), of_itself),
    ],
    ids=["log_loss", "hinge", "naive_bayes", "mlp"],
)
def test_each_batchs_loss_arrives(estimator: Any, loss: Any, data: tuple[Any, Any]) -> None:
    transport, expected = MemoryTransport(), []
    X, y = data
    with losswatch.start("r", transport=transport) as run:
        model = PartialFit(estimator, run)
        for part in np.split(np.arange(30), 5):
            fitted = model.partial_fit(X[part], y[part], classes=CLASSES)
            expected.append(loss(fitted, X[part], y[part]))
    assert series(transport, "train") == pytest.approx(dict(enumerate(expected)))


def test_a_regressors_loss_is_half_the_mean_squared_error(data: tuple[Any, Any]) -> None:
    transport = MemoryTransport()
    X, y = data
    with losswatch.start("r", transport=transport) as run:
        fitted = PartialFit(SGDRegressor(random_state=0), run).partial_fit(X, y)
    assert series(transport, "train") == {0: pytest.approx(0.5 * mean_squared_error(y, fitted.predict(X)))}


def test_held_out_samples_are_scored_and_predicted(data: tuple[Any, Any]) -> None:
    transport = MemoryTransport()
    X, y = data
    with losswatch.start("r", transport=transport) as run:
        model = PartialFit(GaussianNB(), run, held_out=(X[20:], y[20:]), every=2, with_labels=True)
        for _ in range(4):
            fitted = model.partial_fit(X[:20], y[:20], classes=CLASSES)
    assert list(series(transport, "val")) == [0, 2]
    assert series(transport, "val", "metrics.score")[2] == pytest.approx(fitted.score(X[20:], y[20:]))
    batches = predictions(transport, "val")
    assert [batch.step for batch in batches] == [0, 2]
    np.testing.assert_array_equal(batches[1].labels, y[20:])
    assert np.asarray(batches[1].values).shape == (10, 3)


def test_what_the_estimator_raises_is_raised_and_what_the_report_raises_is_not(
    data: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    X, y = data
    with losswatch.start("r", transport=MemoryTransport()) as run:
        model = PartialFit(GaussianNB(), run, held_out=(X[:, :2], y))
        model.partial_fit(X, y, classes=CLASSES)
        with pytest.raises(ValueError, match="inconsistent"):
            model.partial_fit(X, y[:3])
    assert sum("PartialFit._report failed" in message for message in caplog.messages) == 1
