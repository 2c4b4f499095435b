"""From findings to precision, recall, delay and false alarms, beside two detectors that know nothing."""

from __future__ import annotations

import statistics
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from bench.quality.noise import FAMILIES, Draw, Family
from bench.quality.play import play
from bench.quality.synthetic import GENERATORS, Story
from detectors.catalog import CELLS
from detectors.streams import PAIRS
from losswatch.schema import Finding

STRENGTHS: Final = (0.0, 1.0, 2.0, 3.0, 5.0)
LEVELS: Final = (0.05, 0.15)
OWN_LEVELS: Final[Mapping[str, tuple[float, ...]]] = {"spike": (0.15, 0.3), "plateau": (0.02, 0.08)}
"""Noise at which 3 deviations are a spike by definition (`spike_rise`), and at which a plateau can be seen."""
STEPS: Final = 720
ONSET: Final = 400
STRONG: Final = 3.0
"""Strength from which a failure has to be found."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one kind on runs of one strength."""

    runs: int
    found: int
    delay: float | None
    """Median steps from the onset to the confirmation, of those found."""
    false_alarms: int
    """Firings in healthy runs and before the onset."""
    healthy_steps: int

    @property
    def recall(self) -> float:
        """Share of the sick runs in which it fired after the onset."""
        return self.found / self.runs

    @property
    def per_10000(self) -> float:
        """False alarms per 10,000 healthy steps of a run."""
        return 1e4 * self.false_alarms / max(self.healthy_steps, 1)


def loss_side_kinds() -> list[str]:
    """The kinds of the catalog that this suite judges: all but those that look at predictions, and collapse."""
    streams = ("series", "objective", *PAIRS)
    named = [kind.name for cell in CELLS if cell.stream in streams for kind in cell.kinds]
    return named + [kind.name for cell in CELLS for kind in cell.kinds if kind.name.startswith("diversity_")]


def stories(kind: str, strength: float, family: Family, level: float, runs: int) -> list[tuple[Story, int]]:
    """Runs and the onset of each; the same for every call."""
    made = []
    for number in range(runs):
        seed = zlib.crc32(f"{kind} {strength} {family} {level} {number}".encode())
        draw = Draw(np.random.default_rng(seed), family, level, strength, STEPS, ONSET)
        story = GENERATORS[kind](draw)
        made.append((story, ONSET if story.onset is None else story.onset))
    return made


def scores(
    kinds: Sequence[str],
    runs: int,
    families: Sequence[Family] = FAMILIES,
    strengths: Sequence[float] = STRENGTHS,
) -> Iterator[tuple[str, Family, float, Score]]:
    """Kind, noise family, strength and score; over all levels of the noise together."""
    for kind in kinds:
        levels = OWN_LEVELS.get(kind, LEVELS)
        keys = [(f, s, x, n) for f in families for s in strengths for x in levels for n in range(runs)]
        made = [each for f in families for s in strengths for x in levels for each in stories(kind, s, f, x, runs)]
        found = play([story for story, _ in made])
        for family in families:
            for strength in strengths:
                chosen = [i for i, key in enumerate(keys) if key[:2] == (family, strength)]
                rows = [(made[i][1], [f for f in found[i] if f.kind == kind]) for i in chosen]
                yield kind, family, strength, _score(rows, strength)


def _score(rows: Sequence[tuple[int, Sequence[Finding]]], strength: float) -> Score:
    if not strength:
        return Score(len(rows), 0, None, sum(len(findings) for _, findings in rows), STEPS * len(rows))
    late = [[f for f in findings if f.step >= onset] for onset, findings in rows]
    early = sum(f.step < onset for onset, findings in rows for f in findings)
    delays = [each[0].step - onset for each, (onset, _) in zip(late, rows, strict=True) if each]
    healthy = sum(onset for onset, _ in rows)
    return Score(len(rows), len(delays), statistics.median(delays) if delays else None, early, healthy)


def merged(parts: Sequence[Score]) -> Score:
    """Several scores as one; the delay is the median of theirs."""
    delays = [part.delay for part in parts if part.delay is not None]
    names = ("runs", "found", "false_alarms", "healthy_steps")
    sums = {name: sum(asdict(part)[name] for part in parts) for name in names}
    return Score(delay=statistics.median(delays) if delays else None, **sums)


def precision(sick: Score, healthy: Score) -> float | None:
    """Runs rightly told among all told, of as many healthy as sick runs."""
    wrong = healthy.false_alarms / healthy.runs * sick.runs
    told = sick.found + wrong + sick.false_alarms
    return sick.found / told if told else None
