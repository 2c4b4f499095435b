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
class Neighbourhood:
    """Per sample (G, N), NaN where it or every reference is missing; and of the references themselves (G)."""

    distance: Tensor
    """To the nearest reference."""
    nearest: Tensor
    """Place of the nearest reference, int64; 0 where the distance is NaN."""
    density: Tensor
    """Share of the references within the radius."""
    own_distance: Tensor
    """Mean distance of a reference to the nearest other one: in many features everything is far from everything."""
    own_density: Tensor

    @classmethod
    def of(cls, samples: Tensor, valid: Tensor, references: Tensor, there: Tensor) -> Self:
        """From samples (G, N, F) and references (G, S, F), and which of them there are (G, N) and (G, S).

        Features are brought to mean 0 and deviation 1 over the references of the group; constant ones do not count.

        >>> line = torch.arange(5.0)[None, :, None]
        >>> whole = torch.ones(1, 5, dtype=torch.bool)
        >>> Neighbourhood.of(line + 0.5, whole, line, whole).distance.numpy().round(3)
        array([[0.354, 0.354, 0.354, 0.354, 0.354]], dtype=float32)
        """
        valid = valid & samples.isfinite().all(-1)
        there = there & references.isfinite().all(-1)
        count = there.sum(1).to(samples.dtype)[:, None]
        known = torch.where(there[..., None], references, 0.0)
        centre = known.sum(1, keepdim=True) / count[..., None]
        apart = torch.where(there[..., None], references - centre, 0.0)
        deviation = (apart.square().sum(1, keepdim=True) / count[..., None]).sqrt()
        scale = torch.where(deviation > deviation.new_tensor(1e-12) * centre.abs(), 1 / deviation, 0.0)
        a = torch.where(valid[..., None], (samples - centre) * scale, torch.nan)
        b = apart * scale
        between = _distances(a, b, there)  # (G, N, S)
        among = _distances(b, b, there)
        among = among.masked_fill(torch.eye(b.shape[1], dtype=torch.bool, device=b.device), torch.inf)
        nearest = among.amin(-1)
        alone = torch.where(there & nearest.isfinite(), nearest, 0.0).sum(1) / count[:, 0]
        inside = torch.where(there[..., None], (among <= RADIUS).to(b.dtype), 0.0).sum((1, 2))
        lost = torch.where(valid & (count > 1), 0.0, torch.nan).to(samples.dtype)
        to_nearest = between.nan_to_num(0.0, torch.inf).min(-1)
        return cls(
            distance=to_nearest.values + lost,
            nearest=to_nearest.indices,
            density=(between <= RADIUS).sum(-1) / count + lost,
            own_distance=alone,
            own_density=inside / (count * (count - 1))[:, 0],
        )


def _distances(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").masked_fill(~there[:, None], torch.inf)
