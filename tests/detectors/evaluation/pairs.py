"""Pairs of series as blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from detectors.cell import Block

Floats = npt.NDArray[np.float64]


def pair(
    reference: Floats, judged: Floats, direction: float = -1.0, steps: Floats | None = None, floor: float = 1.0
) -> Block:
    """One row of two series (T) reported together; NaN where one was not."""
    step = np.arange(len(judged)) if steps is None else steps
    values = {"reference": torch.from_numpy(reference)[None], "judged": torch.from_numpy(judged)[None]}
    facts = {
        "direction": torch.tensor([direction], dtype=torch.float64),
        "reference_direction": torch.tensor([-1.0], dtype=torch.float64),
        "floor": torch.tensor([floor], dtype=torch.float64),
    }
    given = {name: ~value.isnan() for name, value in values.items()}
    at = torch.from_numpy(step.astype(np.int64))[None]
    return Block(at, torch.ones_like(at, dtype=torch.bool), values, given, facts)


def falling(steps: int, end: float = 0.1, noise: float = 0.0, seed: int = 0) -> Floats:
    """From 1 towards ``end``, with relative noise."""
    t = np.arange(steps)
    rng = np.random.default_rng(seed)
    course: Floats = end + (1 - end) * np.exp(-5 * t / steps)
    return course * (1 + noise * rng.standard_normal(steps))
