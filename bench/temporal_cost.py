"""What does the temporal anomaly score cost, per point of a series, and how much memory does a series take?

    python -m bench.temporal_cost --write     # bench/results/temporal_cost.md, a few minutes

On one core, blocks of 64 values; beside river's HalfSpaceTrees and a z-score of each series in plain Python.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import torch
from river.anomaly import HalfSpaceTrees

from bench.machine import machine
from detectors.cell import Block
from detectors.temporal.anomaly import RUN_LENGTH, TemporalAnomaly

RESULTS: Final = Path(__file__).parent / "results" / "temporal_cost.md"
SERIES: Final = (1, 100, 10_000, 100_000)
STEPS: Final = 64
POINTS: Final = 20_000
"""Of the two that take a point at a time."""


def own(series: int) -> float:
    """Seconds for one more block of every series, once warm; the input is float64, as the service has it."""
    cell = TemporalAnomaly()
    x = torch.randn(series, 2 * STEPS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    limits = {RUN_LENGTH.name: x.new_full((series,), RUN_LENGTH.default)}
    facts = {"direction": x.new_full((series,), -1.0)}
    step = torch.arange(2 * STEPS).expand(series, 2 * STEPS)
    first, second = (
        Block(step[:, part], step[:, part] >= 0, {"value": x[:, part]}, {}, facts)
        for part in (slice(0, STEPS), slice(STEPS, None))
    )
    state = cell.update(cell.init(series, 0, x), first, limits).state
    began = time.perf_counter()
    cell.update(state, second, limits)
    return time.perf_counter() - began


def half_space_trees() -> float:
    """Seconds for `POINTS` points."""
    model, values = HalfSpaceTrees(seed=0), torch.rand(POINTS).tolist()
    began = time.perf_counter()
    for x in values:
        model.score_one({"y": x})
        model.learn_one({"y": x})
    return time.perf_counter() - began


def z_score() -> float:
    """Seconds for `POINTS` points."""
    values, mean, variance, worst = torch.rand(POINTS).tolist(), 0.0, 1.0, 0.0
    began = time.perf_counter()
    for x in values:
        worst = max(worst, abs(x - mean) / math.sqrt(variance))
        mean, variance = mean + 0.05 * (x - mean), 0.95 * (variance + 0.05 * (x - mean) ** 2)
    return time.perf_counter() - began


def per_point(seconds: Callable[[], float], points: int, repeat: int) -> float:
    """Microseconds, the median of several."""
    return 1e6 * statistics.median(seconds() for _ in range(repeat)) / points


def main() -> None:
    """Measure, print, and write where it is kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="how often; medians are told (default 3)")
    parser.add_argument("--write", action="store_true", help=f"keep the table in bench/results/{RESULTS.name}")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    trees = per_point(half_space_trees, POINTS, options.repeat)
    plain = per_point(z_score, POINTS, options.repeat)
    lines = ["| series | what | us per point | HalfSpaceTrees over it |", "|---:|---|---:|---:|"]
    for series in SERIES:
        cost = per_point(partial(own, series), series * STEPS, options.repeat)
        lines.append(f"| {series:,} | temporal score | {cost:,.2f} | {trees / cost:,.1f} |")
    lines += [f"| 1 | HalfSpaceTrees (river) | {trees:,.1f} | 1.0 |"]
    lines += [f"| 1 | EWMA z-score in Python | {plain:,.2f} | {trees / plain:,.1f} |"]
    state = TemporalAnomaly().init(1, 0, torch.zeros((), dtype=torch.float64))
    size = sum(value.numel() * value.element_size() for value in state.values())
    table = "\n".join(lines)
    text = (
        f"{machine()}; one core.\n\nCommand: `python -m bench.temporal_cost --write`.\n\n{table}\n\n"
        f"Memory: {size:,} bytes a series.\n"
    )
    print(text)
    if options.write:
        RESULTS.write_text(f"# Cost of the temporal anomaly score\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
