"""Nearest reference samples, in standardised features. Letters: G groups, N samples, S references, F features.

The bands are those of case D of the requirements: the nearest reference nearer than 0.5 is good, beyond 1.0 sparse;
more than 5 % of the references within a radius of 1.0 are good, less than 1 % sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

RADIUS: Final = 1.0
NEAR: Final = 0.5
FAR: Final = 1.0
MAX_NUMBERS: Final = 65_536
"""Numbers that the references of one run may take, each 4 bytes: 256 KiB."""
MAX_REFERENCES: Final = 1024


def kept_references(features: int) -> int:
    """How many references of so many features are kept.

    >>> kept_references(8), kept_references(512)
    (1024, 128)
    """
    return max(1, min(MAX_REFERENCES, MAX_NUMBERS // features))


@dataclass(frozen=True, slots=True)
class Space:
    """References of G groups with features of mean 0 and deviation 1 over them; constant ones do not count."""

    rows: Tensor
    """(G, S, F), infinitely far away where a reference is missing."""
    centre: Tensor
    """(G, 1, F)."""
    scale: Tensor
    """(G, 1, F)."""
    count: Tensor
    """(G, 1) references."""

    @classmethod
    def of(cls, references: Tensor) -> Self:
        """From references (G, S, F), of which those that are not finite count for nothing."""
        there = references.isfinite().all(-1, keepdim=True)
        count = there.sum(1).to(references.dtype)
        centre = torch.where(there, references, 0.0).sum(1, keepdim=True) / count[..., None]
        apart = torch.where(there, references - centre, 0.0)
        deviation = (apart.square().sum(1, keepdim=True) / count[..., None]).sqrt()
        scale = torch.where(deviation > deviation.new_tensor(1e-12) * centre.abs(), 1 / deviation, 0.0)
        return cls(torch.where(there, apart * scale, torch.inf), centre, scale, count)

    def spread(self) -> tuple[Tensor, Tensor]:
        """Mean distance of a reference to the nearest other one, and share of the others within the radius: (G).

        In many features everything is far from everything.
        """
        there = self.rows.isfinite().all(-1)
        among = _distances(torch.where(there[..., None], self.rows, 0.0), self.rows)
        among.diagonal(dim1=1, dim2=2).fill_(torch.inf)
        nearest = among.amin(-1)
        alone = torch.where(there & nearest.isfinite(), nearest, 0.0).sum(1, keepdim=True) / self.count
        inside = torch.where(there, (among <= RADIUS).sum(-1), 0).sum(1, keepdim=True)
        return alone[:, 0], (inside / (self.count * (self.count - 1)))[:, 0]


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Per sample (G, N); NaN where it is not finite or there are fewer than two references."""

    distance: Tensor
    """To the nearest reference."""
    nearest: Tensor
    """Place of the nearest reference, int64; any where the distance is NaN."""
    density: Tensor
    """Share of the references within the radius."""

    @classmethod
    def of(cls, samples: Tensor, space: Space) -> Self:
        """From samples (G, N, F).

        >>> line = torch.arange(5.0)[None, :, None]
        >>> Neighbourhood.of(line + 0.5, Space.of(line)).distance.numpy().round(3)
        array([[0.354, 0.354, 0.354, 0.354, 0.354]], dtype=float32)
        """
        valid = samples.isfinite().all(-1)
        between = _distances(torch.where(valid[..., None], (samples - space.centre) * space.scale, 0.0), space.rows)
        lost = torch.where(valid & (space.count > 1), 0.0, torch.nan).to(samples.dtype)
        distance, nearest = between.min(-1)
        return cls(distance + lost, nearest, (between <= RADIUS).sum(-1) / space.count + lost)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(G, N, S), each of its pair alone: the nearest of several that are alike does not depend on the others."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
