"""Lightning: a callback reports what the steps return."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from losswatch.integrations.lightning import LosswatchCallback
from losswatch.transport import Transport


class Classifier(LightningModule):
    """A linear classifier with a penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        entropy = nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
        penalty = self.layer.weight.square().sum()
        return {"loss": entropy + 0.01 * penalty, "entropy": entropy, "penalty": penalty}

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        logits = self.layer(batch[0])
        self.log("val_accuracy", (logits.argmax(1) == batch[1]).float().mean())
        return {"loss": nn.functional.cross_entropy(logits, batch[1]), "logits": logits}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(transport: Transport | None = None) -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(256, 8), torch.randint(0, 3, (256,)))
    loader = DataLoader(data, batch_size=32)
    objective = {"train": {"form": "weighted_sum", "weights": {"penalty": 0.01}}}
    callback = LosswatchCallback("with-lightning", objective=objective, transport=transport)
    with tempfile.TemporaryDirectory() as folder:
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(max_epochs=3, accelerator="cpu", callbacks=[callback], default_root_dir=folder, **quiet)
        trainer.fit(Classifier(), loader, loader)


if __name__ == "__main__":
    main()
