"""Where the components of an objective stand at every step. Letters: R rows (objectives), K components, T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from detectors.trend import Movement


@dataclass(frozen=True, slots=True)
class Standing:
    """What the kinds of `detectors.components.balance.Balance` are judged by."""

    total: Movement
    """(R, T)"""
    component: Movement
    """(R, K, T), of unweighted values."""
    total_longer: Movement
    """(R, T), the long view."""
    component_longer: Movement
    """(R, K, T), the long view."""
    total_significance: Tensor
    """(R, T) movement of the total in standard deviations of what noise makes of it."""
    component_significance: Tensor
    """(R, K, T)"""
    weight: Tensor
    """(R, K, T)"""
    contribution: Tensor
    """(R, K, T)"""
    share: Tensor
    """(R, K, T), NaN where it is not known."""
    seen: Tensor
    """(R, K, T) bool: reported at this step, with a finite share, and warm."""
    total_known: Tensor
    """(R, T) bool: warm and finite."""
    components: Tensor
    """(R) how many components the objective has."""
    sigmas: float
    """How significant a movement must be to count."""


def per_row(thresholds: Mapping[str, Tensor], name: str) -> Tensor:
    """A threshold (R) as (R, 1, 1)."""
    return thresholds[name][:, None, None]
