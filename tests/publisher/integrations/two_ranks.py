"""One of two processes that train together with each framework, until rank 0 hears the advice to stop.

    RANK=0 LOCAL_RANK=0 WORLD_SIZE=2 MASTER_ADDR=... MASTER_PORT=... python two_ranks.py FOLDER

Writes FOLDER/RANK.json: by framework, at which step this rank stopped and how many records it published.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer as HuggingFaceTrainer
from transformers import TrainingArguments

from losswatch.integrations import lightning, transformers
from losswatch.integrations.accelerate import LosswatchTracker
from losswatch.integrations.attachment import Attachment
from losswatch.schema import Advice, Finding
from losswatch.transport import MemoryTransport

EVERY, HEARD = 4, 6
"""The ranks look at every fourth step; rank 0 hears of it after the sixth: both stop after the eighth."""


class Job:
    """One framework's run on this rank."""

    def __init__(self, name: str) -> None:
        self.transport = MemoryTransport()
        self.options: dict[str, Any] = {"run": name, "transport": self.transport, "advice": "follow"}
        self.steps = 0

    def stepped(self, attachment: Attachment) -> None:
        """Count a step; on rank 0 the advice comes after the sixth."""
        self.steps += 1
        if self.steps == HEARD and RANK == 0:
            run, advice, now = attachment.run(), Advice(action="stop"), time.time()
            place = {"phase": "train", "subject": None, "severity": "critical", "state": "firing"}
            numbers = {"began": 0, "confirmed": 0, "step": 0, "value": 1.0, "threshold": 0.5}
            run._advisor.hear(
                Finding.model_validate(
                    {"run": run.name, "time": now, "id": "f", "kind": "non_finite", "message": "", "advice": advice}
                    | place
                    | numbers
                )
            )

    def result(self) -> dict[str, int]:
        return {"stopped_after": self.steps, "records": len(self.transport.records)}


class Module(LightningModule):
    def __init__(self, job: Job) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.job = job

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        (callback,) = (c for c in self.trainer.callbacks if isinstance(c, lightning.LosswatchCallback))
        self.job.stepped(callback._attachment)
        loss: Tensor = self.layer(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def with_lightning(job: Job, root: Path) -> None:
    callback = lightning.LosswatchCallback(**job.options, stop_every=EVERY)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "max_epochs": 9, **quiet}
    trainer = Trainer(callbacks=[callback], default_root_dir=root, **options)
    trainer.fit(Module(job), DataLoader(TensorDataset(torch.randn(64, 4)), batch_size=4))


class Model(nn.Module):
    def __init__(self, job: Job, callback: transformers.LosswatchCallback) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.job, self.attachment = job, callback._attachment

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.job.stepped(self.attachment)
        return {"loss": self.layer(x).square().mean()}


class Watched(transformers.LosswatchMixin, HuggingFaceTrainer):
    """As a user writes it."""


def with_transformers(job: Job, root: Path) -> None:
    callback = transformers.LosswatchCallback(**job.options, stop_every=EVERY)
    options: dict[str, Any] = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "report_to": "none"}
    arguments = TrainingArguments(output_dir=str(root), per_device_train_batch_size=4, num_train_epochs=9, **options)
    samples = [{"x": torch.randn(4)} for _ in range(64)]
    Watched(Model(job, callback), arguments, train_dataset=samples, callbacks=[callback]).train()


def with_accelerate(job: Job, root: Path) -> None:
    tracker = LosswatchTracker(**job.options)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project")
    for step in range(100):
        accelerator.log({"loss": 1.0}, step=step)
        job.stepped(tracker._attachment)
        if (step + 1) % EVERY == 0 and tracker.should_stop(accelerator):
            break
    accelerator.end_training()


if __name__ == "__main__":
    RANK = int(os.environ["RANK"])
    folder = Path(sys.argv[1])
    results = {}
    for train in (with_lightning, with_transformers, with_accelerate):
        made = Job(train.__name__)
        train(made, folder)
        results[train.__name__] = made.result()
    (folder / f"{RANK}.json").write_text(json.dumps(results))
