"""Measured against declared steps between false alarms, on noise of many kinds and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from bench.temporal_measures import APART
from bench.temporal_own import own_batch
from bench.temporal_runs import Floats, Rng
from detectors.temporal.anomaly import RUN_LENGTH

DECLARED: Final = (1_000, 10_000, 50_000)
LENGTHS: Final = (200, 1_000, 5_000, 20_000, 200_000)
ROWS: Final = 500

Counts = Mapping[int, int]
"""Alarms by declared run length."""
Measured = Mapping[str, Mapping[int, tuple[Counts, int]]]
"""Alarms and in how many values, by noise and length of the series."""


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


def alarms(noise: Callable[[Rng, int, int], Floats], length: int, total: int) -> tuple[Counts, int]:
    """False alarms at each declared run length, and in how many values. Alarms nearer than `APART` are one."""
    rows, done = max(total // length, 4), 0
    found = dict.fromkeys(DECLARED, 0)
    limits = {steps: np.log(steps) / (np.log(steps) + np.log(RUN_LENGTH.default)) for steps in DECLARED}
    for start in range(0, rows, ROWS):
        count = min(ROWS, rows - start)
        values = noise(np.random.default_rng([length, start]), count, length)
        for score in own_batch(list(values), [0] * count):
            for steps, limit in limits.items():
                hits = np.flatnonzero(score >= limit)
                found[steps] += int(np.sum(np.diff(hits, prepend=-APART - 1) > APART))
        done += count * length
    return found, done


def measure(total: int) -> Measured:
    """Of every noise and length."""
    return {name: {length: alarms(noise, length, total) for length in LENGTHS} for name, noise in NOISE.items()}


def table(measured: Measured, declared: int) -> str:
    """Measured run lengths, in steps, as Markdown."""
    lines = [
        f"| declared {declared:,} | " + " | ".join(f"{length:,} values" for length in LENGTHS) + " |",
        "|---|" + "---:|" * len(LENGTHS),
    ]
    for name, by_length in measured.items():
        counts = [(found[declared], values) for found, values in by_length.values()]
        cells = [f"{values / found:,.0f}" if found else f"> {values:,}" for found, values in counts]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(measured: Measured) -> str:
    """How many of the figures are within a factor of 2, and how far the others are off."""
    lines = []
    for length in LENGTHS:
        ratios = [
            values / max(found[steps], 0.5) / steps
            for by_length in measured.values()
            for found, values in [by_length[length]]
            for steps in DECLARED
        ]
        near = sum(0.5 <= ratio <= 2 for ratio in ratios)
        lines.append(f"| {length:,} | {near} of {len(ratios)} | {min(ratios):.2f} | {max(ratios):.1f} |")
    head = "| values | within a factor of 2 | least measured over declared | most |\n|---:|---:|---:|---:|"
    return "\n".join([head, *lines])


COLOURS: Final = ("#1b6ca8", "#c0392b", "#d68910", "#6c3483", "#117a65", "#7f8c8d", "#a04000")


def plot(measured: Measured) -> str:
    """Measured over declared as an SVG: a panel for each declared run length, over the length of the series, both
    logarithmic, with the factor-of-2 band."""
    wide, height, top, left = 210, 300, 30, 50

    def x(panel: int, length: float) -> float:
        return float(left + panel * (wide + 15) + 10 + (np.log10(length) - 2.3) / 3.0 * (wide - 20))

    def y(ratio: float) -> float:
        return float(top + (1.5 - np.log10(np.clip(ratio, 0.15, 30))) / 2.35 * (height - top - 50))

    width = left + len(DECLARED) * (wide + 15) + 110
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    parts += [
        f'<text x="{left - 6}" y="{y(r) + 4:.1f}" text-anchor="end">{r:g}</text>' for r in (0.2, 0.5, 1, 2, 5, 10, 30)
    ]
    for panel, steps in enumerate(DECLARED):
        at = left + panel * (wide + 15)
        parts.append(f'<text x="{at + wide / 2}" y="{top - 10}" text-anchor="middle">declared {steps:,}</text>')
        parts.append(f'<rect x="{at}" y="{y(2):.1f}" width="{wide}" height="{y(0.5) - y(2):.1f}" fill="#dde"/>')
        parts.append(f'<path d="M{at} {y(1):.1f}h{wide}" stroke="#99a"/>')
        for length in LENGTHS:
            label = f"{length // 1000}k" if length >= 1000 else str(length)
            parts.append(f'<text x="{x(panel, length):.1f}" y="{height - 30}" text-anchor="middle">{label}</text>')
        for colour, by_length in zip(COLOURS, measured.values(), strict=True):
            points = [
                (x(panel, n), y(values / max(found[steps], 0.5) / steps)) for n, (found, values) in by_length.items()
            ]
            line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for row, (colour, name) in enumerate(zip(COLOURS, measured, strict=True)):
        parts.append(f'<text x="{width - 105}" y="{top + 20 + 18 * row}" fill="{colour}">{name}</text>')
    parts.append(
        f'<text x="{left}" y="{height - 10}">values of a series; upwards: measured over declared steps between false '
        "alarms</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
