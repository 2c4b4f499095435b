"""How precisely numbers were reported, seen from the numbers themselves. Letters: R rows, N series, C steps."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

FULL: Final = 8
"""Significant decimal digits from which a number counts as not rounded."""
LOWEST: Final = 330
"""Powers of ten beyond those of any double."""
FEWEST: Final = 3.0
"""Significant digits that are assumed of a series that showed fewer so far: 10.0 alone does not stand for tens."""
FORGET: Final = 0.25
"""How much of a digit is forgotten each segment in which the series did not show it."""
WIDTHS: Final = (8, 11, 24)
"""Significant bits of bfloat16, float16 and float32."""


def resolved(x: Tensor) -> tuple[Tensor, Tensor]:
    """What each value (..., C) shows, (..., 3, C): decimals, significant decimal digits and significant bits; 0 for 0
    and NaN. And the place of its first decimal digit, (..., C).

    Digits are at most `FULL`, bits one of `WIDTHS`: more makes no difference.

    >>> resolved(torch.tensor([12.5, 0.0625, 0.1234, 1 / 3], dtype=torch.float64))[0]
    tensor([[ 1.,  4.,  4.,  8.],
            [ 3.,  3.,  4.,  8.],
            [ 8.,  8., 24., 24.]], dtype=torch.float64)
    """
    size = x.abs()
    known = ((size > 0) & (size < torch.inf)).to(x.dtype)
    size = size.masked_fill(known == 0, 1.0)
    mantissa, exponent = torch.frexp(size)
    place = ((exponent - 1).to(x.dtype) * math.log10(2)).floor().long()
    rest = size * _powers(-place, x)
    over = (rest >= 10 * (1 - torch.finfo(x.dtype).eps * 4)).to(x.dtype)
    magnitude, rest = place + over, rest / (1 + 9 * over)
    four = _whole(rest * 1e3)  # four digits are enough
    two_or_six = _whole(rest * (1e5 - four * (1e5 - 1e1)))
    last = 7.0 - 4.0 * four - 2.0 * two_or_six  # 1, 3, 5 or 7 digits are tried last
    significant = last + 1 - _whole(rest * _powers(last.long() - 1, x))
    decimals = (significant - 1 - magnitude).clamp(min=0)
    half, brain = _whole(mantissa * 2**11), _whole(mantissa * 2**8)
    bits = WIDTHS[2] - half * (WIDTHS[2] - WIDTHS[1]) - brain * (WIDTHS[1] - WIDTHS[0])
    return torch.stack([decimals, significant, bits], -2).mul_(known[..., None, :]), magnitude


def quantum(x: Tensor, seen: Tensor, magnitude: Tensor) -> Tensor:
    """The step between neighbouring numbers of the series' format at each value (..., C), from what it has shown.

    0.01 for 12.34 of a series of two decimals, or of one of four significant digits; never finer than the spacing of
    the floating point format that holds the series' numbers. 0 where nothing was seen but 0. ``seen`` (..., 3, C)
    and ``magnitude`` (..., C) as from `resolved`.
    """
    decimals, significant, bits = seen.unbind(-2)
    size = x.abs()
    known = (size > 0) & (size < torch.inf)
    coarse = _ten_to(magnitude - significant.clamp(min=FEWEST) + 1) * known
    printed = torch.maximum(_ten_to(-decimals), coarse) * ((significant > 0) & (significant <= FULL - 1))
    return torch.maximum(printed, size.masked_fill(~known, 0.0) * torch.exp2(-bits))


def _ten_to(power: Tensor) -> Tensor:
    """``10 ** power``, ten times as fast."""
    return torch.exp2(power * math.log2(10))


def _powers(power: Tensor, like: Tensor) -> Tensor:
    """``10 ** power`` of whole numbers, to the last bit: whether a product is a whole number depends on it."""
    return _table(like.dtype, like.device).index_select(0, (power + LOWEST).flatten()).view(power.shape)


@lru_cache(maxsize=8)
def _table(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor([float(f"1e{power}") for power in range(-LOWEST, LOWEST + 1)], dtype=dtype, device=device)


def _whole(x: Tensor) -> Tensor:
    """1 where a value is a whole number up to rounding, else 0."""
    slack = torch.finfo(x.dtype).eps * 4
    return (x.round().sub_(x).abs_() <= x * slack).to(x.dtype)
