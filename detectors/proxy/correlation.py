"""Correlation of two errors within each record. Letters: G groups, N samples."""

from __future__ import annotations

import torch
from torch import Tensor


def correlations(x: Tensor, y: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many samples count (G), and Pearson's and Spearman's correlation of two values of each sample (G, N).

    NaN where fewer than four samples count or one of the values is constant. Of ties the mean rank counts.

    >>> x, y = torch.tensor([[1.0, 2.0, 3.0, 10.0]]), torch.tensor([[1.0, 3.0, 2.0, 40.0]])
    >>> [round(r.item(), 3) for r in correlations(x, y, torch.ones_like(x, dtype=torch.bool))]
    [4.0, 0.983, 0.8]
    """
    valid = valid & x.isfinite() & y.isfinite()
    return valid.sum(1).to(x.dtype), _pearson(x, y, valid), _pearson(ranks(x, valid), ranks(y, valid), valid)


def ranks(x: Tensor, valid: Tensor) -> Tensor:
    """The mean rank of each value among the valid ones of its group, from 1: (G, N)."""
    filled = torch.where(valid, x, torch.inf)
    ordered = filled.sort(-1).values
    below = torch.searchsorted(ordered, filled, right=False)
    upto = torch.minimum(torch.searchsorted(ordered, filled, right=True), valid.sum(-1, keepdim=True))
    return (below + upto + 1).to(x.dtype) / 2


def _pearson(x: Tensor, y: Tensor, valid: Tensor) -> Tensor:
    count = valid.sum(1, keepdim=True).to(x.dtype)

    def centred(value: Tensor) -> Tensor:
        value = torch.where(valid, value, 0.0)
        value = value / value.abs().amax(1, keepdim=True).clamp(min=torch.finfo(value.dtype).tiny)
        return torch.where(valid, value - value.sum(1, keepdim=True) / count, 0.0)

    a, b = centred(x), centred(y)
    size = (a.square().sum(1) * b.square().sum(1)).sqrt()
    known = (count[:, 0] >= 4) & (size > torch.finfo(x.dtype).eps)
    return torch.where(known, (a * b).sum(1) / size, torch.nan).clamp(-1.0, 1.0)
