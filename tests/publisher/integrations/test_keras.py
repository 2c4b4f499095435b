from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch

import losswatch
from losswatch.integrations.keras import LosswatchCallback
from losswatch.transport import MemoryTransport
from tests.publisher.integrations.reading import (
    advised_to_stop,
    endings,
    measured,
    names,
    predictions,
    series,
    types,
)

# Keras 3.15 gives numpy its variables in a way that numpy 2 deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def model() -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    outputs = {
        "kind": keras.layers.Dense(3, activation="softmax", kernel_regularizer="l2", name="kind")(inputs),
        "size": keras.layers.Dense(1, name="size")(inputs),
    }
    made = keras.Model(inputs, outputs)
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    made.compile(optimizer=keras.optimizers.SGD(0.1), loss=losses, metrics={"kind": ["accuracy"]})
    return made


@pytest.fixture
def data() -> tuple[Any, dict[str, Any]]:
    random = np.random.default_rng(0)
    return random.normal(size=(24, 4)).astype("f4"), {
        "kind": random.integers(0, 3, 24),
        "size": random.normal(size=(24, 1)).astype("f4"),
    }


@pytest.fixture
def losses(model: Any) -> Iterator[list[float]]:
    """Each training batch's loss, seen from below the callback."""
    seen: list[float] = []
    original = type(model).compute_loss

    def compute_loss(self: Any, *args: Any, training: bool = True, **kwargs: Any) -> Any:
        loss = original(self, *args, training=training, **kwargs)
        if training:
            seen.append(loss.item())
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "compute_loss", compute_loss)
        yield seen


def fit(model: Any, data: Any, *callbacks: Any, **options: Any) -> None:
    settings = {"batch_size": 4, "epochs": 2, "verbose": 0, "shuffle": False, "callbacks": list(callbacks)}
    model.fit(*data, **{**settings, **options})


def test_the_backend_is_torch() -> None:
    assert keras.backend.backend() == "torch"


def test_each_batchs_own_loss_arrives(model: Any, data: Any, losses: list[float]) -> None:
    transport = MemoryTransport()
    fit(model, data, LosswatchCallback("r", transport=transport))
    assert len(losses) == 12
    assert series(transport, "train") == pytest.approx(dict(enumerate(losses)))
    assert measured(transport, "train") == {"step"}
    assert endings(transport) == [("finished", None)]
    assert "compute_loss" not in vars(model)


def test_a_nan_of_one_batch_is_seen(model: Any, data: Any, losses: list[float]) -> None:
    x, y = data
    x = x.copy()
    x[8, 0] = np.nan
    transport = MemoryTransport()
    fit(model, (x, y), LosswatchCallback("r", transport=transport), epochs=1)
    assert [step for step, value in series(transport, "train").items() if np.isnan(value)] == [2, 3, 4, 5]


def test_the_means_of_an_epoch_and_of_a_validation_are_declared_as_such(model: Any, data: Any) -> None:
    transport = MemoryTransport()
    fit(model, data, LosswatchCallback("r", transport=transport), validation_data=data)
    history = {name: list(map(float, values)) for name, values in model.history.history.items()}
    assert series(transport, "train_epoch") == pytest.approx(dict(zip((5, 11), history["loss"], strict=True)))
    assert series(transport, "val") == pytest.approx(dict(zip((5, 11), history["val_loss"], strict=True)), rel=1e-5)
    expected = {"total", "components.kind", "components.size", "metrics.kind_accuracy"}
    assert names(transport, "val") == names(transport, "train_epoch") == expected
    assert measured(transport, "val") == measured(transport, "train_epoch") == {"epoch_mean"}
    assert names(transport, "train") == {"total"}


def test_where_the_loss_is_only_traced_the_running_means_are_declared(model: Any, data: Any) -> None:
    model.jit_compile = True
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    callback.set_model(model)
    callback.on_train_begin()
    for batch, mean in enumerate([1.0, 0.75, 0.5]):
        callback.on_train_batch_end(batch, {"loss": mean, "kind_loss": mean / 2})
    callback.on_train_end()
    assert series(transport, "train") == {0: 1.0, 1: 0.75, 2: 0.5}
    assert series(transport, "train", "components.kind") == {0: 0.5, 1: 0.375, 2: 0.25}
    assert measured(transport, "train") == {"running_mean"}


def test_evaluate_and_predict_go_on_with_the_run(data: Any) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    x, y = data[0], data[1]["kind"]
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport, kind="probabilities")
    fit(model, (x, y), callback)
    loss = model.evaluate(x, y, verbose=0, callbacks=[callback])
    model.predict(x, batch_size=12, verbose=0, callbacks=[callback])
    callback.finish()
    assert series(transport, "test") == {11: pytest.approx(loss, rel=1e-5)}
    assert [np.asarray(batch.values).shape for batch in predictions(transport, "predict")] == [(12, 3), (12, 3)]
    assert types(transport).count("run_start") == 2


def test_the_advice_to_stop_stops_the_fit(
    model: Any, data: Any, losses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    advised_to_stop(monkeypatch, after=4)
    fit(model, data, LosswatchCallback("r", transport=MemoryTransport()), epochs=50)
    assert 4 <= len(losses) < 100


def test_an_exception_leaves_through_the_runs_own_block(model: Any, data: Any, losses: list[float]) -> None:
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise RuntimeError("bad batch")

    transport = MemoryTransport()
    with pytest.raises(RuntimeError, match="bad batch"), losswatch.start("r", transport=transport) as run:
        fit(model, data, LosswatchCallback(run), Failing())
    assert endings(transport) == [("failed", "RuntimeError: bad batch")]
    again = MemoryTransport()
    fit(model, data, LosswatchCallback("again", transport=again), epochs=1)
    assert len(series(again, "train")) == 6


def test_a_process_that_is_told_not_to_publishes_nothing(model: Any, data: Any) -> None:
    transport = MemoryTransport()
    fit(model, data, LosswatchCallback("r", publish=False, transport=transport), epochs=1)
    assert transport.records == []


def test_the_callback_is_safe_for_asynchronous_dispatch_and_watching_changes_nothing(data: Any) -> None:
    assert LosswatchCallback.async_safe

    def weights(*callbacks: Any) -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer="sgd")
        fit(model, (data[0], data[1]["size"]), *callbacks)
        return model.get_weights()[0]

    watched = weights(LosswatchCallback("r", transport=MemoryTransport()))
    assert torch.equal(torch.from_numpy(weights()), torch.from_numpy(watched))


def test_what_goes_wrong_in_the_callback_stays_there(
    model: Any, data: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("losswatch.Run.log", broken)
    fit(model, data, LosswatchCallback("r", transport=MemoryTransport()))
    assert sum("LosswatchCallback._seen failed" in message for message in caplog.messages) == 1
