"""Case B as a real job: a network of four tasks whose test loop adds its losses up differently.

A network reads scikit-learn's handwritten digits and does four things at once: it names the digit, says whether it
is odd, and estimates how much ink it has and where its centre is. Training and validation weigh the tasks
by what the network learns of their uncertainty (Kendall, Gal and Cipolla 2018), with s clamped to [-2, 2]:

    total = sum_k (e^-s_k L_k / 2 + s_k / 2) + 0.01 sum_k s_k^2

The test loop was written by somebody else and takes the mean of the losses. Its total is a number on another scale,
and says nothing when put beside the validation total. With ``--test-total alike`` it calls the same function.

    python examples/uncertainty_weighting.py --bootstrap-servers 127.0.0.1:9092 --run uw-1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

import losswatch

TASKS: Final = ("digit", "odd", "ink", "centre")
REGULARIZER: Final = 0.01
CLAMP: Final = 2.0
TRAINING, VALIDATION = 1000, 400  # images; the rest is for the test
BATCH: Final = 128
STEPS: Final = 200
EVALUATED_EVERY: Final = 5
"""Steps between two evaluations, each on a validation and a test set."""
KENDALL: Final = {"form": "kendall", "variant": "half", "regularizer": REGULARIZER}
DECLARATION: Final[Mapping[str, Any]] = {
    "job": "digits-multitask",
    "objective": {"train": KENDALL, "val": KENDALL},  # nobody declared the test loop
    "metrics": {"accuracy": "higher"},
}


class Network(nn.Module):
    """A trunk with one head for each task, and the log variances of the tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(64, 10)} | {task: nn.Linear(64, 1) for task in TASKS[1:]})
        self.log_vars = nn.Parameter(torch.zeros(len(TASKS)))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What each head makes of images (N, 64): (N, 10) of the digit, (N) of the others."""
        seen = self.trunk(images)
        return {task: head(seen).squeeze(-1) for task, head in self.heads.items()}


def losses_of(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The loss of each task."""
    return {
        "digit": cross_entropy(outputs["digit"], targets["digit"]),
        "odd": binary_cross_entropy_with_logits(outputs["odd"], targets["odd"]),
        "ink": mse_loss(outputs["ink"], targets["ink"]),
        "centre": mse_loss(outputs["centre"], targets["centre"]),
    }


def uncertainty_weighted(losses: Mapping[str, Tensor], log_vars: Tensor) -> Tensor:
    """The objective, of losses in the order of the log variances (K)."""
    s = log_vars.clamp(-CLAMP, CLAMP)
    total: Tensor = (0.5 * (-s).exp() * torch.stack(list(losses.values())) + 0.5 * s).sum() + REGULARIZER * (s**2).sum()
    return total


def load(seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Images (N, 64) in a random order, and the target of each task (N)."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(seed))
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)[order]
    digit = torch.tensor(digits.target, dtype=torch.int64)[order]
    ink = images.mean(1)
    centre = (images.view(-1, 8, 8).sum(1) * torch.arange(8.0)).sum(1) / images.sum(1)
    standard = {name: (x - x.mean()) / x.std() for name, x in (("ink", ink), ("centre", centre))}
    return images, {"digit": digit, "odd": (digit % 2).float(), **standard}


def train(run: losswatch.Run, seed: int, alike: bool, steps: int = STEPS) -> Iterator[dict[str, float]]:
    """Train and publish, one optimiser step per item taken. ``alike``: the test total is made like the others."""
    torch.manual_seed(seed)
    images, targets = load(seed)
    generator = torch.Generator().manual_seed(seed)
    parts = {"val": slice(TRAINING, TRAINING + VALIDATION), "test": slice(TRAINING + VALIDATION, None)}
    network = Network()
    weights = [parameter for name, parameter in network.named_parameters() if name != "log_vars"]
    optimizer = torch.optim.Adam([{"params": weights, "lr": 1e-3}, {"params": [network.log_vars], "lr": 7e-3}])
    totals = dict.fromkeys(parts, 0.0)
    accuracy = 0.0
    for step in range(steps):
        batch = torch.randint(TRAINING, (BATCH,), generator=generator)
        losses = losses_of(network(images[batch]), {task: target[batch] for task, target in targets.items()})
        total = uncertainty_weighted(losses, network.log_vars)
        shown = dict(zip(TASKS, network.log_vars.detach().clamp(-CLAMP, CLAMP).tolist(), strict=True))
        run.log(step, total=total.detach(), components=losses, log_vars=shown)
        if step % EVALUATED_EVERY == 0 or step == steps - 1:
            for phase, part in parts.items():
                with torch.no_grad():
                    outputs = network(images[part])
                    answers = {task: target[part] for task, target in targets.items()}
                    judged = losses_of(outputs, answers)
                    weighted = uncertainty_weighted(judged, network.log_vars)
                averages = phase == "test" and not alike
                result = torch.stack(list(judged.values())).mean() if averages else weighted
                accuracy = (outputs["digit"].argmax(-1) == answers["digit"]).double().mean().item()
                metrics, sent = {"accuracy": accuracy}, {} if averages else shown
                run.log(step, total=result, components=judged, metrics=metrics, phase=phase, log_vars=sent)
                totals[phase] = result.item()
        yield {"step": step, "total": total.item(), "val": totals["val"], "test": totals["test"], "accuracy": accuracy}
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()


def main() -> None:
    """Run the job as the command line says."""
    parser = argparse.ArgumentParser(description="Train a network of four tasks and publish every step.")
    parser.add_argument("--run", default="digits-multitask", help="run id")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="Kafka, HOST:PORT")
    parser.add_argument("--test-total", choices=("mean", "alike"), default="mean", help="how the test loop adds up")
    parser.add_argument("--steps-per-second", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every step as a line of JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    with losswatch.start(args.run, bootstrap_servers=args.bootstrap_servers, **DECLARATION) as run:
        for now in train(run, args.seed, alike=args.test_total == "alike"):
            if args.json:
                print(json.dumps(now), flush=True)
            elif now["step"] % 25 == 0:
                print("  ".join(f"{name} {value:.4g}" for name, value in now.items()), flush=True)
            time.sleep(1.0 / args.steps_per_second)  # this job is tiny, the jobs it stands for are not


if __name__ == "__main__":
    main()
