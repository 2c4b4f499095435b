"""Exponential averages over a block of steps in closed form: no loop over time.

``y[t] = d * y[t-1] + x[t]`` over T steps is one product with a lower triangular Toeplitz matrix,
``L[t, s] = d^(t-s)``, plus the carried state times ``d^(t+1)``; exact, and a matrix product is what
both CPUs and GPUs do best. Letters: R rows, T steps.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

PIECE: Final = 16
"""Measured: of 4, 8, 16, 32 and 64 the fastest, in either precision, from blocks of 32 steps on."""


def decay_of(tau: float) -> float:
    """The factor per step of an exponential average with time constant ``tau`` in steps."""
    return math.exp(-1.0 / tau)


@lru_cache(maxsize=256)
def _toeplitz(decay: float, power: int, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(T, T), transposed for a product from the right: ``[s, t] = (t-s)^power * decay^(t-s)``."""
    age = torch.arange(length, dtype=torch.float64)
    lag = age[None, :] - age[:, None]
    kernel = torch.where(lag >= 0, lag.clamp(min=0) ** power * decay ** lag.clamp(min=0), 0.0)
    return kernel.to(dtype=dtype, device=device)


def discounted(x: Tensor, decay: float, power: int = 0) -> Tensor:
    """Sum over the past of ``age^power * decay^age * x``, at every step: (..., T) to (..., T)."""
    return x @ _toeplitz(decay, power, x.shape[-1], x.dtype, x.device)


@lru_cache(maxsize=256)
def _carry(decay: float, length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return decay ** torch.arange(1, length + 1, dtype=dtype, device=device)


def carry(decay: float, length: int, like: Tensor) -> Tensor:
    """(T): what is left of a carried sum at each step of a block."""
    return _carry(decay, length, like.dtype, like.device)


def discounted_sum(before: Tensor, x: Tensor, decay: float) -> Tensor:
    """The discounted sum at every step, going on from ``before`` (...): (..., T).

    >>> discounted_sum(torch.tensor([8.0]), torch.tensor([[1.0, 0.0, 2.0]]), 0.5)
    tensor([[5.0000, 2.5000, 3.2500]])
    """
    length = x.shape[-1]
    if length <= PIECE:
        return discounted(x, decay).addcmul_(before[..., None], carry(decay, length, x))  # a fresh tensor: ours
    if length % PIECE:
        x = pad(x, (0, -length % PIECE))
    pieces = discounted(x.reshape(*x.shape[:-1], x.shape[-1] // PIECE, PIECE), decay)  # (..., N, PIECE)
    ends = torch.cat([before[..., None], pieces[..., :-1, -1]], dim=-1)  # (..., N)
    pieces.addcmul_(discounted(ends, decay**PIECE)[..., None], carry(decay, PIECE, x))
    return pieces.flatten(-2)[..., :length]


def discounted_sums(before: Tensor, x: Tensor, decay: float) -> Tensor:
    """The discounted sum before each step, and after the last, from ``before`` (...) on: (..., T) to (..., T + 1).

    >>> discounted_sums(torch.tensor([8.0]), torch.tensor([[1.0, 0.0, 2.0]]), 0.5)
    tensor([[8.0000, 5.0000, 2.5000, 3.2500]])
    """
    return torch.cat([before[..., None], discounted_sum(before, x, decay)], dim=-1)


def after(x: Tensor, count: Tensor) -> Tensor:
    """``x`` (R, ..., T + 1), before each step and after the last, after each row's first ``count`` (R): (R, ...)."""
    return x.gather(-1, count.view(-1, *[1] * (x.dim() - 1)).expand(*x.shape[:-1], 1)).squeeze(-1)


def weight_of(count: Tensor, decay: float) -> Tensor:
    """The discounted sum of so many ones."""
    return torch.expm1(count * math.log(decay)).div_(decay - 1)


def bounded(x: Tensor) -> Tensor:
    """Finite values, small enough that products of two of them stay finite; NaN stays NaN."""
    limit = torch.finfo(x.dtype).max ** 0.5 / 2**10
    return x.clamp(-limit, limit)


def last(x: Tensor, count: Tensor, before: Tensor) -> Tensor:
    """``x`` (R, ..., T) at each row's last step: (R, ...); ``before`` where ``count`` (R) is 0."""
    index = (count.clamp(min=1) - 1).view(-1, *[1] * (x.dim() - 1)).expand(*x.shape[:-1], 1)
    taken = x.gather(-1, index).squeeze(-1)
    return torch.where(count.view(-1, *[1] * (taken.dim() - 1)) > 0, taken, before)


def previous(x: Tensor, before: Tensor) -> Tensor:
    """``x`` shifted by one step, ``before`` (...) in front: (..., T)."""
    return torch.cat([before[..., None], x[..., :-1]], dim=-1)


def least(x: Tensor, valid: Tensor, before: Tensor) -> Tensor:
    """The smallest valid value so far, going on from ``before`` (...): (..., T).

    >>> least(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, False, True]), torch.tensor(torch.inf))
    tensor([3., 3., 2.])
    """
    return torch.minimum(torch.where(valid, x, torch.inf).cummin(-1).values, before[..., None])


def packed(x: Tensor, valid: Tensor) -> Tensor:
    """The valid values of ``x`` (R, T), in order, at the front of each row; zeros behind them.

    >>> packed(torch.tensor([[5.0, 6.0, 7.0]]), torch.tensor([[True, False, True]]))
    tensor([[5., 7., 0.]])
    """
    roomy = x.new_zeros(x.shape[0], x.shape[1] + 1)
    place = torch.where(valid, valid.cumsum(-1) - 1, x.shape[1])  # the last place is thrown away
    return roomy.scatter(1, place, x)[:, :-1]


def unpacked(x: Tensor, valid: Tensor) -> Tensor:
    """What `packed` moved to the front, back at its place; NaN where not valid."""
    return torch.where(valid, x.gather(1, (valid.cumsum(-1) - 1).clamp(min=0)), torch.nan)


def resolution(x: Tensor) -> Tensor:
    """What rounding alone may make of averages of values like ``x``: less is no movement."""
    return x.abs() * (torch.finfo(x.dtype).eps * 2**8)


def newest(valid: Tensor) -> Tensor:
    """(..., T) the place, from 1, of the newest step at which it is valid; 0 until the first.

    >>> newest(torch.tensor([False, True, False, True]))
    tensor([0, 2, 2, 4])
    """
    position = torch.arange(1, valid.shape[-1] + 1, device=valid.device).expand(valid.shape)
    return torch.where(valid, position, 0).cummax(dim=-1).values


def since(x: Tensor, place: Tensor, before: Tensor) -> Tensor:
    """``x`` (..., T) as it was at the place that `newest` gives, ``before`` (...) at place 0."""
    return torch.cat([before[..., None], x], dim=-1).gather(-1, place)


def held(x: Tensor, valid: Tensor, before: Tensor) -> Tensor:
    """``x`` with the newest valid value held where it is not valid, ``before`` until the first."""
    return since(x, newest(valid), before)
