"""Labelled training series for bench.temporal: made-up ones of every anomaly kind, deterministic by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

WARM_UP: Final = 60
"""No anomaly begins before this value of a series."""
GRACE: Final = 80
"""Values after an anomaly in which an alarm counts for nothing: the series returns, which is a change too."""


@dataclass(frozen=True, slots=True)
class Window:
    """An anomaly: an alarm from ``start`` to before ``end`` finds it."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """One series with its anomalies; ``direction`` -1 where lower is better, 1 where higher is, 0 unknown."""

    name: str
    values: Floats
    direction: int
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """A healthy series, its mean, and the size of its noise at every step."""

    name: str
    direction: int
    mean: Floats
    noise: Floats
    shape: Floats = field(default_factory=lambda: np.zeros(0))
    """The noise itself, of unit size."""

    @property
    def values(self) -> Floats:
        values: Floats = self.mean + self.noise * self.shape
        return values


def correlated(rng: Rng, length: int, heavy: bool) -> Floats:
    """Noise of unit size, white or AR(1), normal or Student t with 4 degrees of freedom."""
    phi = float(rng.choice([0.0, 0.0, 0.3, 0.6, 0.9]))
    white = rng.standard_t(4, length) / 2**0.5 if heavy else rng.standard_normal(length)
    noise, last = np.empty(length), 0.0
    for t, x in enumerate(white * (1 - phi**2) ** 0.5):
        last = noise[t] = phi * last + x
    return noise


def healthy(rng: Rng, length: int) -> Base:
    """A loss that falls by a power law, by steps of the learning rate or to a plateau; an accuracy, a reward, a
    periodic metric, a count."""
    t, size = np.arange(length), float(np.exp(rng.uniform(np.log(0.003), np.log(0.3))))
    unit = float(np.exp(rng.uniform(-4, 4)))
    name = str(rng.choice(["power", "power", "steps", "steps", "plateau", "accuracy", "reward", "periodic", "count"]))
    heavy = bool(rng.random() < 0.4)
    shape, direction = correlated(rng, length, heavy), -1
    if name == "power":
        mean = (1 + t / rng.uniform(5, 100)) ** -rng.uniform(0.2, 1.0) + rng.uniform(0.01, 0.5)
        noise = size * mean
    elif name == "steps":
        mean = np.exp(-t / rng.uniform(0.1, 1.0) / length) + rng.uniform(0.01, 0.3)
        for drop in rng.uniform(0.3, 0.95, 2):
            mean = np.where(t > drop * length, mean * rng.uniform(0.3, 0.8), mean)
        noise = size * mean
    elif name == "plateau":
        mean, noise = np.ones(length), np.full(length, size)
    elif name == "accuracy":
        mean, direction = 1 - 0.9 * (1 + t / rng.uniform(5, 100)) ** -rng.uniform(0.3, 1.0), 1
        noise, unit = 0.2 * size * (1.05 - mean), 1.0
    elif name == "reward":
        mean, direction = np.tanh(3 * t / length) * rng.uniform(1, 5), 1
        noise = size * (1 + mean)
    elif name == "periodic":
        mean, direction = 3 + np.sin(2 * np.pi * t / rng.uniform(15, 60)), 0
        noise = np.full(length, 0.3 * size)
    else:
        rate = rng.uniform(0.5, 30)
        mean, direction, unit = np.full(length, rate), 0, 1.0
        noise, shape = np.full(length, rate**0.5), (rng.poisson(rate, length) - rate) / rate**0.5
    return Base(name, direction, mean * unit, noise * unit, shape)


Change = Callable[[Rng, Base, Floats, int], tuple[Floats, int]]
"""From the generator, the base, its values and the start: the changed values and the end of the window."""


def _worse(rng: Rng, base: Base) -> float:
    return float(-base.direction or rng.choice([-1.0, 1.0]))


def spike(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """One to three values far off."""
    end = start + int(rng.integers(1, 4))
    values[start:end] += _worse(rng, base) * rng.uniform(6, 30) * base.noise[start]
    return values, end + 5


def shift(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """Another level from now on."""
    values[start:] += _worse(rng, base) * rng.uniform(3, 10) * base.noise[start]
    return values, start + 40


def divergence(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """Exponential growth until the end."""
    age = np.arange(len(values) - start)
    grown = np.minimum(np.exp(age / rng.uniform(5, 40)) - 1, 1e4)
    values[start:] += _worse(rng, base) * grown * base.noise[start]
    return values, len(values)


def variance(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """Several times the noise for a while."""
    end = start + int(rng.integers(40, 150))
    values[start:end] = base.mean[start:end] + rng.uniform(3, 8) * (values - base.mean)[start:end]
    return values, end


def drift(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """Slowly worse, until the end."""
    last = int(rng.integers(100, 400))
    ramp = np.minimum(np.arange(len(values) - start) / last, 1.0)
    values[start:] += _worse(rng, base) * ramp * rng.uniform(5, 15) * base.noise[start]
    return values, start + last


def oscillation(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """A swing to and fro for a while."""
    end = start + int(rng.integers(40, 150))
    wave = np.sin(2 * np.pi * np.arange(end - start) / rng.uniform(2, 12) + 1)
    values[start:end] += (rng.uniform(3, 8) * base.noise[start] * wave)[: len(values) - start]
    return values, end


def freeze(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """The same number over and over."""
    end = start + int(rng.integers(30, 120))
    values[start:end] = values[start]
    return values, end


def too_good(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """Far better from one step to the next, as when labels leak."""
    if base.direction == -1:
        values[start:] *= rng.uniform(0.01, 0.05)
    else:
        values[start:] += base.direction * rng.uniform(20, 60) * base.noise[start]
    return values, start + 40


def pattern_lost(rng: Rng, base: Base, values: Floats, start: int) -> tuple[Floats, int]:
    """What came and went no longer does."""
    values[start:] += base.mean[start] - base.mean[start:]
    return values, start + 120


CHANGES: Final[tuple[Change, ...]] = (
    spike, spike, shift, divergence, variance, drift, oscillation, freeze, too_good
)  # fmt: skip


def name_of(change: Change) -> str:
    return getattr(change, "__name__", "change")


def make(seed: int, number: int, *, healthy_share: float = 0.4, longest: int = 4000) -> list[Labelled]:
    """``number`` series; in most of them one anomaly, in ``healthy_share`` none."""
    found = []
    for i in range(number):
        rng = np.random.default_rng([seed, i])
        length = int(np.exp(rng.uniform(np.log(300), np.log(longest))))
        base = healthy(rng, length)
        label = Labelled(f"{base.name}-{seed}-{i}", base.values, base.direction)
        found.append(label if rng.random() < healthy_share else spoiled(rng, base, label))
    return found


def spoiled(rng: Rng, base: Base, label: Labelled) -> Labelled:
    """The series with one anomaly."""
    length = len(label.values)
    changes: Sequence[Change] = (*CHANGES, pattern_lost, pattern_lost) if base.name == "periodic" else CHANGES
    change = changes[int(rng.integers(len(changes)))]
    if base.name == "count" and name_of(change) == "too_good":
        change = shift
    start = int(rng.integers(max(WARM_UP, length // 6), int(length * 0.85)))
    values, end = change(rng, base, label.values.copy(), start)
    window = Window(name_of(change), start, min(end, length))
    return replace(label, values=values, windows=(window,))
