"""The shape of a cloud of embeddings, as a few numbers. Letters: G groups, N samples, D dimensions, S singular values.

>>> point = torch.ones(1, 64, 8) + 0.01 * torch.randn(1, 64, 8, generator=torch.Generator().manual_seed(0))
>>> Geometry.of(point, torch.ones(1, 64, dtype=torch.bool)).cosine > 0.99
tensor([True])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Geometry:
    """Each (G). NaN where a group has fewer than two samples that are finite. Zeros count only where all samples are
    zero, but for one: they are one place then."""

    samples: Tensor
    spread: Tensor
    """Mean standard deviation of a dimension of the embeddings brought to length 1, by ``1 / sqrt(D)``, what a uniform
    distribution over the sphere has: 1 is uniform, 0 is one point [1]."""
    effective_rank: Tensor
    """RankMe [2] of the centred embeddings: e to the entropy of the singular values, by their sum. 1 is a line."""
    cosine: Tensor
    """Mean cosine of two samples: 1 is one direction."""
    alignment: Tensor
    """Mean squared distance, on the sphere, of two samples of one label [3]; NaN without labels."""
    uniformity: Tensor
    """Log of the mean of ``exp(-2 distance^2)`` over pairs on the sphere [3]: 0 is one point, the less the better.

    References: [1] X. Chen and K. He, "Exploring Simple Siamese Representation Learning", CVPR 2021, figure 2.
    [2] Q. Garrido et al., "RankMe", ICML 2023. [3] T. Wang and P. Isola, "Understanding Contrastive Representation
    Learning through Alignment and Uniformity on the Hypersphere", ICML 2020.
    """

    @classmethod
    def of(cls, z: Tensor, valid: Tensor, label: Tensor | None = None) -> Self:
        """From embeddings (G, N, D), which samples there are, and places of their labels (G, N), -1 for none."""
        scale = z.abs().amax(-1, keepdim=True)
        finite = valid & z.isfinite().all(-1)
        valid = finite & (scale[..., 0] > 0)
        place = (valid.sum(1) < 2) & (finite.sum(1) >= 2)
        x = torch.where(valid[..., None], z / scale, 0.0)
        unit = torch.nn.functional.normalize(x, dim=-1)  # rows that are not valid stay 0
        count = valid.sum(1).to(z.dtype)
        mean = unit.sum(1, keepdim=True) / count[:, None, None]
        centred = torch.where(valid[..., None], unit - mean, 0.0)
        deviation = (centred.square().sum(1) / count[:, None]).sqrt().mean(-1)
        pairs = count * (count - 1)
        gram = unit @ unit.mT  # (G, N, N)
        both = valid[:, :, None] & valid[:, None, :] & ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
        distance = (2 - 2 * gram).clamp(min=0.0)  # squared, on the sphere
        near = torch.where(both, (-2 * distance).exp(), 0.0).sum((1, 2)) / pairs
        known = torch.where(count >= 2, 1.0, torch.nan).to(z.dtype)

        def told(x: Tensor, of_one_place: float) -> Tensor:
            return torch.where(place, of_one_place, known * x)

        return cls(
            samples=torch.where(place, finite.sum(1).to(z.dtype), count),
            spread=told(deviation * z.shape[-1] ** 0.5, 0.0),
            effective_rank=told(_rank(centred), 1.0),
            cosine=told(torch.where(both, gram, 0.0).sum((1, 2)) / pairs, 1.0),
            alignment=known * _alignment(distance, both, label),
            uniformity=told(near.log(), 0.0),
        )


def _rank(centred: Tensor) -> Tensor:
    """e to the entropy of the singular values: (G)."""
    small = centred @ centred.mT if centred.shape[1] <= centred.shape[2] else centred.mT @ centred
    values = torch.linalg.eigvalsh(small).clamp(min=0.0).sqrt()  # (G, S)
    total = values.sum(-1, keepdim=True)
    share = torch.where(total > 0, values / total, 0.0)
    rank: Tensor = torch.special.entr(share).sum(-1).exp()
    return rank


def _alignment(distance: Tensor, both: Tensor, label: Tensor | None) -> Tensor:
    if label is None:
        return distance.new_full((len(distance),), torch.nan)
    alike = both & (label[:, :, None] == label[:, None, :]) & (label != -1)[:, :, None]
    return torch.where(alike, distance, 0.0).sum((1, 2)) / alike.sum((1, 2))
