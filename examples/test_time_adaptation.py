"""Case A as a real job: a classifier adapts itself to shifted digits, wins its loss and loses its classes.

A small network learns scikit-learn's handwritten digits. Then the camera moves: the images it has to
read are tilted, darker and noisy, and nobody labels them. Test-time adaptation by entropy
minimisation (TENT, Wang et al. 2021) goes on training on what the network itself predicts:

    total = entropy + weight * diversity

``entropy`` is the mean entropy of each prediction (nats), ``diversity`` is 1 minus the class entropy
(the entropy of the mean prediction divided by log C). With ``weight`` 0.1 the cheapest way to be sure of
every image is to call them all the same. With ``weight`` 5, an information maximisation as in SHOT
(Liang et al. 2020), the same network on the same images keeps its classes and gains accuracy.

    python examples/test_time_adaptation.py --bootstrap-servers 127.0.0.1:9092 --run tta-1
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Protocol

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

import losswatch

PHASE: Final = "test"
CLASSES: Final = 10
TRAINING, QUERY = 1000, 512  # images the network learns from, and images it then has to read
TILT, BRIGHTNESS, NOISE = 12.0, 0.65, 0.1  # degrees, factor, standard deviation (white is 1)
EPOCHS: Final = 15
LEARNING_RATE: Final = 1e-4
WEAK_WEIGHT: Final = 0.1
"""The diversity weight of case A: too weak."""
SAFE_WEIGHT: Final = 5.0
"""About twice log C, the weight at which the objective is SHOT's: at log C one class still fades for a while."""
HEAVIEST_WEIGHT: Final = 20.0
"""The largest diversity weight this job lets itself be advised."""
THRESHOLDS: Final = {"class_entropy_target": 1.0, "diversity_weight_gain": 100.0}
"""How this job wants to be advised: balanced digits aim at 1, and at 0.95 the safe weight is advised."""


class Publisher(Protocol):
    """What the job needs of a `losswatch.Run`."""

    def log(
        self,
        step: int,
        *,
        total: Tensor,
        components: Mapping[str, Tensor],
        weights: Mapping[str, float],
        metrics: Mapping[str, Tensor],
        phase: str,
    ) -> None:
        """Publish one step's losses."""

    def predictions(self, step: int, *, probabilities: Tensor, labels: Tensor, phase: str) -> None:
        """Publish one step's predictions."""


@dataclass(frozen=True, slots=True)
class Task:
    """A network trained on clean digits, and the shifted digits it meets."""

    model: nn.Module
    images: Tensor
    """float32 (N, 64)."""
    labels: Tensor
    """int64 (N). The adaptation never sees them; they score it."""
    clean_accuracy: float
    """On the same images before they were shifted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of the adaptation, as plain numbers."""

    step: int
    total: float
    entropy: float
    diversity: float
    weight: float
    class_entropy: float
    max_class_probability: float
    accuracy: float


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Tilt, darken and add noise to images (N, 64) in [0, 1]."""
    angle = math.radians(TILT)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
    grid = affine_grid(turn.expand(len(images), 2, 3), [len(images), 1, 8, 8], align_corners=False)
    tilted = grid_sample(images.view(-1, 1, 8, 8), grid, align_corners=False).flatten(1)
    return BRIGHTNESS * tilted + NOISE * torch.randn(images.shape, generator=generator)


def prepare(seed: int) -> Task:
    """Train the network on clean digits and shift the ones it will meet."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator)
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)[order]
    labels = torch.tensor(digits.target, dtype=torch.int64)[order]
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        shuffled = torch.randperm(TRAINING, generator=generator)
        for start in range(0, TRAINING, 64):
            batch = shuffled[start : start + 64]
            optimizer.zero_grad()
            cross_entropy(model(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
    query, answers = images[TRAINING : TRAINING + QUERY], labels[TRAINING : TRAINING + QUERY]
    with torch.no_grad():
        clean = (model(query).argmax(-1) == answers).double().mean().item()
    return Task(model, shift(query, generator), answers, clean)


def entropy_of(p: Tensor) -> Tensor:
    """Entropy in nats over the last dimension: (..., C) to (...)."""
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy


def adapt(task: Task, publisher: Publisher, weight: Callable[[], float], steps: int) -> Iterator[Progress]:
    """Adapt the task's network to its images, one optimiser step per item taken.

    ``weight`` is asked for the diversity weight before every step.
    """
    optimizer = torch.optim.Adam(task.model.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        probabilities = task.model(task.images).softmax(-1)  # (N, C)
        mean = probabilities.mean(0)
        entropy = entropy_of(probabilities).mean()
        class_entropy = entropy_of(mean) / math.log(CLASSES)
        diversity, applied = 1.0 - class_entropy, weight()
        total = entropy + applied * diversity
        accuracy = (probabilities.argmax(-1) == task.labels).double().mean()
        publisher.log(
            step,
            total=total.detach(),
            components={"entropy": entropy.detach(), "diversity": diversity.detach()},
            weights={"entropy": 1.0, "diversity": applied},
            metrics={"accuracy": accuracy},
            phase=PHASE,
        )
        publisher.predictions(step, probabilities=probabilities.detach(), labels=task.labels, phase=PHASE)
        yield Progress(
            step=step,
            total=total.item(),
            entropy=entropy.item(),
            diversity=diversity.item(),
            weight=applied,
            class_entropy=class_entropy.item(),
            max_class_probability=mean.max().item(),
            accuracy=accuracy.item(),
        )
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()


def paced(
    steps: Iterator[Progress],
    per_second: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Progress]:
    """Give out steps no faster than ``per_second``: this job is tiny, the jobs it stands for are not."""
    due = clock()
    for progress in steps:
        yield progress
        due += 1.0 / per_second
        sleep(max(0.0, due - clock()))


def main() -> None:
    """Run the job as the command line says."""
    parser = argparse.ArgumentParser(description="Adapt a digit classifier at test time and publish every step.")
    parser.add_argument("--run", default="digits-tta", help="run id")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="Kafka, HOST:PORT")
    parser.add_argument("--diversity-weight", type=float, default=WEAK_WEIGHT, help="0.1 collapses, 5 does not")
    parser.add_argument("--follow-advice", action="store_true", help="take the diversity weight that losswatch advises")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--steps-per-second", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every step as a line of JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    task = prepare(args.seed)
    weights = {"entropy": 1.0, "diversity": args.diversity_weight}
    with losswatch.start(
        run=args.run,
        bootstrap_servers=args.bootstrap_servers,
        job="digits-tta",
        objective={PHASE: {"form": "weighted_sum", "weights": weights}},
        metrics={"accuracy": "higher"},
        classes=list(range(CLASSES)),
        thresholds=THRESHOLDS,
        advice="follow" if args.follow_advice else "off",
    ) as run:

        def weight() -> float:
            return run.weight("diversity", default=args.diversity_weight, lo=0.0, hi=HEAVIEST_WEIGHT)

        for now in paced(adapt(task, run, weight, args.steps), args.steps_per_second):
            if args.json:
                print(json.dumps(asdict(now)), flush=True)
            elif now.step % 25 == 0 or now.step == args.steps - 1:
                print(
                    f"step {now.step:4d}  total {now.total:.4f}  diversity {now.diversity:.4f} x {now.weight:.2f}  "
                    f"class entropy {now.class_entropy:.3f}  accuracy {now.accuracy:.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
