"""What each component contributes to the total. Letters: R rows (objectives), K components, T steps."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block
from detectors.kinds import Reading

READINGS: Final = (
    Reading("total_reported", "The total loss as the job reported it."),
    Reading("component_value", "A loss component as the job reported it, unweighted.", "slot"),
    Reading("component_weight", "The weight a component enters the total with.", "slot"),
    Reading("component_contribution", "Weight times value of a component.", "slot"),
    Reading("component_share_ratio", "Share of a component in the sum of absolute contributions.", "slot"),
)


def shares(contribution: Tensor) -> Tensor:
    """Each component's share of the sum of absolute contributions, (R, K, T); NaN where all are 0.

    Absolute, because totals and components may be negative. A component that was not reported or
    is not finite has no share and takes none.

    >>> shares(torch.tensor([[[0.0105], [0.1 * 0.1212]]])).squeeze()  # case A, step 149
    tensor([0.4642, 0.5358])
    """
    size = contribution.abs()
    counted = torch.where(size.isfinite(), size, 0.0)
    return torch.where(size.isfinite(), counted / counted.sum(1, keepdim=True), torch.nan)


def contributions(block: Block) -> dict[str, Tensor]:
    """`READINGS` of a block: value, weight, contribution (weight times value) and share of every component.

    The weight is the one reported with the step, else the one that follows from the reported log variance, else the
    declared one, else 1.
    """
    value, weight = block.values["component"], block.values["weight"]  # (R, K, T)
    contribution = value * weight
    return {
        "total_reported": block.values["total"],
        "component_value": value,
        "component_weight": torch.where(block.reported["component"], weight, torch.nan),
        "component_contribution": contribution,
        "component_share_ratio": shares(contribution),
    }
