"""The last W values of every row, as a window that slides over a block. Letters: R rows, T steps, W window."""

from __future__ import annotations

import torch
from torch import Tensor


def sliding(before: Tensor, x: Tensor) -> Tensor:
    """The W values before each step: ``before`` (..., W) and ``x`` (..., T) to (..., T, W), oldest first.

    >>> sliding(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([[[1., 2.],
             [2., 3.]]])
    """
    return torch.cat([before, x], dim=-1).unfold(-1, before.shape[-1], 1)[..., : x.shape[-1], :]


def lagged(before: Tensor, x: Tensor) -> Tensor:
    """``x`` of W steps ago: ``before`` (..., W) and ``x`` (..., T) to (..., T)."""
    return torch.cat([before, x], dim=-1)[..., : x.shape[-1]]


def slid(before: Tensor, x: Tensor, count: Tensor) -> Tensor:
    """The window after each row's first ``count`` (R) values of ``x`` (R, ..., T): (R, ..., W)."""
    W = before.shape[-1]
    place = count.view(-1, *[1] * (x.dim() - 1)) + torch.arange(W, device=x.device)
    return torch.cat([before, x], dim=-1).gather(-1, place.expand(*x.shape[:-1], W))
