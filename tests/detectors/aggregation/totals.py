"""One objective's steps as a block, and what the audit makes of it. Letters: K components, T steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectors import lifecycle
from detectors.aggregation.audit import Audit
from detectors.cell import Block, Output
from detectors.streams import FACTS, FORMS, MEASURED, VARIANTS
from tests.detectors.blocks import F64, cuts_of, run

Floats = npt.NDArray[np.float64]
Declared = Mapping[str, float | list[float]]
LEVELS: Final = np.array([45.0, 2.5, 0.3, 1.2, 12.0, 2.0])
"""The tasks of case B."""


def losses(steps: int = 200, *, seed: int = 0, tasks: int = 6, noise: float = 0.15) -> Floats:
    """Falling losses of case B's sizes, (K, T)."""
    rng = np.random.default_rng(seed)
    falling: Floats = np.exp(-np.arange(steps) / 150) * rng.lognormal(0, noise, (tasks, steps))
    return LEVELS[:tasks, None] * falling


def log_vars(steps: int = 200, tasks: int = 6) -> Floats:
    """On their way to case B's values, (K, T)."""
    end = np.array([1.4, 1.05, 1.4, 1.4, 1.9, 1.4])[:tasks, None]
    return end * (1.2 - np.exp(-np.arange(steps) / 100))


def kendall(loss: Floats, s: Floats, variant: str = "half", regularizer: float = 0.0) -> Floats:
    """Uncertainty weighting, (T)."""
    factor, log = {"half": (0.5, 0.5), "full": (1.0, 1.0), "half_log": (1.0, 0.5)}[variant]
    total: Floats = (factor * np.exp(-s) * loss + log * s + regularizer * s**2).sum(0)
    return total


def declaration(form: str, *, train: bool = False, **more: float | list[float] | str) -> dict[str, float | list[float]]:
    """The facts of a declared formula, of the phase or of the training phase."""
    facts: dict[str, float | list[float]] = {"form": float(FORMS.index(form))}
    for name, value in more.items():
        facts[name] = float(VARIANTS.index(value)) if isinstance(value, str) else value
    return {f"train_{name}": value for name, value in facts.items()} if train else facts


def objective(
    total: npt.ArrayLike,
    component: npt.ArrayLike,
    *,
    weight: npt.ArrayLike | None = None,
    log_var: npt.ArrayLike = np.nan,
    measured: str = "step",
    divided_by: float = 1.0,
    declared: Declared | None = None,
    like: Tensor = F64,
) -> Block:
    """Not reported is NaN. ``weight`` (K, T), or less that broadcasts: the declared one unless another is given."""
    component = np.asarray(component, dtype=np.float64)
    if weight is None:
        weight = np.reshape((declared or {}).get("declared", 1.0), (-1, 1))
    slots, steps = component.shape
    values = {
        "total": np.broadcast_to(np.asarray(total, dtype=np.float64), steps),
        "component": component,
        "weight": np.broadcast_to(np.asarray(weight, dtype=np.float64), component.shape),
        "log_var": np.broadcast_to(np.asarray(log_var, dtype=np.float64), component.shape),
        "measured": np.full(steps, float(MEASURED.index(measured))),
        "divided_by": np.full(steps, divided_by),
    }
    facts = {
        fact.name: like.new_full((1,) if fact.per == "row" else (1, slots), fact.default) for fact in FACTS["objective"]
    }
    facts["components"].fill_(slots)
    for name, value in (declared or {}).items():
        facts[name][:] = torch.as_tensor(value, dtype=like.dtype)
    tensors = {name: torch.from_numpy(value.copy()).to(like.dtype)[None] for name, value in values.items()}
    reported = {name: ~tensors[name].isnan() for name in ("total", "component", "log_var")}
    return Block(torch.arange(steps)[None], torch.ones(1, steps, dtype=torch.bool), tensors, reported, facts)


@dataclass(frozen=True, slots=True)
class Found:
    """What the audit made of an objective, step by step."""

    output: Output

    def reading(self, name: str) -> list[float]:
        """(T)"""
        values: list[float] = self.output.readings[name][0].tolist()
        return values

    def last(self, name: str) -> float:
        """At the last step."""
        return self.reading(name)[-1]

    def forms(self) -> set[int]:
        """Every code that was ever told."""
        return {int(code) for code in self.reading("total_form") if not math.isnan(code)}

    def verdicts(self) -> list[int]:
        """(T)"""
        values: list[int] = self.output.verdicts["total_inconsistent"][0].tolist()
        return values


def status(block: Block) -> list[str]:
    """What becomes of the finding, step by step."""
    kind = Audit().kinds[0]
    verdict = audit(block).output.verdicts[kind.name]
    found = lifecycle.advance(lifecycle.idle((1,), "cpu"), verdict, block.step, kind.confirm, kind.release)[1]
    return [("idle", "pending", "firing")[place] for place in found[0].tolist()]


def audit(block: Block) -> Found:
    """In blocks of 64 steps."""
    cell = Audit()
    steps, slots = block.mask.shape[1], block.values["component"].shape[1]
    start = cell.init(1, slots, block.values["total"].new_zeros(()))
    return Found(run(cell, start, cuts_of(block, range(0, steps, 64)), block.values["total"].new_zeros(())))


def rounded(x: Floats, decimals: int) -> Floats:
    """As %.4f does it."""
    found: Floats = np.round(x, decimals)
    return found


def significant(x: Floats, digits: int) -> Floats:
    """Rounded to significant digits, as %.4g does."""
    size = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(np.where(x == 0, 1.0, x)))))
    found: Floats = np.round(x * size) / size
    return found


def in_dtype(dtype: torch.dtype) -> Callable[[Floats], Floats]:
    """Numbers as a job in that precision has them."""

    def cast(x: Floats) -> Floats:
        found: Floats = torch.from_numpy(x).to(dtype).double().numpy()
        return found

    return cast


def with_facts(block: Block, declared: Declared) -> Block:
    """The same steps under another declaration."""
    facts = {name: value.clone() for name, value in block.facts.items()}
    for name, value in declared.items():
        facts[name][:] = torch.as_tensor(value, dtype=torch.float64)
    return replace(block, facts=facts)
