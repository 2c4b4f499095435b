"""Would a small network make a better score of the same evidence? Trained here, compared, not shipped.

python -m bench.temporal_learned --write --logs ../shared/logs    # bench/results/temporal_learned.md, 10 minutes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from bench.machine import machine
from bench.temporal import SEEDS
from bench.temporal_logs import injected, read
from bench.temporal_measures import peaks
from bench.temporal_network import EPOCHS, Seen, scored, see, trained
from bench.temporal_noise import NOISE
from bench.temporal_runs import Floats, Labelled, make
from bench.temporal_wild import make_wild

RESULTS: Final = Path(__file__).parent / "results" / "temporal_learned.md"
SEED: Final = 9001
ROWS, LENGTH = 40, 5000
"""Series of each noise, and their values."""
Scorer = Callable[[Seen], Sequence[Floats]]
HEAD: Final = (
    "| score | PR AUC, made up | PR AUC, put into logs | recall, made up | recall, put into logs "
    "| run lengths at one in 10,000 |\n|---|---:|---:|---:|---:|---:|"
)
TEXT: Final = """\
# Would a learned part help the temporal score?

{machine}.

Command: `python -m bench.temporal_learned --write --logs FOLDER`. Networks of {weights} weights and less, trained for
{epochs} passes over {training:,} made-up series of `bench.temporal_wild` (seed {seed}), on the parts of bench.temporal.
Six anomalies are put into each log, one after the other. Recall is at the threshold at which a score has as many alarms
on healthy logs as the cell has at its default. Run lengths are the shortest and the longest of {noises} kinds of noise
(docs/temporal.md; {rows} series of {length:,} values each) at the one threshold at which all of them together have an
alarm in 10,000 values: how far a threshold is from meaning the same for every series.

{tables}
"""


def run_lengths(score: Scorer, noise: Mapping[str, Seen], every: int) -> dict[str, float]:
    """Steps between alarms on each noise, at the threshold at which all together have one in ``every`` values."""
    scores = {name: score(seen) for name, seen in noise.items()}
    values = sum(len(x) for all_scores in scores.values() for x in all_scores)
    false = {name: peaks(noise[name].runs, all_scores).false for name, all_scores in scores.items()}
    threshold = np.sort(np.concatenate(list(false.values())))[::-1][values // every]
    return {name: sum(map(len, scores[name])) / max(int((found > threshold).sum()), 1) for name, found in false.items()}


def table(part: Literal["development", "test"], folder: Path, series: int, scores: Mapping[str, Scorer]) -> str:
    """All scores on a part, and how many alarms on how many healthy values the cell has at its default."""
    logs = [log for log in read(folder) if log.part == part]
    judged = see(make(SEEDS[part], series))
    inserted = see([run for seed in range(1, 7) for run in injected(logs, seed) if run.windows])
    healthy = see([log.series for log in logs if log.labels == "healthy"])
    default = peaks(healthy.runs, healthy.scores)
    alarms = int((default.false >= 0.5).sum())
    lines = [
        f"## {part.capitalize()} part",
        "",
        f"The cell has {alarms} alarms in {default.values:,} values of healthy logs.",
        "",
        HEAD,
    ]
    noise = {
        name: see([Labelled(name, x, 0) for x in make_noise(np.random.default_rng(5), ROWS, LENGTH)])
        for name, make_noise in NOISE.items()
    }
    for name, score in scores.items():
        made, put, calm = (peaks(seen.runs, score(seen)) for seen in (judged, inserted, healthy))
        threshold = np.sort(calm.false)[::-1][alarms]
        recalls = [f"{(found.found > threshold).mean():.2f}" for found in (made, put)]
        lengths = run_lengths(score, noise, 10_000).values()
        lines.append(
            f"| {name} | {made.area():.3f} | {put.area():.3f} | {' | '.join(recalls)} "
            f"| {min(lengths):,.0f} to {max(lengths):,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train both networks and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, required=True, help="folder of real logs with their manifest.csv")
    parser.add_argument("--training", type=int, default=6000, help="series to train on")
    parser.add_argument("--series", type=int, default=800, help="made-up series to judge on, of each part")
    parser.add_argument("--parts", nargs="+", default=["development", "test"], choices=["development", "test"])
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    examples = see(make_wild(SEED, options.training))
    together, alone = trained(examples, alone=False), trained(examples, alone=True)
    scores: dict[str, Scorer] = {
        "the cell": lambda seen: seen.scores,
        "the cell and the network": lambda seen: scored(together, seen),
        "the network alone": lambda seen: scored(alone, seen),
    }
    tables = [table(part, options.logs, options.series, scores) for part in options.parts]
    text = TEXT.format(
        machine=machine(),
        weights=sum(p.numel() for p in together.parameters()),
        epochs=EPOCHS,
        training=options.training,
        seed=SEED,
        noises=len(NOISE),
        rows=ROWS,
        length=LENGTH,
        tables="\n\n".join(tables),
    )
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
