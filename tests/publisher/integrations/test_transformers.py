from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from losswatch.integrations.transformers import LosswatchCallback, LosswatchMixin
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

Samples = list[dict[str, Any]]


class Model(nn.Module):
    """Returns a loss, a component and logits; keeps every loss of training."""

    def __init__(self, nan_at: int | None = None, fail_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
        self.nan_at, self.fail_at = nan_at, fail_at
        self.losses: list[float] = []
        self.penalties: list[float] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        logits = self.layer(x)
        assert labels is not None
        penalty = self.layer.weight.square().sum()
        loss = nn.functional.cross_entropy(logits, labels) + 0.1 * penalty
        if self.training:
            if len(self.losses) == self.nan_at:
                # Without a gradient: the model goes on.
                loss = loss + (math.nan - loss).detach()
            if len(self.losses) == self.fail_at:
                raise RuntimeError("bad batch")
            self.losses.append(loss.item())
            self.penalties.append(penalty.item())
        return {"loss": loss, "logits": logits, "penalty": penalty}


class Watched(LosswatchMixin, Trainer):
    """As a user writes it."""


@pytest.fixture
def samples() -> Samples:
    generator = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(4, generator=generator), "labels": i % 3} for i in range(24)]


def arguments(root: Path, **options: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(root),
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 8,
        "num_train_epochs": 1,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(**{**settings, **options})


def steps_of(values: list[float], accumulated: int) -> dict[int, float]:
    """Means over accumulated batches, by global step."""
    cut = range(0, len(values), accumulated)
    return {i + 1: sum(values[first : first + accumulated]) / accumulated for i, first in enumerate(cut)}


@pytest.mark.parametrize("accumulated", [1, 3])
def test_each_steps_loss_arrives_with_its_components_and_nan_is_seen(
    samples: Samples, tmp_path: Path, accumulated: int
) -> None:
    transport, model = MemoryTransport(), Model(nan_at=4)
    callback = LosswatchCallback("r", transport=transport)
    options = arguments(tmp_path, gradient_accumulation_steps=accumulated)
    assert options.logging_nan_inf_filter
    trainer = Watched(model, options, train_dataset=samples, callbacks=[callback])
    trainer.train()
    expected = steps_of(model.losses, accumulated)
    assert series(transport, "train") == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert any(map(math.isnan, expected.values()))
    assert not any(math.isnan(log["loss"]) for log in trainer.state.log_history if "loss" in log)
    assert series(transport, "train", "components.penalty") == pytest.approx(steps_of(model.penalties, accumulated))
    assert measured(transport, "train") == {"step"}
    assert {"metrics.learning_rate", "metrics.grad_norm"} <= names(transport, "train")
    assert endings(transport) == [("finished", None)]


def test_the_callback_alone_declares_the_logged_loss_a_mean(samples: Samples, tmp_path: Path) -> None:
    transport, model = MemoryTransport(), Model()
    callback = LosswatchCallback("r", transport=transport)
    Trainer(model, arguments(tmp_path), train_dataset=samples, callbacks=[callback]).train()
    expected = {step * 2: value for step, value in steps_of(model.losses, 2).items()}
    assert series(transport, "train") == pytest.approx(expected, rel=1e-3)
    assert measured(transport, "train") == {"mean_since_last"}


def test_an_evaluation_is_one_step_of_means_and_its_predictions_are_seen(samples: Samples, tmp_path: Path) -> None:
    transport, model = MemoryTransport(), Model()
    callback = LosswatchCallback("r", transport=transport, with_labels=True)
    options = arguments(tmp_path, eval_strategy="steps", eval_steps=3)
    trainer = Watched(
        model, options, train_dataset=samples, eval_dataset=samples, callbacks=[callback], compute_metrics=accuracy
    )
    trainer.train()
    evaluated = {log["step"]: log for log in trainer.state.log_history if "eval_loss" in log}
    assert series(transport, "val") == pytest.approx({step: log["eval_loss"] for step, log in evaluated.items()})
    assert list(evaluated) == [3, 6]
    assert names(transport, "val") == {"total", "metrics.accuracy"}
    assert measured(transport, "val") == {"epoch_mean"}
    batches = predictions(transport, "val")
    assert [(batch.step, batch.kind) for batch in batches] == [(step, "logits") for step in (3, 6) for _ in range(3)]
    np.testing.assert_array_equal(batches[0].labels, [i % 3 for i in range(8)])
    assert list(series(transport, "train")) == [1, 2, 3, 4, 5, 6]


def test_predictions_after_the_training_are_of_the_test_phase(samples: Samples, tmp_path: Path) -> None:
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    trainer = Watched(
        Model(), arguments(tmp_path), train_dataset=samples, callbacks=[callback], compute_metrics=accuracy
    )
    trainer.train()
    result = trainer.predict(samples)
    callback.finish()
    assert result.metrics is not None
    assert series(transport, "test") == {6: pytest.approx(result.metrics["test_loss"])}
    assert len(predictions(transport, "test")) == 3
    assert all(batch.labels is None for batch in predictions(transport, "test"))
    assert types(transport).count("run_start") == 2


def test_without_the_mixin_predictions_come_through_compute_metrics(samples: Samples, tmp_path: Path) -> None:
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    trainer = Trainer(
        Model(),
        arguments(tmp_path),
        eval_dataset=samples,
        callbacks=[callback],
        compute_metrics=callback.watching(accuracy),
    )
    found = trainer.evaluate()
    callback.finish()
    (batch,) = predictions(transport, "val")
    assert np.asarray(batch.values).shape == (24, 3)
    assert "eval_accuracy" in found


def test_each_of_several_data_sets_is_a_phase(samples: Samples, tmp_path: Path) -> None:
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    parts: dict[str, Any] = {"german": samples[:8], "dutch": samples[8:]}
    found = Watched(Model(), arguments(tmp_path), eval_dataset=parts, callbacks=[callback]).evaluate()
    callback.finish()
    assert series(transport, "val/german") == {0: pytest.approx(found["eval_german_loss"])}
    assert series(transport, "val/dutch") == {0: pytest.approx(found["eval_dutch_loss"])}


def test_an_exception_ends_the_run_as_failed_and_goes_on(samples: Samples, tmp_path: Path) -> None:
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    trainer = Watched(Model(fail_at=3), arguments(tmp_path), train_dataset=samples, callbacks=[callback])
    with pytest.raises(RuntimeError, match="bad batch"):
        trainer.train()
    assert endings(transport) == [("failed", "RuntimeError: bad batch")]
    assert list(series(transport, "train")) == [1, 2, 3]


def test_the_advice_to_stop_stops_the_training(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised_to_stop(monkeypatch, after=4)
    callback = LosswatchCallback("r", transport=MemoryTransport())
    trainer = Trainer(Model(), arguments(tmp_path), train_dataset=samples, callbacks=[callback])
    trainer.train()
    assert trainer.state.global_step == 4


def test_a_loss_scaled_by_the_items_of_the_whole_step_is_summed(samples: Samples, tmp_path: Path) -> None:
    """As language models do: each batch's loss is its sum over the number of items of all accumulated batches."""
    transport, seen = MemoryTransport(), []

    def loss_of(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = nn.functional.cross_entropy(outputs["logits"], labels, reduction="sum") / num_items_in_batch
        seen.append(loss.item())
        return loss

    callback = LosswatchCallback("r", transport=transport)
    options = arguments(tmp_path, gradient_accumulation_steps=3)
    tokens: Samples = [{"x": sample["x"], "labels": torch.tensor([sample["labels"]] * 2)} for sample in samples]
    trainer = Watched(Wide(), options, train_dataset=tokens, callbacks=[callback], compute_loss_func=loss_of)
    trainer.train()
    assert series(transport, "train") == pytest.approx({1: sum(seen[:3]), 2: sum(seen[3:])}, rel=1e-5)


class Wide(nn.Module):
    """Two labels per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"logits": self.layer(x).view(-1, 3, 2)}


def test_a_real_model_is_watched(tmp_path: Path) -> None:
    size = {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
    }
    model = BertForSequenceClassification(BertConfig(**size, num_labels=3))
    tokens: Samples = [{"input_ids": torch.randint(0, 20, (6,)), "labels": i % 3} for i in range(8)]
    transport = MemoryTransport()
    callback = LosswatchCallback("r", transport=transport)
    trainer = Watched(
        model,
        arguments(tmp_path),
        train_dataset=tokens,
        eval_dataset=tokens,
        callbacks=[callback],
        compute_metrics=accuracy,
    )
    trainer.train()
    trainer.evaluate()
    callback.finish()
    assert isinstance(model(input_ids=tokens[0]["input_ids"][None]), SequenceClassifierOutput)
    assert list(series(transport, "train")) == [1, 2]
    assert len(predictions(transport, "val")) == 1


def test_what_goes_wrong_in_the_callback_stays_there(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("losswatch.Run.log", broken)
    callback = LosswatchCallback("r", transport=MemoryTransport())
    trainer = Watched(Model(), arguments(tmp_path), train_dataset=samples, callbacks=[callback])
    trainer.train()
    assert trainer.state.global_step == 6
    assert sum("LosswatchCallback.on_step_end failed" in message for message in caplog.messages) == 1


def accuracy(prediction: Any) -> dict[str, float]:
    values = prediction.predictions
    logits = values[0] if isinstance(values, tuple) else values
    return {"accuracy": float((logits.argmax(-1) == prediction.label_ids).mean())}
