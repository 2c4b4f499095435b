"""Measured against declared steps between false alarms, on noise of many kinds and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from bench.temporal_measures import APART
from bench.temporal_methods import own_batch
from bench.temporal_runs import Floats, Rng

DECLARED: Final = 50_000
LENGTHS: Final = (200, 1_000, 5_000, 20_000, 200_000)
ROWS: Final = 500


def _autocorrelated(rng: Rng, rows: int, length: int, phi: float) -> Floats:
    noise = rng.standard_normal((rows, length))
    for t in range(1, length):
        noise[:, t] += phi * noise[:, t - 1]
    return noise


def _heteroscedastic(rng: Rng, rows: int, length: int) -> Floats:
    slow = _autocorrelated(rng, rows, length, 0.98) * (1 - 0.98**2) ** 0.5
    volatile: Floats = np.exp(slow) * rng.standard_normal((rows, length))
    return volatile


NOISE: Final[Mapping[str, Callable[[Rng, int, int], Floats]]] = {
    "white": lambda rng, rows, length: rng.standard_normal((rows, length)),
    "Student t3": lambda rng, rows, length: rng.standard_t(3, (rows, length)),
    "counts": lambda rng, rows, length: rng.negative_binomial(2, 0.2, (rows, length)).astype(np.float64),
    "AR(0.9)": lambda rng, rows, length: _autocorrelated(rng, rows, length, 0.9),
    "trending": lambda rng, rows, length: 0.05 * np.arange(length) + rng.standard_normal((rows, length)),
    "decaying": lambda rng, rows, length: (
        (1 + np.arange(length) / 50) ** -0.6 * (1 + 0.1 * rng.standard_normal((rows, length)))
    ),
    "heteroscedastic": _heteroscedastic,
}


def alarms(noise: Callable[[Rng, int, int], Floats], length: int, total: int) -> tuple[int, int]:
    """False alarms at the default threshold, and in how many values."""
    rows, found, done = max(total // length, 4), 0, 0
    for start in range(0, rows, ROWS):
        count = min(ROWS, rows - start)
        values = noise(np.random.default_rng([length, start]), count, length)
        for score in own_batch(list(values), [0] * count):
            hits = np.flatnonzero(score >= 0.5)
            found += int(np.sum(np.diff(hits, prepend=-APART - 1) > APART))
        done += count * length
    return found, done


def measure(total: int) -> dict[str, dict[int, tuple[int, int]]]:
    """Alarms and values, by noise and length."""
    return {name: {length: alarms(noise, length, total) for length in LENGTHS} for name, noise in NOISE.items()}


def table(measured: Mapping[str, Mapping[int, tuple[int, int]]]) -> str:
    """Measured run lengths, in steps, as Markdown."""
    lines = [
        "| noise | " + " | ".join(f"{length:,} values" for length in LENGTHS) + " |",
        "|---|" + "---:|" * len(LENGTHS),
    ]
    for name, by_length in measured.items():
        cells = [f"{values / found:,.0f}" if found else f"> {values:,}" for found, values in by_length.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(measured: Mapping[str, Mapping[int, tuple[int, int]]]) -> str:
    """The same as an SVG: run length over the length of the series, both logarithmic, with the factor-of-2 band."""
    width, height, left, top = 640, 360, 70, 20

    def x(length: float) -> float:
        return float(left + (np.log10(length) - 2.3) / 3.0 * (width - left - 150))

    def y(steps: float) -> float:
        return float(top + (7 - np.log10(np.clip(steps, 3e3, 1e7))) / 3.6 * (height - top - 50))

    right, colours = x(LENGTHS[-1]), ("#1b6ca8", "#c0392b", "#d68910", "#6c3483", "#117a65", "#7f8c8d", "#a04000")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<rect x="{left}" y="{y(2 * DECLARED):.1f}" width="{right - left:.1f}" '
        f'height="{y(DECLARED / 2) - y(2 * DECLARED):.1f}" fill="#dde"/>',
    ]
    for steps in (10**4, 10**5, 10**6, 10**7):
        parts.append(f'<text x="{left - 8}" y="{y(steps) + 4:.1f}" text-anchor="end">{steps:,}</text>')
    for length in LENGTHS:
        parts.append(f'<text x="{x(length):.1f}" y="{height - 30}" text-anchor="middle">{length:,}</text>')
    for row, (colour, (name, by_length)) in enumerate(zip(colours, measured.items(), strict=True)):
        points = [(x(length), y(values / max(found, 0.5))) for length, (found, values) in by_length.items()]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{right + 14:.1f}" y="{top + 20 + 18 * row}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{left}" y="{height - 10}">length of the series; steps between false alarms upwards</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
