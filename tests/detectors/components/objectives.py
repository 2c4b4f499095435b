"""Blocks of made-up objectives. Letters: R rows, K components, T steps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from detectors.cell import Block, Cell
from detectors.streams import FORMS
from tests.detectors.lifecycles import statuses

Floats = npt.NDArray[np.float64]


def objective(
    component: Floats,
    weights: tuple[float, ...] | Floats,
    log_var: Floats | None = None,
    form: str = "undeclared",
    total: Floats | None = None,
) -> Block:
    """Components (R, K, T), weights (K) or (R, K, T), and the total they add up to, unless another is given."""
    value = torch.from_numpy(component)
    weight = torch.tensor(np.array(weights), dtype=torch.float64)
    weight = (weight if weight.dim() == 3 else weight[None, :, None]).expand_as(value)
    rows, slots, steps = value.shape
    mask = torch.ones(rows, steps, dtype=torch.bool)
    s = torch.full_like(value, torch.nan) if log_var is None else torch.from_numpy(log_var)
    return Block(
        torch.arange(steps).expand(mask.shape),
        mask,
        {
            "total": (value * weight).sum(1) if total is None else torch.from_numpy(total),
            "component": value,
            "weight": weight,
            "log_var": s,
        },
        {"total": mask.clone(), "component": torch.ones_like(value, dtype=torch.bool), "log_var": ~s.isnan()},
        {
            "components": torch.full((rows,), float(slots), dtype=torch.float64),
            "form": torch.full((rows,), float(FORMS.index(form)), dtype=torch.float64),
        },
    )


def recorded(history: Mapping[str, list[float]], log_vars: Mapping[str, list[float]] | None = None) -> Block:
    """What one training run reported, by component, unweighted; with log variances it is Kendall's total."""
    component = np.array(list(history.values()))[None]
    if log_vars is None:
        return objective(component, (1.0,) * len(history))
    s = np.array([log_vars[name] for name in history])[None]
    total = (0.5 * np.exp(-s) * component + 0.5 * s).sum(1)
    return objective(component, 0.5 * np.exp(-s), s, form="kendall", total=total)


def fired(cell: Cell, block: Block, kind: str) -> list[int | None]:
    """The step at which each component's finding first fired; None where it never did. Rows after one another."""
    found = statuses(cell, block)[kind]
    return [line.index("firing") if "firing" in line else None for line in found]


def noise_of(name: str, shape: tuple[int, ...]) -> Floats:
    """Noise of unit variance: white, t3 (heavy tails) or ar and its lag-1 correlation."""
    rng = np.random.default_rng(0)
    if name == "white":
        return rng.standard_normal(shape)
    if name == "t3":
        return rng.standard_t(3.0, shape) / math.sqrt(3.0)
    rho = float(name.removeprefix("ar"))
    x = rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        x[..., t] = rho * x[..., t - 1] + math.sqrt(1 - rho**2) * x[..., t]
    return x
