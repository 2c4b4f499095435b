"""Weights that explain a total, by least squares over a discounted window of steps.

Letters: R rows, K components, S segments; n = K + 2 moments: of the total, of a constant, of the components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

MOST_SLOTS: Final = 16
"""More components than that are not fitted: it takes more steps than a window has."""
KEEP: Final = 0.75
"""What is left of the older moments after a segment: 4 segments, 64 steps, count in all."""
SPARE: Final = 8
"""How many more steps than unknowns there must be."""
CLEAR: Final = 1e-5
"""Part of a component's square that the others must leave unexplained: with less, the last digits of the sums, which
depend on the order of summation, show in the weights."""
UNCERTAIN: Final = 0.02
"""Standard error of a weighted component, of the total, beyond which the weight is not known."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Two fits, without and with a constant: (..., K + 1, 2), the constant first."""

    weight: Tensor
    error: Tensor
    """Standard errors."""
    known: Tensor
    """(..., 2) bool: enough steps, and components different enough to tell their weights."""


def packed_size(slots: int) -> int:
    """How many different products of two moments there are."""
    return (min(slots, MOST_SLOTS) + 2) * (min(slots, MOST_SLOTS) + 3) // 2


def products(total: Tensor, component: Tensor, one: Tensor) -> Tensor:
    """Sums over the last dimension of products of two, the lower triangle row by row: (..., P).

    ``total`` and ``one`` (..., L), ``component`` (..., K, L). A component more only adds products at the end.
    """
    z = torch.cat([total[..., None, :], one[..., None, :], component[..., :MOST_SLOTS, :]], -2)
    row, column = torch.tril_indices(z.shape[-2], z.shape[-2], device=z.device)
    return (z @ z.mT)[..., row, column]


def fit(packed: Tensor, steps: Tensor, variance: Tensor) -> Fit:
    """``packed`` (..., P) sums of `products`, ``steps`` (...) how many were summed, ``variance`` (...) what rounding
    alone leaves of each.

    Normal equations, brought to unit diagonal and solved by the sweep operator (Goodnight 1979, The American
    Statistician 33), which yields the standard errors and the remaining sum of squares on the way. Weights are 0 where
    they are not known.

    >>> x = torch.tensor([[1.0, 2.0, 4.0] * 6, [3.0, 1.0, 2.0] * 6], dtype=torch.float64)
    >>> sums = products(2 * x[0] - x[1] + 5, x, torch.ones_like(x[0]))
    >>> fit(sums, torch.tensor(18.0), torch.tensor(1e-9)).weight[:, 1]
    tensor([ 5.0000,  2.0000, -1.0000], dtype=torch.float64)
    """
    moments = _unpacked(packed)
    n = moments.shape[-1]
    size = moments.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    active = size > 0
    inverse = torch.where(active, 1 / size, 0.0)
    swept = moments * inverse[..., :, None] * inverse[..., None, :]
    least = max(CLEAR, torch.finfo(moments.dtype).eps ** 0.5)
    mixed = torch.zeros_like(active[..., 0])
    found = []
    for k in (*range(2, n), 1):
        pivot = swept[..., k, k]
        clear = pivot > least
        mixed = mixed | (active[..., k] & ~clear)
        swept = _sweep(swept, k, torch.where(clear, 1 / pivot, 0.0))
        if k in {1, n - 1}:
            found.append(_solution(swept, size, inverse, steps, variance, mixed, constant=k == 1))
    weight, error, known = (torch.stack(pair, -1) for pair in zip(*found, strict=True))
    unknown = ~known[..., None, :]
    return Fit(weight.masked_fill(unknown, 0.0), error.masked_fill(unknown, 0.0), known)


def _unpacked(packed: Tensor) -> Tensor:
    n = int((2 * packed.shape[-1]) ** 0.5)
    place = torch.arange(n, device=packed.device)
    high, low = torch.maximum(place, place[:, None]), torch.minimum(place, place[:, None])
    return packed[..., high * (high + 1) // 2 + low]


def _sweep(matrix: Tensor, k: int, inverse: Tensor) -> Tensor:
    column = matrix[..., :, k] * inverse[..., None]
    swept = matrix - column[..., :, None] * matrix[..., None, k, :]
    swept[..., :, k] = column
    swept[..., k, :] = column
    swept[..., k, k] = -inverse
    return swept


def _solution(
    swept: Tensor, size: Tensor, inverse: Tensor, steps: Tensor, variance: Tensor, mixed: Tensor, *, constant: bool
) -> tuple[Tensor, Tensor, Tensor]:
    total = size[..., :1]
    used = (size > 0).to(size.dtype)
    used[..., 0] = 0
    used[..., 1] *= float(constant)
    spare = steps - used.sum(-1)
    left = (swept[..., 0, 0] * total[..., 0].square() / spare.clamp(min=1)).clamp(min=0)
    deviation = (-swept.diagonal(dim1=-2, dim2=-1)).clamp(min=0).sqrt()
    weight = swept[..., 0] * total * inverse * used
    error = deviation * torch.maximum(left, variance).sqrt()[..., None] * inverse * used
    certain = (error * size <= UNCERTAIN * total).all(-1)
    return weight[..., 1:], error[..., 1:], certain & ~mixed & (spare >= SPARE)
