"""What the suite measured when it was last written, and how much worse it may get."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.quality.score import STRONG, Score, merged, scores

PATH: Final = Path(__file__).parents[1] / "results" / "quality.json"
RUNS: Final = 3
"""Of each noise, level and strength: few enough for a test."""
TOLERANCE: Final[Mapping[str, float]] = {"recall": 0.05, "false_alarms_per_10000": 0.5, "delay": 10.0}
"""A recall may be lower, the others higher, by this much."""

Figures = dict[str, float | None]


def measure(kinds: Sequence[str]) -> dict[str, Figures]:
    """The reduced set: healthy runs and failures of `STRONG` deviations, all noises together."""
    parts: dict[str, dict[float, list[Score]]] = {}
    for kind, _, strength, score in scores(kinds, RUNS, strengths=(0.0, STRONG)):
        parts.setdefault(kind, {}).setdefault(strength, []).append(score)
    found: dict[str, Figures] = {}
    for kind, by_strength in parts.items():
        sick, healthy = merged(by_strength[STRONG]), merged(by_strength[0.0])
        found[kind] = {
            "recall": sick.recall,
            "false_alarms_per_10000": merged([sick, healthy]).per_10000,
            "delay": sick.delay,
        }
    return found


def worse(now: Mapping[str, Figures], before: Mapping[str, Figures]) -> list[str]:
    """What became worse than its tolerance, in words.

    >>> before = {"spike": {"recall": 0.9, "false_alarms_per_10000": 0.0, "delay": 4.0}}
    >>> worse({"spike": {"recall": 0.7, "false_alarms_per_10000": 0.1, "delay": None}}, before)
    ['spike: recall is 0.7, was 0.9', 'spike: delay is None, was 4.0']
    """
    told = []
    for kind, figures in before.items():
        for name, was in figures.items():
            value = now[kind][name]
            if was is None:
                continue
            sign = -1.0 if name == "recall" else 1.0
            if value is None or sign * (value - was) > TOLERANCE[name]:
                told.append(f"{kind}: {name} is {value}, was {was}")
    return told


def load() -> dict[str, Figures]:
    """By kind."""
    figures: dict[str, Figures] = json.loads(PATH.read_text(encoding="utf-8"))["kinds"]
    return figures


def save(figures: Mapping[str, Figures]) -> None:
    """Write what `load` reads."""
    text = json.dumps({"tolerance": TOLERANCE, "runs": RUNS, "strength": STRONG, "kinds": figures}, indent=1)
    PATH.write_text(text + "\n", encoding="utf-8")
