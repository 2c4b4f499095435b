"""Made-up values of every stream. Letters: R rows, K slots, T steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.labels.codes import codes
from detectors.streams import CODE_BITS, PAIRS, Stream

SLOTS: Final = 3
Floats = npt.NDArray[np.float64]


def series(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Noise around a level, row by row another one: the first takes off in the end, the second jumps to and fro, the
    third stops, the fourth gains something and loses it."""
    level, t = rng.uniform(0.5, 5.0, (rows, 1)), np.arange(steps)
    value = level + 0.1 * rng.standard_normal((rows, steps))
    value[0] *= np.exp(0.2 * np.clip(t - 30, 0, 20)) if level[0] > 2 else 1.0
    value[1:2] *= 1 + 0.3 * (-1.0) ** t * np.clip((t - 24) / 12, 0, 1)
    value[2:3, 80:] = value[2:3, 80:81]
    value[3:4] -= np.interp(t, [10, 50, 60, 100], [0, 3, 3, 0])
    return {
        "value": value,
        "low": np.broadcast_to(level - 0.3, value.shape).copy(),
        "high": np.broadcast_to(level + 0.2, value.shape).copy(),
    }


def objective(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """A falling total of components some of which rise; the last row's stops being made of them."""
    t = np.arange(steps)
    pace = rng.uniform(-0.03, 0.01, (rows, SLOTS, 1))
    noise = 1 + 0.03 * rng.standard_normal((rows, SLOTS, steps))
    component = rng.uniform(0.2, 1.0, (rows, SLOTS, 1)) * np.exp(np.clip(pace * t, -8, 4)) * noise
    component[1:, 0] += 20 * np.exp(-t / 40)
    weight = np.broadcast_to(rng.uniform(0.5, 2.0, (rows, SLOTS, 1)), component.shape).copy()
    component[0, 0], weight[0, 0] = 20 * noise[0, 0], 1000.0  # all of its objective, and it stays
    component[1::2, 2, 25:] = 0.5 * component[1::2, 2, :25].min(-1, keepdims=True)  # at its floor
    total, plain = (weight * component).sum(1), np.zeros((rows, steps))
    total[-1:, 100:] *= 1.5
    return {
        "total": total,
        "component": component,
        "weight": weight,
        "log_var": -np.log(weight),  # -6.9 where the weight is 1000
        "measured": plain,
        "divided_by": plain + 1,
    }


def predictions(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Class entropy on its way down, at another pace in every row."""
    t, shape = np.arange(steps), (rows, steps)
    pace = rng.uniform(0.0, 0.006, (rows, 1))
    top = np.clip(0.4 + pace * t + 0.01 * rng.standard_normal(shape), 1 / 3, 0.999)
    mean = np.stack([top, (1 - top) / 2, (1 - top) / 2], axis=1)  # (R, K, T)
    samples = rng.integers(200, 600, shape).astype(np.float64)
    entropy = -(mean * np.log(mean)).sum(1) / np.log(SLOTS)
    return {
        "samples": samples,
        "classes": np.full(shape, float(SLOTS)),
        "class_entropy": entropy,
        "sample_entropy": 0.5 * entropy,
        "sharpness": np.full(shape, 0.8),
        "collision": (mean**2).sum(1),
        "surprise": (mean * np.log(mean) ** 2).sum(1),
        "max_class_probability": top,
        "unique_classes": np.full(shape, 3.0),
        "calibration_error": np.full(shape, 0.1),
        "label_entropy": np.where(rng.random(shape) < 0.5, rng.uniform(0, 1, shape), np.nan),
        "mean": mean,
        "predicted": np.round(mean * samples[:, None]),
    }


def labels(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """In turn: all classes right, only the first one predicted, and labels one place further than predictions."""
    samples = 64
    shares = np.where((np.arange(rows) % 3 == 1)[:, None], [0.95, 0.03, 0.02], [0.5, 0.3, 0.2])
    labelled = np.stack([rng.multinomial(samples, share, size=steps).T for share in shares]).astype(np.float64)
    places = np.stack([np.array([[0, 1, 2], [0, 0, 0], [1, 2, 0]])[row % 3] for row in range(rows)])  # (R, K)
    predicted, hit = np.zeros_like(labelled), np.zeros_like(labelled)
    bits = codes(SLOTS, "cpu").numpy()  # (K, bits)
    for row in range(rows):
        np.add.at(predicted[row], places[row], labelled[row])
        right = places[row] == np.arange(SLOTS)
        hit[row, right] = labelled[row, right]
    made = {f"code_{bit}": np.where(bits[places, bit][..., None], labelled, 0.0) for bit in range(CODE_BITS)}
    judged = (rng.random((rows, steps)) < 0.9).astype(np.float64)
    return {
        "samples": np.full((rows, steps), float(samples)),
        "right": hit.sum(1),
        "judged": judged,
        "labelled": labelled,
        "predicted": predicted,
        "hit": hit,
        **made,
    }


def scores(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Scores that are higher where there is an anomaly; ties among them."""
    positive = (rng.random((rows, SLOTS, steps)) < 0.5).astype(np.float64)
    return {"score": np.round(0.5 * rng.random(positive.shape) + 0.3 * positive, 2), "positive": positive}


def representation(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Embeddings that draw together in every second row."""
    shape = (rows, steps)
    cosine = np.where(np.arange(rows)[:, None] % 2, 0.99, 0.2) + 0.005 * rng.standard_normal(shape)
    return {
        "samples": np.full(shape, 64.0),
        "dimensions": np.full(shape, 16.0),
        "spread": 1 - cosine,
        "effective_rank": np.full(shape, 9.0),
        "cosine": cosine,
        "alignment": 1 - cosine,
        "uniformity": -3 * (1 - cosine),
    }


def proxy(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Two errors that go together in every second row."""
    shape = (rows, steps)
    r = np.where(np.arange(rows)[:, None] % 2, 0.8, 0.2) + 0.05 * rng.standard_normal(shape)
    return {"samples": np.full(shape, 64.0), "pearson": r, "spearman": r - 0.02}


BINS: Final = {"": 1.0, "_near": 0.5, "_between": 0.3, "_far": 0.2}
"""Parts of a slice by their distance."""


def coverage(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Slices of which every second one lies far from the references."""
    shape = (rows, steps)
    distance = np.where(np.arange(rows)[:, None] % 2, 2.0, 0.3) + 0.05 * rng.standard_normal(shape)
    ones = np.ones(shape)
    return {
        "samples": 32 * ones,
        "references": 1000 * ones,
        "distance": distance,
        "density": 0.1 / distance**2,
        "own_distance": 0.3 * ones,
        "own_density": 0.1 * ones,
        "error_ratio": distance,
        "error_near": ones,
        "error_between": 1.5 * ones,
        "error_far": 2 * ones,
        **{f"model_error{where}": share * distance for where, share in BINS.items()},
        **{f"copied_error{where}": share * ones for where, share in BINS.items()},
    }


def declaration(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Declarations of which every second one is at fault."""
    shape = (rows, steps)
    fault = (rng.random(shape) < 0.5).astype(np.float64)
    return {
        "overlap": 0.3 * fault,
        "parameters": 1e6 + 1e8 * fault,
        "samples": np.full(shape, 1e4),
        "precision_differs": fault,
    }


def pair(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """A reference that falls and a judged series that turns, each at another pace in every row."""
    t = np.arange(steps)
    noise = 1 + 0.02 * rng.standard_normal((2, rows, steps))
    reference = np.exp(-rng.uniform(0.0, 0.05, (rows, 1)) * t) * noise[0]
    judged = (1 + rng.uniform(-0.01, 0.02, (rows, 1)) * t) * noise[1]
    return {"reference": reference, "judged": judged}


def formulas(rng: np.random.Generator, rows: int, steps: int) -> dict[str, Floats]:
    """Codes of formulas, mostly the same, and their factors."""
    shape = (rows, steps)
    names = ("reference", "judged", "reference_scale", "judged_scale")
    return {name: rng.integers(0, 3, shape).astype(np.float64) for name in names[:2]} | {
        name: np.ones(shape) for name in names[2:]
    }


VALUES: Final[Mapping[Stream, Callable[[np.random.Generator, int, int], dict[str, Floats]]]] = {
    "series": series,
    "objective": objective,
    "predictions": predictions,
    "labels": labels,
    "scores": scores,
    "representation": representation,
    "proxy": proxy,
    "coverage": coverage,
    "declaration": declaration,
    "generalization": pair,
    "decoupling": pair,
    "slices": pair,
    "formulas": formulas,
}
"""The generator of each stream. A new stream needs one here."""
SPOILABLE: Final[Mapping[Stream, tuple[str, ...]]] = {
    "series": ("value",),
    "objective": ("total", "component"),
    "predictions": ("class_entropy", "sample_entropy", "max_class_probability", "mean"),
    "labels": ("labelled", "predicted", "hit"),
    "scores": ("score", "positive"),
    "representation": ("cosine", "effective_rank", "alignment"),
    "proxy": ("pearson", "spearman"),
    "coverage": ("distance", "density", "error_ratio"),
    "declaration": ("overlap", "parameters", "precision_differs"),
    **dict.fromkeys(PAIRS, ("reference", "judged")),
}
"""What the job may well report as NaN or infinite."""
