"""Makes the log files of this folder: with the frameworks themselves where they are installed, else in their format.

Run it from the root of the repository, ``python -m tests.data.make``; the files are committed. Numbers may
change in their last digits with the versions of the frameworks, so the expectations of the tests come from the files.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def course(rows: int, start: float, end: float, seed: int) -> Iterator[float]:
    """A falling curve with some noise."""
    noise = random.Random(seed)
    for row in range(rows):
        yield (end + (start - end) * 0.93**row) * (1 + 0.05 * noise.gauss(0, 1))


def lightning(folder: Path) -> None:
    """The table of a CSVLogger: rows of steps, of epochs and of validations."""
    from lightning.pytorch import LightningModule, Trainer, seed_everything
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import CSVLogger
    from torch.utils.data import DataLoader, TensorDataset

    class Line(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            fit = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            size = self.layer.weight.abs().mean()
            self.log_dict({"train/fit_loss": fit, "train/size_loss": size})
            self.log("train_loss", fit + size, on_step=True, on_epoch=True)
            loss: torch.Tensor = fit + size
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    seed_everything(0)
    x = torch.randn(64, 4)
    data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)
    with tempfile.TemporaryDirectory() as where:
        logger = CSVLogger(where, name="", version="")
        callbacks: Any = [LearningRateMonitor("epoch")]
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
        trainer = Trainer(max_epochs=3, logger=logger, callbacks=callbacks, log_every_n_steps=2, **quiet)
        trainer.fit(Line(), data, data)
        shutil.copy(Path(where) / "metrics.csv", folder / "lightning.csv")


def transformers(folder: Path) -> None:
    """The state of a Trainer, with evaluations."""
    from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

    class Line(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self, config: PretrainedConfig) -> None:
            super().__init__(config)
            self.layer = torch.nn.Linear(4, 1)
            self.post_init()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            out = self.layer(x)
            return {"loss": torch.nn.functional.mse_loss(out, labels), "logits": out}

    torch.manual_seed(0)
    data = [{"x": (x := torch.randn(4)), "labels": x.sum().reshape(1)} for _ in range(64)]
    with tempfile.TemporaryDirectory() as where:
        arguments = TrainingArguments(
            output_dir=where,
            num_train_epochs=4,
            per_device_train_batch_size=4,
            logging_steps=4,
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            learning_rate=0.05,
        )

        def mae(prediction: Any) -> dict[str, float]:
            return {"mae": float(abs(prediction.predictions - prediction.label_ids).mean())}

        trainer = Trainer(Line(PretrainedConfig()), arguments, None, data, data, compute_metrics=mae)
        trainer.train()
        trainer.state.save_to_json(str(folder / "trainer_state.json"))


def keras(folder: Path) -> None:
    """The table of a CSVLogger, and the history it leaves."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 4))
    y = x.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.02), loss="mse", metrics=["mae"])
    logger = keras.callbacks.CSVLogger(str(folder / "keras.csv"))
    history = model.fit(x, y, epochs=12, validation_split=0.25, verbose=0, callbacks=[logger])
    (folder / "history.json").write_text(json.dumps(history.history) + "\n", encoding="utf-8")


def tensorboard(folder: Path) -> None:
    """An event file of scalars and a text."""
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as where:
        writer = SummaryWriter(where)
        parts = zip(course(30, 2, 0.5, 1), course(30, 1, 0.2, 2), strict=True)
        for step, (a, b) in enumerate(parts):
            writer.add_scalar("train/loss", a + b, step, walltime=1.7e9 + step)
            writer.add_scalar("train/a_loss", a, step, walltime=1.7e9 + step)
            writer.add_scalar("train/b_loss", b, step, walltime=1.7e9 + step)
            if step % 10 == 9:
                writer.add_scalar("val/accuracy", 0.5 + step / 100, step, walltime=1.7e9 + step, new_style=True)
                writer.add_text("note", "not a number", step, walltime=1.7e9 + step)
        writer.close()
        (made,) = Path(where).iterdir()
        shutil.copy(made, folder / "events.out.tfevents.1700000000.host.1.0")


def detectron2(folder: Path) -> None:
    """Medians of each key, every 20 iterations, with an evaluation in a row of its own."""
    rows: list[dict[str, Any]] = []
    for at, (a, b) in enumerate(zip(course(30, 1, 0.3, 3), course(30, 0.7, 0.1, 4), strict=True)):
        rows.append(
            {"data_time": 0.001, "eta_seconds": 100.0 - at, "fast_rcnn/cls_accuracy": 0.9, "iteration": 20 * at + 19}
        )
        rows[-1] |= {"loss_box_reg": a, "loss_cls": b, "lr": 0.001, "time": 0.2, "total_loss": 1.02 * (a + b)}
    rows.append({"bbox/AP": 21.5, "bbox/AP50": 40.2, "bbox/AP-cat": float("nan"), "iteration": 600})
    lines(folder / "detectron2.json", rows)


