"""Blocks laid out by each row's own count of steps, so that what is done every 16 steps does not depend on the cuts.

Letters: R rows, T steps of a block, C = S * `LENGTH` columns: S whole segments, of which the first and the last may be
filled in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

LENGTH: Final = 16
"""Steps of a segment: after each, what was fitted is fitted anew."""
LOOK: Final = 4
"""Steps after which the evidence is weighed; a divisor of `LENGTH`."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the steps of a block stand in the rows' segments."""

    source: Tensor
    """(R, C) int64: the step of the block."""
    valid: Tensor
    """(R, C) bool: whether there is one."""
    target: Tensor
    """(R, T) int64: the column of each step."""
    number: Tensor
    """(R, C) int64: how many steps of the row came before."""

    @classmethod
    def of(cls, count: Tensor, mask: Tensor) -> Segments:
        """``count`` (R) steps were seen before the block with this ``mask`` (R, T)."""
        steps = mask.shape[-1]
        columns = (steps + 2 * LENGTH - 2) // LENGTH * LENGTH
        offset = (count % LENGTH)[:, None]
        place = torch.arange(columns, device=mask.device) - offset
        return cls(
            source=place.clamp(0, max(steps - 1, 0)),
            valid=(place >= 0) & (place < mask.sum(-1, keepdim=True)),
            target=torch.arange(steps, device=mask.device) + offset,
            number=count[:, None] + place,
        )

    def take(self, x: Tensor) -> Tensor:
        """(R, ..., T) to (R, ..., C); what stands where no step is means nothing."""
        return x.gather(-1, _like(self.source, x))

    def give(self, x: Tensor) -> Tensor:
        """(R, ..., C) back to (R, ..., T)."""
        return x.gather(-1, _like(self.target, x))

    def starts(self, every: int) -> Tensor:
        """(R, C / every) bool: whether the block has the first step of a stretch of so many."""
        return self.valid[:, ::every]


def _like(index: Tensor, x: Tensor) -> Tensor:
    return index.view(index.shape[0], *[1] * (x.dim() - 2), -1).expand(*x.shape[:-1], -1)


def split(x: Tensor, length: int) -> Tensor:
    """(..., C) to (..., C / length, length)."""
    return x.reshape(*x.shape[:-1], -1, length)


def spread(x: Tensor, length: int) -> Tensor:
    """(..., C / length) to (..., C): each value at all steps of its stretch."""
    return x.repeat_interleave(length, dim=-1)
