"""Case E as a real job: an anomaly classifier that is validated with another label map than it was trained with.

Most of scikit-learn's handwritten digits are taken for normal (0 to 4, code 0); a few of the digits 5 to 9 are five
kinds of anomaly, with the codes of the case: 2, 6, 102, 106 and 107. In the validation data some images were never
labelled, and have code -1.

With ``--label-map own`` each part of the data numbers the codes that it finds, the most common first. The validation
part finds one more, and the anomalies in another order. What is normal keeps its place, so accuracy looks possible;
training goes on to learn, and validation gets worse the surer the network is. With ``--label-map shared`` both use the
map of the training part, what has no label is left out, and rare classes count as much as the common one.

    python examples/label_maps.py --bootstrap-servers 127.0.0.1:9092 --run anomalies-1
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import losswatch

CODES: Final = (0, 0, 0, 0, 0, 2, 6, 102, 106, 107)
"""By digit."""
KNOWN: Final = (0, 2, 6, 102, 106, 107)
"""The codes of the training part, the most common first."""
OUTPUTS: Final = 10
"""The network has room for classes that are yet to come."""
TRAINING: Final = (400, 40, 37, 34, 31, 28)  # images of each code
VALIDATION: Final = (400, 28, 31, 34, 37, 40)
UNLABELLED: Final = 50  # in the validation part alone
STEPS: Final = 200
BATCH: Final = 128
VALIDATED_EVERY: Final = 5
DECLARATION: Final[dict[str, Any]] = {
    "job": "digits-anomalies",
    "metrics": {"accuracy": "higher"},
    "classes": [str(code) for code in KNOWN],
    # Most images are normal, and should be called so: few classes are no collapse here.
    "thresholds": {"class_entropy_floor": 0.1},
}


@dataclass(frozen=True, slots=True)
class Part:
    """Images (N, 64) and the code of each (N)."""

    images: Tensor
    codes: Tensor


def load(seed: int) -> tuple[Part, Part]:
    """What is learned from, and what is validated on."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(seed)
    images = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    codes = torch.tensor(CODES)[torch.tensor(digits.target, dtype=torch.int64)]
    chosen: list[list[Tensor]] = [[], []]
    for code, count, later in zip(KNOWN, TRAINING, VALIDATION, strict=True):
        there = (codes == code).nonzero().flatten()
        there = there[torch.randperm(len(there), generator=generator)]
        chosen[0].append(there[:count])
        chosen[1].append(there[count : count + later])
    training, validation = (torch.cat(part) for part in chosen)
    unlabelled = torch.randint(len(codes), (UNLABELLED,), generator=generator)
    return Part(images[training], codes[training]), Part(
        images[torch.cat([validation, unlabelled])],
        torch.cat([codes[validation], torch.full((UNLABELLED,), -1)]),
    )


def label_map(codes: Tensor) -> dict[int, int]:
    """The codes (N) by how common they are, numbered."""
    return {code: place for place, (code, _) in enumerate(Counter(codes.tolist()).most_common())}


def numbered(codes: Tensor, places: Mapping[int, int]) -> Tensor:
    """The place of each code (N)."""
    return torch.tensor([places[code] for code in codes.tolist()])


def train(run: losswatch.Run, seed: int, shared: bool, steps: int = STEPS) -> Iterator[dict[str, float]]:
    """Train and publish, one optimiser step per item taken. ``shared``: both parts use one label map."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    known, unseen = load(seed)
    if shared:
        labelled = unseen.codes >= 0
        unseen = Part(unseen.images[labelled], unseen.codes[labelled])
    places = label_map(known.codes)
    target = numbered(known.codes, places)
    answers = numbered(unseen.codes, places if shared else label_map(unseen.codes))
    weight = torch.ones(OUTPUTS)
    if shared:
        weight[: len(KNOWN)] = len(target) / (len(KNOWN) * target.bincount())
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, OUTPUTS))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    scores: dict[str, float] = {}
    for step in range(steps):
        batch = torch.randint(len(target), (BATCH,), generator=generator)
        total = cross_entropy(network(known.images[batch]), target[batch], weight)
        metrics: dict[str, float] = {}
        if step % VALIDATED_EVERY == 0 or step == steps - 1:
            for phase, part, labels in (("train", known, target), ("val", unseen, answers)):
                with torch.no_grad():
                    logits = network(part.images)
                accuracy = (logits.argmax(-1) == labels).double().mean().item()
                run.predictions(step, logits=logits, labels=labels, phase=phase)
                if phase == "train":
                    metrics["accuracy"] = accuracy
                else:
                    loss = cross_entropy(logits, labels, weight)
                    run.log(step, total=loss, metrics={"accuracy": accuracy}, phase=phase)
                    scores["val"] = loss.item()
                scores[f"{phase}_accuracy"] = accuracy
        run.log(step, total=total.detach(), metrics=metrics)
        yield {"step": step, "total": total.item(), **scores}
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()


def main() -> None:
    """Run the job as the command line says."""
    parser = argparse.ArgumentParser(description="Train an anomaly classifier and publish every step.")
    parser.add_argument("--run", default="digits-anomalies", help="run id")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="Kafka, HOST:PORT")
    parser.add_argument("--label-map", choices=("own", "shared"), default="own", help="of the validation part")
    parser.add_argument("--steps-per-second", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every step as a line of JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    with losswatch.start(args.run, bootstrap_servers=args.bootstrap_servers, **DECLARATION) as run:
        for now in train(run, args.seed, shared=args.label_map == "shared"):
            if args.json:
                print(json.dumps(now), flush=True)
            elif now["step"] % 25 == 0:
                print("  ".join(f"{name} {value:.4g}" for name, value in now.items()), flush=True)
            time.sleep(1.0 / args.steps_per_second)  # this job is tiny, the jobs it stands for are not


if __name__ == "__main__":
    main()
