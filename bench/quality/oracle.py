"""How many failures could be found at all? As many as by a detector that is told all but the answer.

By Neyman and Pearson (1933) nothing finds more at as few false alarms than the ratio of the likelihoods of a run with
the failure and without. That of spikes knows the curve of the loss, the noise and its memory, and how high and how
long the spike is; a real detector has to estimate all of them from some hundred values. Letters: R runs, T steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from statistics import NormalDist
from typing import Final

import numpy as np

from bench.quality.noise import DECAY, FAMILIES, MEMORY, Draw, Family, Floats
from bench.quality.synthetic import GENERATORS, RARELY, STRETCH, worsening
from detectors.series.plateau import SEEN

RUNS: Final = 400
BUDGET: Final = 0.5
"""False alarms per 10,000 steps that it may make at most; every step above its limit counts as one."""
WRONG: Final = 0.01
"""Share of the runs without the failure that may be called one with it."""
SETTLES: Final = 0.6
"""Where a component that learns a little ends, in parts of where it began."""


def recall(family: Family, level: float, strength: float, steps: int, onset: int) -> float:
    """Share of the spikes that it finds while they last or as they end."""
    healthy = _evidence(_losses(family, level, 0.0, steps, onset), family, level, strength)
    limit = np.sort(healthy, axis=None)[-1 - int(BUDGET * 1e-4 * healthy.size)]
    sick = _evidence(_losses(family, level, strength, steps, onset), family, level, strength)
    return float((sick[:, onset : onset + STRETCH + 1].max(1) > limit).mean())


def plateau_recall(level: float, memory: float, steps: int) -> float:
    """Share of the runs at a standstill that can be told from runs that fall by `SEEN` in half of their steps.

    Both are lines in noise that is known; where they begin is not.

    >>> plateau_recall(0.08, 0.0, 720) > 0.999
    True
    """
    return _told(2 * SEEN * np.arange(steps) / steps, level, memory)


def stagnation_recall(level: float, memory: float, steps: int, constant: float) -> float:
    """Share of the components at a standstill that can be told from such as fall to `SETTLES`, ``constant`` steps long.

    >>> stagnation_recall(0.05, 0.9, 720, 100.0) > 0.999
    True
    """
    return _told((1 - SETTLES) * (1 - np.exp(-np.arange(steps) / constant)), level, memory)


def slice_recall(family: Family, level: float, strength: float, steps: int, onset: int) -> float:
    """Share of the slices that worsen, told from slices that stand still from the onset on; both in white noise.

    >>> slice_recall("trending", 0.15, 3.0, 720, 400) > 0.999
    True
    """
    at: Floats = np.arange(onset + -onset % RARELY, steps, RARELY, dtype=np.float64)
    course: Floats = (0.4 + np.exp(-at / DECAY[family])) * worsening(strength * level, at - onset + 1)
    return _told(course / course[0] - 1, level * course / course[0], 0.0)


def _told(signal: Floats, level: float | Floats, memory: float) -> float:
    """Share found of a signal (T) in AR(1) noise around an unknown level, wrong about `WRONG` of the others."""
    line, constant = (_whitened(x / level, memory) for x in (signal, np.ones(len(signal))))
    left = line - constant * (line @ constant) / (constant @ constant)
    return NormalDist().cdf(float(np.linalg.norm(left)) - NormalDist().inv_cdf(1 - WRONG))


def _whitened(x: Floats, memory: float) -> Floats:
    """What is left of a signal in AR(1) noise of unit variance when the noise is made white."""
    white: Floats = np.concatenate([x[:1], (x[1:] - memory * x[:-1]) / (1 - memory**2) ** 0.5])
    return white


def table(levels: tuple[float, ...], strengths: tuple[float, ...], steps: int, onset: int) -> Iterator[str]:
    """Its recall, noise by noise."""
    yield "| noise | " + " | ".join(f"recall at {strength:.0f}" for strength in strengths) + " |"
    yield "|---|" + "---:|" * len(strengths)
    for family in FAMILIES:
        means = [np.mean([recall(family, level, each, steps, onset) for level in levels]) for each in strengths]
        yield f"| {family} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |"


def _losses(family: Family, level: float, strength: float, steps: int, onset: int) -> Floats:
    made = []
    for number in range(RUNS):
        rng = np.random.default_rng(zlib.crc32(f"oracle {family} {level} {strength} {number}".encode()))
        (phase,) = GENERATORS["spike"](Draw(rng, family, level, strength, steps, onset)).phases
        made.append(phase.fields["total"])
    return np.stack(made)


def _evidence(losses: Floats, family: Family, level: float, strength: float) -> Floats:
    """(R, T) the largest log likelihood ratio of all spikes that began up to `STRETCH` steps ago."""
    curve = 0.4 + np.exp(-np.arange(losses.shape[1]) / DECAY[family])
    height = 1 + strength * level
    calm, spiked = ((losses / curve / high - 1) / level for high in (1.0, height))
    was_calm, was_spiked = (np.concatenate([x[:, :1], x[:, :-1]], 1) for x in (calm, spiked))
    none = _log_density(calm, was_calm, family)
    begins = _log_density(spiked, was_calm, family) - np.log(height) - none
    lasts = _log_density(spiked, was_spiked, family) - np.log(height) - none
    ends = _log_density(calm, was_spiked, family) - none
    since: Floats = begins
    best: Floats = begins
    for lag in range(1, STRETCH + 1):
        since = np.concatenate([np.full_like(since[:, :1], -np.inf), since[:, :-1]], 1)
        since = since + (lasts if lag < STRETCH else ends)
        best = np.maximum(best, since)
    return best


def _log_density(now: Floats, before: Floats, family: Family) -> Floats:
    """Of the noise, given the value before; without the constant."""
    if family == "t3":
        heavy: Floats = -2 * np.log1p(now**2)
        return heavy
    memory = MEMORY if family == "ar0.9" else 0.0
    density: Floats = -0.5 * (now - memory * before) ** 2 / (1 - memory**2)
    return density