def openmmlab(folder: Path) -> None:
    """MMCV, whose iteration counts within the epoch, and MMEngine, whose evaluations have the epoch as their step."""
    old: list[dict[str, Any]] = [
        {"env_info": "sys.platform: linux\nPython: 3.7", "seed": 0, "config": "model = dict(\n)"}
    ]
    new: list[dict[str, Any]] = []
    losses = zip(course(15, 2, 0.5, 5), course(15, 1, 0.2, 6), strict=True)
    for at, (a, b) in enumerate(losses):
        epoch, within = divmod(at, 5)
        parts = {"loss_cls": round(a, 5), "loss_bbox": round(b, 5), "loss": round(a + b, 5)}
        old.append({"mode": "train", "epoch": epoch + 1, "iter": 10 * within + 10, "lr": 0.01, "memory": 900, **parts})
        exact = {"lr": 0.01, "data_time": 0.004, "loss": a + b, "loss_cls": a, "loss_bbox": b, "time": 0.1}
        new.append(exact | {"epoch": epoch + 1, "iter": 10 * at + 10, "memory": 900, "step": 10 * at + 10})
        if within == 4:
            old.append({"mode": "val", "epoch": epoch + 1, "iter": 48, "lr": 0.01, "bbox_mAP": 0.1 + at / 100})
            new.append({"coco/bbox_mAP": 0.1 + at / 100, "data_time": 0.01, "time": 0.1, "step": epoch + 1})
    lines(folder / "mmcv.log.json", old)
    lines(folder / "mmengine.json", new)


def detr(folder: Path) -> None:
    """An object per epoch: weighted parts, each also without its weight, and twelve COCO results."""
    rows = []
    for epoch, (a, b) in enumerate(zip(course(10, 2, 0.5, 7), course(10, 1, 0.2, 8), strict=True)):
        row: dict[str, Any] = {"train_lr": 1e-4, "train_class_error": 80.0 - epoch, "train_loss": a + 5 * b}
        row |= {
            "train_loss_ce": a,
            "train_loss_bbox": 5 * b,
            "train_loss_ce_unscaled": a,
            "train_loss_bbox_unscaled": b,
        }
        row |= {"train_cardinality_error_unscaled": 3.0, "test_class_error": 81.0 - epoch, "test_loss": a + 5 * b + 1}
        row |= {"test_loss_ce": a + 0.5, "test_loss_bbox": 5 * b + 0.5, "test_loss_bbox_unscaled": b + 0.1}
        row |= {"test_coco_eval_bbox": [0.1 + epoch / 100] * 12, "epoch": epoch, "n_parameters": 41_302_368}
        rows.append(row)
    lines(folder / "detr.txt", rows)


