"""Which checkpoint is best for each part of the data, and what the best of the whole costs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from service.page.words import number

TABLES: Final = ("slice_best", "slice_best_step", "whole_best_step", "slice_cost_ratio")
"""The readings that the table is made of."""


@dataclass(frozen=True, slots=True)
class Best:
    """One line of the table of slices."""

    phase: str
    name: str
    """Slice and metric."""
    value: float | None
    at: str
    """Where the slice is best: a checkpoint, or a step."""
    whole: str
    """Where the whole is best."""
    cost: str
    """What the best of the whole costs the slice."""


def bests(readings: Mapping[str, Mapping[tuple[str, ...], float]], checkpoints: Mapping[int, str]) -> Sequence[Best]:
    """The lines, those that the best of the whole costs most first.

    >>> key = ("val", "exp-7/error")
    >>> readings = {"slice_best": {key: 2.1e-4}, "slice_best_step": {key: 40.0}, "whole_best_step": {key: 90.0}}
    >>> bests(readings | {"slice_cost_ratio": {key: 0.81}}, {40: "epoch-40.pt"})
    [Best(phase='val', name='exp-7/error', value=0.00021, at='epoch-40.pt (step 40)', whole='step 90', cost='81 %')]
    """
    best, at, whole, cost = (readings.get(name, {}) for name in TABLES)
    keys = sorted(at, key=lambda key: (-cost.get(key, -inf), key))
    return [
        Best(
            phase,
            name,
            value=best.get((phase, name)),
            at=_place(at[phase, name], checkpoints),
            whole=_place(whole.get((phase, name)), checkpoints),
            cost=_cost(cost.get((phase, name))),
        )
        for phase, name in keys
    ]


def _place(step: float | None, checkpoints: Mapping[int, str]) -> str:
    """The checkpoint of a step, and the step."""
    if step is None:
        return "unknown"
    name = checkpoints.get(int(step))
    words = f"step {number(step)}"
    return words if name is None else f"{name} ({words})"


def _cost(ratio: float | None) -> str:
    if ratio is None:
        return "unknown"
    return "nothing" if ratio <= 0 else f"{ratio:.2g} times its best" if ratio >= 10 else f"{100 * ratio:.3g} %"
