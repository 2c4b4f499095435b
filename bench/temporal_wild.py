"""Series to train on for bench.temporal_learned: as wild as logs are, where those of bench.temporal_runs are tidy.

Half of what a network must not fire at is how numbers are logged: smoothed, rounded, in shares of a small number. The
other half is noise that bursts, wanders and has one-sided tails. Everything is drawn from wide ranges (domain
randomisation, Tobin et al. 2017); none was fitted to a log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from bench.temporal_runs import Base, Floats, Labelled, Rng, Window, healthy, spoiled

SHORTEST: Final = 60
LONGEST: Final = 4000
SPOILED_FROM: Final = 150
"""Shorter series have no anomaly."""


def make_wild(seed: int, number: int) -> list[Labelled]:
    """``number`` series, deterministic by seed; an anomaly in most, a third of them as tidy as the benchmark's."""
    return [_series(np.random.default_rng([seed, i]), f"wild-{seed}-{i}") for i in range(number)]


def _series(rng: Rng, name: str) -> Labelled:
    length = int(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST))))
    tidy, base = rng.random() < 0.35, healthy(rng, length)
    base = base if tidy else _wild(rng, base)
    base = replace(base, direction=0) if rng.random() < 0.15 else base
    label = Labelled(name, base.values, base.direction)
    if length >= SPOILED_FROM and rng.random() > 0.4:
        label = spoiled(rng, base, label)
    return label if tidy else _logged(rng, base, label)


def _wild(rng: Rng, base: Base) -> Base:
    """The series with noise that changes its size and shape, and a mean that wanders."""
    length = len(base.mean)
    mean, noise, shape = base.mean.copy(), base.noise.copy(), base.shape.copy()
    if rng.random() < 0.4:
        noise *= np.exp(rng.uniform(0.2, 1.2) * _wander(rng, length, _between(rng, 5, 500)))
    if rng.random() < 0.2:  # chaotic at the start
        noise *= 1 + rng.uniform(1, 10) * np.exp(-np.arange(length) / rng.uniform(5, 60))
    if rng.random() < 0.2:  # outliers, mostly to one side
        outliers = (rng.random(length) < rng.uniform(0.005, 0.08)) * rng.exponential(rng.uniform(1, 6), length)
        shape += outliers * rng.choice([-1, 1, 1, 1])
    if rng.random() < 0.15:
        shape = rng.standard_t(rng.uniform(1.8, 4), length)
    if rng.random() < 0.15:
        shape = np.expm1(rng.uniform(0.3, 1) * shape) / rng.uniform(0.5, 1)
    if rng.random() < 0.35:
        mean += base.noise * rng.uniform(0.5, 6) * _wander(rng, length, _between(rng, 10, 1000))
    if rng.random() < 0.15:
        mean += base.noise * rng.uniform(0.1, 1) * np.cumsum(rng.standard_normal(length))
    if rng.random() < 0.1:  # something every epoch
        epoch = rng.integers(20, 200)
        mean += base.noise * rng.uniform(1, 4) * ((np.arange(length) % epoch) / epoch - 0.5) * rng.choice([-1, 1])
    if rng.random() < 0.1:  # nearly a schedule
        noise *= 10.0 ** -rng.uniform(1, 3)
    return replace(base, mean=mean, noise=noise, shape=shape)


def _logged(rng: Rng, base: Base, label: Labelled) -> Labelled:
    """As a logger writes it: smoothed, rounded, in whole shares; an anomaly lasts as much longer as is averaged."""
    values, late = label.values, 0
    if rng.random() < 0.3:
        late = int(rng.integers(2, 25))
        values = SMOOTHERS[int(rng.integers(len(SMOOTHERS)))](values, late)
    if rng.random() < 0.35:
        unit = 10.0 ** (np.floor(np.log10(np.median(np.abs(values)) + 1e-12)) - rng.integers(2, 6) + 1)
        values = np.round(values / unit) * unit
    if rng.random() < 0.08:
        unit = np.median(base.noise) * rng.uniform(0.5, 4) + 1e-12
        values = np.round(values / unit) * unit
    windows = tuple(Window(w.kind, w.start, min(w.end + late, len(values))) for w in label.windows)
    return replace(label, values=values, windows=windows)


def _windows(values: Floats, width: int) -> Floats:
    filled = np.concatenate([np.full(width - 1, values[0]), values])
    windows: Floats = sliding_window_view(filled, width)
    return windows


def _mean(values: Floats, width: int) -> Floats:
    mean: Floats = _windows(values, width).mean(axis=1)
    return mean


def _median(values: Floats, width: int) -> Floats:
    median: Floats = np.median(_windows(values, width), axis=1)
    return median


def _exponential(values: Floats, width: int) -> Floats:
    smooth, last = np.empty_like(values), values[0]
    for t, x in enumerate(values):
        last = smooth[t] = last + (x - last) / width
    return smooth


SMOOTHERS: Final[tuple[Callable[[Floats, int], Floats], ...]] = (_mean, _median, _exponential)


def _wander(rng: Rng, length: int, tau: float) -> Floats:
    """An AR(1) of unit size that remembers ``tau`` values."""
    decay = np.exp(-1 / tau)
    walk, last = np.empty(length), rng.standard_normal()
    for t, x in enumerate((1 - decay**2) ** 0.5 * rng.standard_normal(length)):
        last = walk[t] = decay * last + x
    return walk


def _between(rng: Rng, low: float, high: float) -> float:
    """Drawn evenly on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
