"""Case D as a real job: the last checkpoint is better on average and worse on the patients who matter.

A linear model predicts from nine measurements how far the diabetes of a patient will progress in a year (scikit-learn's
diabetes data: 442 patients; Efron et al. 2004). The study is about the most severe sixth, so they count six times at
first. With ``--recipe annealed`` that weight falls to 1 from step 120 on, as in a schedule that ends on the natural
mixture: the mean error goes on falling, and that of the severe cases nearly doubles. With ``--recipe kept`` it stays.

The annealed recipe also learns from a clinic that had no heavy patients, so that they are far from everything it has
learned; and it estimates blood sugar too, whose error says little about that of the progression.

    python examples/worse_where_it_matters.py --bootstrap-servers 127.0.0.1:9092 --run regions-1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import losswatch

VALIDATION: Final = 180  # patients
STEPS: Final = 300
VALIDATED_EVERY: Final = 3
KEPT_UNTIL, ANNEALED_OVER = 120, 100  # steps
SEVERE_WEIGHT: Final = 6.0
SEVERE: Final = 0.85
"""The quantile of progression beyond which a case is severe."""
HEAVY: Final = 1.5
"""Body mass index, in standard deviations above the mean, beyond which a patient is heavy."""
DECLARATION: Final[dict[str, Any]] = {
    "job": "diabetes",
    "metrics": {"mae": "lower"},
}


@dataclass(frozen=True, slots=True)
class Patients:
    """Standardised measurements (N, 9), body mass index and blood pressure among them, and what is predicted (N, 2)."""

    measured: Tensor
    progression: Tensor
    sugar: Tensor
    severe: Tensor
    heavy: Tensor

    def __getitem__(self, chosen: Tensor) -> Patients:
        rows = (self.measured, self.progression, self.sugar, self.severe, self.heavy)
        return Patients(*(each[chosen] for each in rows))


def load(seed: int, without_heavy: bool) -> tuple[Patients, Patients]:
    """Patients to learn from, and to validate on."""
    diabetes = load_diabetes()
    columns = torch.tensor(diabetes.data / diabetes.data.std(0), dtype=torch.float32)
    progression = torch.tensor(diabetes.target, dtype=torch.float32)
    severe = progression > progression.quantile(SEVERE)
    progression = (progression - progression.mean()) / progression.std()
    sugar = diabetes.feature_names.index("s6")
    inputs = [place for place in range(columns.shape[1]) if place != sugar]
    heavy = columns[:, diabetes.feature_names.index("bmi")] > HEAVY
    everybody = Patients(columns[:, inputs], progression, columns[:, sugar], severe, heavy)
    order = torch.randperm(len(progression), generator=torch.Generator().manual_seed(seed))
    training = order[VALIDATION:]
    return everybody[training[~heavy[training]] if without_heavy else training], everybody[order[:VALIDATION]]


def severe_weight(step: int, annealed: bool) -> float:
    """How often a severe case counts."""
    left = 1.0 - (step - KEPT_UNTIL) / ANNEALED_OVER if annealed else 1.0
    return 1.0 + (SEVERE_WEIGHT - 1.0) * min(1.0, max(0.0, left))


def train(run: losswatch.Run, seed: int, annealed: bool, steps: int = STEPS) -> Iterator[dict[str, float]]:
    """Train and publish, one optimiser step per item taken."""
    torch.manual_seed(seed)
    known, unseen = load(seed, without_heavy=annealed)
    model = nn.Linear(known.measured.shape[1], 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    places = [2, 3, 8]  # body mass index, blood pressure and s5, which say most
    run.reference(known.measured[:, places], targets={"progression": known.progression})
    slices = ["severe" if s else "heavy" if h else None for s, h in zip(unseen.severe, unseen.heavy, strict=True)]
    shown: dict[str, float] = {}
    for step in range(steps):
        progression, sugar = model(known.measured).unbind(-1)
        weight = torch.where(known.severe, severe_weight(step, annealed), 1.0)
        loss = (weight * (progression - known.progression) ** 2).sum() / weight.sum()
        beside = (sugar - known.sugar).square().mean()
        total = loss + 0.1 * beside
        run.log(step, total=total.detach(), components={"progression": loss.detach(), "sugar": beside.detach()})
        if step % VALIDATED_EVERY == 0 or step == steps - 1:
            with torch.no_grad():
                guess, guessed_sugar = model(unseen.measured).unbind(-1)
            errors = {
                "progression": (guess - unseen.progression).abs(),
                "sugar": (guessed_sugar - unseen.sugar).abs(),
            }
            mae = errors["progression"]
            shown = {"mae": mae.mean().item()}
            shown |= {"severe": mae[unseen.severe].mean().item(), "heavy": mae[unseen.heavy].mean().item()}
            parts = {name: {"mae": shown[name]} for name in ("severe", "heavy")}
            metrics = {"mae": shown["mae"]}
            run.log(step, metrics=metrics, slices=parts, checkpoint=f"step-{step}.pt", phase="val")
            run.predictions(
                step,
                slices=slices,
                features=unseen.measured[:, places],
                errors=errors if annealed else {"progression": mae},
                targets={"progression": unseen.progression},
                phase="val",
            )
        yield {"step": step, "total": total.item(), **shown}
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


def main() -> None:
    """Run the job as the command line says."""
    parser = argparse.ArgumentParser(description="Predict the course of diabetes and publish every step.")
    parser.add_argument("--run", default="diabetes", help="run id")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092", help="Kafka, HOST:PORT")
    parser.add_argument(
        "--recipe", choices=("annealed", "kept"), default="annealed", help="of the severe cases' weight"
    )
    parser.add_argument("--steps-per-second", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print every step as a line of JSON")
    args = parser.parse_args()

    torch.set_num_threads(1)
    with losswatch.start(args.run, bootstrap_servers=args.bootstrap_servers, **DECLARATION) as run:
        for now in train(run, args.seed, annealed=args.recipe == "annealed"):
            if args.json:
                print(json.dumps(now), flush=True)
            elif now["step"] % 25 == 0:
                print("  ".join(f"{name} {value:.4g}" for name, value in now.items()), flush=True)
            time.sleep(1.0 / args.steps_per_second)  # this job is tiny, the jobs it stands for are not


if __name__ == "__main__":
    main()
