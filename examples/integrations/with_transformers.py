"""Hugging Face Trainer: the mixin sees each step's loss and components, the callback reports them."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from transformers import BertConfig, BertForSequenceClassification, EvalPrediction, Trainer, TrainingArguments

from losswatch.integrations.transformers import LosswatchCallback, LosswatchMixin
from losswatch.transport import Transport


class WatchedTrainer(LosswatchMixin, Trainer):
    """The Trainer, watched."""


def accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main(transport: Transport | None = None) -> None:
    torch.manual_seed(0)
    size = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    model = BertForSequenceClassification(BertConfig(**size, num_labels=3))
    samples: list[dict[str, Any]] = [{"input_ids": torch.randint(0, 50, (8,)), "labels": i % 3} for i in range(96)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=2,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            logging_steps=4,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = WatchedTrainer(
            model,
            arguments,
            train_dataset=samples,
            eval_dataset=samples[:24],
            compute_metrics=accuracy,
            callbacks=[LosswatchCallback("with-transformers", transport=transport)],
        )
        trainer.train()


if __name__ == "__main__":
    main()
