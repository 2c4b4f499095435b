"""The last `WINDOW` values of every row, as a window that slides over a block. Letters: R rows, T steps, W window.

Medians are taken by comparisons alone (Smith's network: sort triples, then the median of the largest least, the
middle middle and the smallest most), because all windows of a row share their triples.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

WINDOW: Final = 9
_SIGNS: Final = (1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0)


def empty(shape: tuple[int, ...], like: Tensor, skipped: int = 0) -> Tensor:
    """A window (..., W) of infinities with alternating signs: while values push them out one by one, the median is
    always that of the values (the lower one of an even number). For a series whose first ``skipped`` values are
    infinities as well."""
    signs = like.new_tensor((*(0.0,) * skipped, *_SIGNS[: WINDOW - skipped]))
    return torch.where(signs == 0, torch.inf, signs * torch.inf).expand(*shape, WINDOW).clone()


def medians(before: Tensor, x: Tensor) -> Tensor:
    """Of the W values before each step: ``before`` (..., W) and ``x`` (..., T) to (..., T); infinite where `empty`.

    >>> x = torch.tensor([[5.0, 1.0, 9.0, 3.0, 7.0]])
    >>> medians(empty((1,), x), x)
    tensor([[inf, 5., 1., 5., 3.]])
    """
    T, whole = x.shape[-1], torch.cat([before, x], dim=-1)
    triples = _sorted(whole[..., :-2], whole[..., 1:-1], whole[..., 2:])
    least, middle, most = ([part[..., k : k + T] for k in (0, 3, 6)] for part in triples)
    low = torch.maximum(torch.maximum(least[0], least[1]), least[2])
    high = torch.minimum(torch.minimum(most[0], most[1]), most[2])
    return _middle(low, _middle(*middle), high)


def totals(before: Tensor, x: Tensor) -> Tensor:
    """Sum of the W values before each step, without what is infinite: shapes as of `medians`."""
    T, whole = x.shape[-1], torch.cat([before, x], dim=-1)
    whole.nan_to_num_(posinf=0.0, neginf=0.0)
    triple = whole[..., :-2] + whole[..., 1:-1] + whole[..., 2:]
    return triple[..., :T] + triple[..., 3 : T + 3] + triple[..., 6 : T + 6]


def lagged(before: Tensor, x: Tensor) -> Tensor:
    """``x`` of W steps ago: ``before`` (..., W) and ``x`` (..., T) to (..., T)."""
    return torch.cat([before, x], dim=-1)[..., : x.shape[-1]]


def slid(before: Tensor, x: Tensor, count: Tensor) -> Tensor:
    """The window after each row's first ``count`` (R) values of ``x`` (R, ..., T): (R, ..., W)."""
    place = count.view(-1, *[1] * (x.dim() - 1)) + torch.arange(WINDOW, device=x.device)
    return torch.cat([before, x], dim=-1).gather(-1, place.expand(*x.shape[:-1], WINDOW))


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    return torch.minimum(low, c), torch.maximum(low, torch.minimum(high, c)), torch.maximum(high, c)


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))
