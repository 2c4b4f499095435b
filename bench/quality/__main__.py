"""How often is each kind of finding right, how late, and how often wrong?

python -m bench.quality                        # synthetic runs, and the logs in ../shared/logs if they are there
python -m bench.quality --write                # keep bench/results/quality.md and quality.json
python -m bench.quality --kinds spike --runs 50
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from bench.machine import machine
from bench.quality import oracle, real, recorded
from bench.quality.budgets import budget
from bench.quality.noise import FAMILIES, MEMORY
from bench.quality.score import (
    LEVELS,
    ONSET,
    OWN_LEVELS,
    STEPS,
    STRENGTHS,
    STRONG,
    Score,
    loss_side_kinds,
    merged,
    precision,
    scores,
)
from bench.quality.synthetic import STRETCH
from detectors.series.plateau import SEEN

RESULTS: Final = Path(__file__).parents[1] / "results" / "quality.md"
LOGS: Final = Path(__file__).parents[3] / "shared" / "logs"


def synthetic(kinds: list[str], runs: int) -> Iterator[str]:
    """The two tables of the made-up runs."""
    found = {(kind, family, strength): score for kind, family, strength, score in scores(kinds, runs)}

    def over(kind: str, strength: float, families: tuple[str, ...] = FAMILIES) -> Score:
        return merged([score for (k, f, s), score in found.items() if (k, s) == (kind, strength) and f in families])

    yield "| kind | recall at 1 | 2 | 3 | 5 | median delay at 3 | precision at 3 | false alarms in 10,000 steps |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for kind in kinds:
        recalls = " | ".join(f"{over(kind, strength).recall:.2f}" for strength in STRENGTHS if strength)
        sick, healthy = over(kind, STRONG), over(kind, 0.0)
        right = precision(sick, healthy)
        alarms = merged([over(kind, strength) for strength in STRENGTHS]).per_10000
        delay = "" if sick.delay is None else f"{sick.delay:.0f}"
        told = "" if right is None else f"{right:.2f}"
        yield f"| `{kind}` | {recalls} | {delay} | {told} | {alarms:.2f} |"
    yield "| *always fires* | 1.00 | 1.00 | 1.00 | 1.00 | 0 | 0.50 | 10,000 |"
    yield "| *never fires* | 0.00 | 0.00 | 0.00 | 0.00 | | | 0.00 |"
    yield ""
    yield "By noise: recall at 3 deviations, and false alarms in 10,000 healthy steps, of how many may be."
    yield ""
    yield "| kind | " + " | ".join(FAMILIES) + " |"
    yield "|---|" + "---:|" * len(FAMILIES)
    for kind in kinds:
        cells = [
            f"{over(kind, STRONG, (family,)).recall:.2f}, {over(kind, 0.0, (family,)).per_10000:.2f} of "
            f"{budget(kind, family):.1f}"
            for family in FAMILIES
        ]
        yield f"| `{kind}` | " + " | ".join(cells) + " |"
    above = [
        f"`{kind}` ({family})"
        for kind in kinds
        for family in FAMILIES
        if over(kind, 0.0, (family,)).per_10000 > budget(kind, family)
    ]
    yield ""
    yield f"Above their budget: {', '.join(above) or 'none'}."


def possible() -> Iterator[str]:
    """What is possible."""
    told = f"{oracle.RUNS} runs of each noise and level, {oracle.BUDGET} false alarms in 10,000 steps."
    yield "By a likelihood ratio that is told the curve, the noise and its memory, how high and how long the spike is,"
    yield f"and only has to find the step: {told}"
    yield ""
    yield from oracle.table(OWN_LEVELS["spike"], STRENGTHS[1:], STEPS, ONSET)
    yield ""
    stuck = ", ".join(
        f"{oracle.plateau_recall(level, MEMORY, STEPS):.2f} at a noise of {level:.0%}"
        for level in OWN_LEVELS["plateau"]
    )
    yield "Plateaus in AR(0.9) noise, by the best test that knows it of a standstill against a fall by"
    yield f"{SEEN:.0%} in half of the run, wrong about {oracle.WRONG:.0%} of those: {stuck}."
    yield ""
    for constant in (30.0, 100.0):
        stuck = ", ".join(
            f"{oracle.stagnation_recall(level, MEMORY, STEPS, constant):.2f} at a noise of {level:.0%}"
            for level in LEVELS
        )
        yield f"Components at a standstill in AR(0.9) noise, of a fall to {oracle.SETTLES:.0%} with a time constant of"
        yield f"{constant:.0f} steps, by the same test: {stuck}."
    parted = ", ".join(
        f"{oracle.slice_recall('trending', level, STRONG, STEPS, ONSET):.2f} at a noise of {level:.0%}"
        for level in LEVELS
    )
    yield ""
    yield "Slices that worsen on the slow trend by 3 deviations, of slices that stand still while the whole improves,"
    yield f"by the same test, which is told when that begins: {parted}."


def logs(folder: Path) -> Iterator[str]:
    """The table of the real logs, and what must not be."""
    judged = real.judge(folder)
    unread = [log.id for log in judged if log.error is not None]
    yield f"{len(judged)} logs with a person's labels, in halves by repository; only the first was looked at before."
    yield ""
    yield from real.table(judged)
    yield ""
    told = real.criticals(judged)
    yield f"Critical findings on logs labelled healthy: {len(told)}{': ' if told else '.'}" + "; ".join(
        f"{log} ({', '.join(kinds)})" for log, kinds in told
    )
    if unread:
        yield f"Not readable: {', '.join(unread)}."


def main() -> None:
    """Measure, print, and write what is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds", nargs="+", help="kinds to measure (default: all of the catalog that are about losses)"
    )
    parser.add_argument("--runs", type=int, default=20, help="runs of each noise, level and strength (default 20)")
    parser.add_argument("--logs", type=Path, default=LOGS, help="folder with real logs and their manifest.csv")
    parser.add_argument("--write", action="store_true", help="keep bench/results/quality.md and quality.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kinds = options.kinds or loss_side_kinds()
    lines = [
        "# Are the findings right?",
        "",
        f"{machine()}.",
        "",
        f"Command: `python -m bench.quality --write`. Made-up runs of {STEPS} steps that fail at a known step,",
        f"{options.runs} for each of four noises (white, Student's t with 3 degrees of freedom, AR(0.9), white on a",
        "slow trend), two noise levels and four strengths in standard deviations of the noise, and as many healthy",
        "twins; through the whole engine, as records. Kinds whose failure has no strength (a NaN, a clamp, another",
        "formula) are the same at all. Delays are in steps. A deviation is that of one value around the curve of the",
        "loss, relative to it, whatever the noise remembers: that of AR(0.9) jumps by 0.44 of it from step to step. A",
        f"spike lasts {STRETCH} values.",
        "",
        *synthetic(kinds, options.runs),
    ]
    if {"spike", "plateau", "component_stagnates", "slice_divergence"} & set(kinds):
        lines += ["", "## What could be found", "", *possible()]
    if (options.logs / "manifest.csv").exists():
        lines += ["", "## Real logs", "", *logs(options.logs)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
        recorded.save(recorded.measure(kinds))


if __name__ == "__main__":
    main()