def yolo(folder: Path) -> None:
    """Three generations of results.csv, and results.txt."""
    parts = ("box_loss", "cls_loss", "dfl_loss")
    v8 = ["epoch", "time", *(f"train/{p}" for p in parts), "metrics/precision(B)", "metrics/mAP50-95(B)"]
    v8 += [*(f"val/{p}" for p in parts), "lr/pg0"]
    v5 = ["epoch", *(f"train/{p}" for p in ("box_loss", "obj_loss", "cls_loss")), "metrics/precision"]
    v5 += ["metrics/mAP_0.5:0.95", *(f"val/{p}" for p in ("box_loss", "obj_loss", "cls_loss")), "x/lr0"]
    losses = list(zip(course(12, 3, 1, 9), course(12, 4, 1, 10), course(12, 2, 1, 11), strict=True))
    with (folder / "ultralytics.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(v8)
        for epoch, train in enumerate(losses, 1):
            cells = [*train, 0.5 + epoch / 50, 0.3 + epoch / 50, *(1.1 * part for part in train), 0.01]
            table.writerow([epoch, 10 * epoch, *(f"{cell:.6g}" for cell in cells)])
    padded = [",".join(f"{name:>20}" for name in v5)]
    for epoch, train in enumerate(losses):
        cells = [*train, 0.5 + epoch / 50, 0.3 + epoch / 50, *(1.1 * part for part in train), 0.01]
        padded.append(",".join(f"{cell:>20.5g}" for cell in [epoch, *cells]))
    (folder / "yolov5.csv").write_text("\n".join(padded) + "\n")
    with (folder / "ultralytics_classify.csv").open("w") as file:
        file.write("                  epoch,             train/loss,  metrics/accuracy_top1,               val/loss\n")
        file.writelines(
            f"{epoch:>23},{a:>23.5g},{0.5 + epoch / 50:>23.5g},{1.2 * a:>23.5g}\n"
            for epoch, (a, *_) in enumerate(losses)
        )
    with (folder / "yolo_results.txt").open("w") as file:
        for epoch, (a, b, c) in enumerate(losses):
            cells = [a, b, c, a + b + c, 43, 640, 0.5, 0.4, 0.3 + epoch / 50, 0.2, 1.1 * a, 1.1 * b, 1.1 * c]
            file.write(f"{f'{epoch}/11':>10}{'10.5G':>10}" + "".join(f"{cell:>10.4g}" for cell in cells) + "\n")


def stable_baselines3(folder: Path) -> None:
    """What its CSV logger writes of PPO: no training in the first row, the last minibatch's loss beside means."""
    names = ["time/fps", "rollout/ep_rew_mean", "time/total_timesteps", "train/loss", "train/value_loss"]
    names += ["train/policy_gradient_loss", "train/entropy_loss", "train/learning_rate", "train/n_updates"]
    with (folder / "sb3.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for at, (a, b) in enumerate(zip(course(20, 2, 0.5, 12), course(20, 2, 0.5, 13), strict=True)):
            trained = [a, b, -0.01, -1.2, 3e-4, 10 * at] if at else [None] * 6
            table.writerow([900, 20 + at, 2048 * (at + 1), *trained])


def others(folder: Path) -> None:
    """LLaMA-Factory, exports of Weights & Biases and TensorBoard, JSON lines, an array and a table of one's own."""
    losses = [round(loss, 4) for loss in course(24, 2, 0.8, 14)]
    shown = {
        "total_steps": 240,
        "lr": 1e-5,
        "percentage": 1.0,
        "elapsed_time": "0:02:12",
        "remaining_time": "1 day, 0:08:23",
    }
    lines(
        folder / "llamafactory.jsonl",
        [{"current_steps": 10 * at + 10, "loss": loss, **shown} for at, loss in enumerate(losses)],
    )
    lines(
        folder / "own.jsonl",
        [{"step": at, "loss": {"total": loss, "kl": 0.1}, "reward": -loss} for at, loss in enumerate(losses)],
    )
    array = [
        {"epoch": at, "train_loss": loss, "val_loss": 1.1 * loss, "note": "fine"} for at, loss in enumerate(losses)
    ]
    (folder / "array.json").write_text(json.dumps(array, indent=1) + "\n")
    with (folder / "wandb_chart.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        runs = ("sunny-1", "rainy-2")
        table.writerow(["Step", *(f"{run} - train/loss{bound}" for run in runs for bound in ("", "__MIN", "__MAX"))])
        table.writerows([10 * at, *(loss,) * 3, *("" if at % 2 else loss + 1,) * 3] for at, loss in enumerate(losses))
    with (folder / "run-exp_validation-tag-epoch_loss.csv").open("w") as file:
        file.write("Wall time,Step,Value\n")
        file.writelines(f"{1.7e9 + at},{at},{loss}\n" for at, loss in enumerate(losses))
    with (folder / "own.csv").open("w") as file:
        file.write("Epoch;Batch;Gen Loss;Disc Loss;Score\n")
        file.writelines(
            f"{at // 8};{at % 8};{loss};{1.4 - loss / 10:.4f};{at}\n".replace(".", ",")
            for at, loss in enumerate(losses)
        )


def wire(folder: Path) -> None:
    """Records as a job publishes them."""
    from losswatch.encoding import encode
    from losswatch.schema import RunEnd, RunStart, Steps

    losses = list(course(20, 2, 0.5, 15))
    start = RunStart(run="ttt-42", session="a", seq=0, time=1.7e9, metrics={"accuracy": "higher"})
    steps = Steps(run="ttt-42", session="a", seq=1, time=1.7e9 + 1, step=list(range(20)), total=losses)
    end = RunEnd(run="ttt-42", session="a", seq=2, time=1.7e9 + 2)
    (folder / "losswatch.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in (start, steps, end)))


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write an object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Make those that are named, or all."""
    makers = (
        lightning,
        transformers,
        keras,
        tensorboard,
        detectron2,
        openmmlab,
        detr,
        yolo,
        stable_baselines3,
        others,
        wire,
    )
    for make in makers:
        if make.__name__ in (sys.argv[1:] or [maker.__name__ for maker in makers]):
            make(HERE)


if __name__ == "__main__":
    main()
