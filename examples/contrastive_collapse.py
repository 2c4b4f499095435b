"""Case C as a real job: a contrastive model that puts everything in one place, and one that cannot.

A network learns embeddings of scikit-learn's handwritten digits: two noisy views of an image belong together. With
``--loss triplet`` the hardest other image of the batch has to be further away, by a margin of 0.6 in squared
distance on the sphere. When all embeddings coincide that loss is exactly the margin, and there is no gradient to leave
by; a high learning rate gets there in a few steps (Hermans, Beyer and Leibe 2017). The total says 0.6 from then on.

With ``--loss prototypes`` each embedding is pulled to the mean of its own digit and away from those of the others by
InfoNCE (van den Oord et al. 2018; Snell et al. 2017), for which one place for all is no minimum.

    total = contrastive + identity

``identity`` is the mean squared difference of two views.

    python examples/contrastive_collapse.py --bootstrap-servers 127.0.0.1:9092 --run contrastive-1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

import losswatch

TRAINING: Final = 1400  # images; the rest is looked at
BATCH: Final = 128
STEPS: Final = 250
LEARNING_RATE: Final = 2e-2
MARGIN: Final = 0.6
TEMPERATURE: Final = 0.2
NOISE: Final = 0.25
"""Standard deviation; white is 1."""
EMBEDDED_EVERY: Final = 5
"""Steps between two looks at the embeddings."""
WEIGHTS: Final = {"contrastive": 1.0, "identity": 1.0}
EXPECTED: Final = {
    "triplet": [{"series": "contrastive", "from_step": 100, "high": 0.5}],
    "prototypes": [
        {"series": "contrastive", "from_step": 50, "high": 1.2},
        {"series": "contrastive", "from_step": 150, "high": 0.9},
    ],
}
"""The course each loss was expected to take."""


def declaration(loss: str) -> dict[str, Any]:
    """What the job says of itself."""
    return {
        "job": "digits-contrastive",
        "objective": {"train": {"form": "weighted_sum", "weights": WEIGHTS}},
        "metrics": {"neighbours": "higher"},
        "expect": EXPECTED[loss],
    }


def triplet(one: Tensor, other: Tensor) -> Tensor:
    """Batch-hard triplet loss of two views (N, F) on the sphere, with squared distances."""
    distances = 2.0 - 2.0 * one @ other.T
    hardest = (distances + 1e6 * torch.eye(len(one))).min(1).values
    loss: Tensor = (distances.diagonal() - hardest + MARGIN).relu().mean()
    return loss


def prototypes(one: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    """InfoNCE of one view (N, F) against the mean of the other view's embeddings of each digit."""
    member = torch.nn.functional.one_hot(labels, 10).float()
    means = normalize(member.T @ other, dim=-1)
    return cross_entropy(one @ means.T / TEMPERATURE, labels)


def nearest(embeddings: Tensor) -> Tensor:
    """The nearest other one of each of N embeddings."""
    exact = embeddings.double()
    return torch.cdist(exact, exact).fill_diagonal_(torch.inf).argmin(1)


def train(run: losswatch.Run, seed: int, loss: str, steps: int = STEPS) -> Iterator[dict[str, float]]:
    """Train and publish, one optimiser step per item taken."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=generator)
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)[order]
    labels = torch.tensor(digits.target, dtype=torch.int64)[order]
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 32))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def view(chosen: Tensor) -> Tensor:
        light = 0.7 + 0.6 * torch.rand(BATCH, 1, generator=generator)
        return images[chosen] * light + NOISE * torch.randn(BATCH, 64, generator=generator)

    neighbours = cosine = 0.0
    for step in range(steps):
        batch = torch.randint(TRAINING, (BATCH,), generator=generator)
        one, other = (normalize(network(view(batch)), dim=-1) for _ in range(2))
        parts = {
            "contrastive": triplet(one, other) if loss == "triplet" else prototypes(one, other, labels[batch]),
            "identity": ((one - other) ** 2).mean(),
        }
        total = torch.stack([WEIGHTS[name] * part for name, part in parts.items()]).sum()
        components = {name: part.detach() for name, part in parts.items()}
        run.log(step, total=total.detach(), components=components)
        if step % EMBEDDED_EVERY == 0 or step == steps - 1:
            with torch.no_grad():
                seen = normalize(network(images[TRAINING:]), dim=-1)
            cosine = (seen.sum(0).square().sum() / len(seen) ** 2).item()
            found = labels[TRAINING:][nearest(seen)]
            neighbours = (found == labels[TRAINING:]).double().mean().item()
            run.log(step, metrics={"neighbours": neighbours}, phase="val")
            run.predictions(step, classes=found, embeddings=seen, phase="val")
        yield {
            "step": step,
            "total": total.item(),
            "contrastive": parts["contrastive"].item(),
            "identity": parts["identity"].item(),
            "cosine": cosine,
            "neighbours": neighbours,
        }
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()


def main() -> None:
    """Run the job as the command line says."""
    parser = argparse.ArgumentParser(description="Train a contrastive model of digits and publish every step.")
    parser.add_argument("--run", default="digits-contrastive", help="run id")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="Kafka, HOST:PORT")
    parser.add_argument("--loss", choices=tuple(EXPECTED), default="triplet", help="triplet collapses")
    parser.add_argument("--steps-per-second", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every step as a line of JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    with losswatch.start(args.run, bootstrap_servers=args.bootstrap_servers, **declaration(args.loss)) as run:
        for now in train(run, args.seed, args.loss):
            if args.json:
                print(json.dumps(now), flush=True)
            elif now["step"] % 25 == 0:
                print("  ".join(f"{name} {value:.4g}" for name, value in now.items()), flush=True)
            time.sleep(1.0 / args.steps_per_second)  # this job is tiny, the jobs it stands for are not


if __name__ == "__main__":
    main()
