"""How precisely numbers were reported, seen from the numbers themselves. Letters: R rows, N series, C steps."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

FULL: Final = 8
"""Significant decimal digits from which a number counts as not rounded."""
FEWEST: Final = 3.0
"""Significant digits that are assumed of a series that showed fewer so far: 10.0 alone does not stand for tens."""
FORGET: Final = 0.25
"""How much of a digit is forgotten each segment in which the series did not show it."""
HALF_WIDTHS: Final = (8, 11, 24)
"""Significant bits of bfloat16, float16 and float32."""


def digits(x: Tensor) -> Tensor:
    """Decimals, significant decimal digits and significant bits that each value shows, (..., 3); 0 for 0 and NaN.

    Digits are at most `FULL`, bits one of `HALF_WIDTHS`: more makes no difference.

    >>> digits(torch.tensor([12.5, 0.0625, 0.1234, 1 / 3], dtype=torch.float64))
    tensor([[ 1.,  3.,  8.],
            [ 4.,  3.,  8.],
            [ 4.,  4., 24.],
            [ 8.,  8., 24.]], dtype=torch.float64)
    """
    known = (x.isfinite() & (x != 0)).to(x.dtype)
    x = torch.where(known > 0, x.abs(), 1.0)
    mantissa, magnitude, rest = _parts(x)
    four = _whole(rest * 1e3)  # four digits are enough
    two_or_six = _whole(rest * (1e5 - four * (1e5 - 1e1)))
    level = 6.0 - 4.0 * four  # the digits tested last: 2 or 6
    last = level + 1 - 2 * two_or_six
    enough = _whole(rest * 10 ** (last - 1))
    significant = last + 1 - enough
    decimals = (significant - 1 - magnitude).clamp(min=0)
    half, brain = _whole(mantissa * 2**11), _whole(mantissa * 2**8)
    bits = HALF_WIDTHS[2] - half * (HALF_WIDTHS[2] - HALF_WIDTHS[1]) - brain * (HALF_WIDTHS[1] - HALF_WIDTHS[0])
    return torch.stack([decimals, significant, bits], -1) * known[..., None]


def quantum(x: Tensor, seen: Tensor) -> Tensor:
    """The step between neighbouring numbers of the series' format at each value, (...), from digits ``seen`` (..., 3).

    0.01 for 12.34 of a series of two decimals, or of one of four significant digits; never finer than the spacing of
    the floating point format that holds the series' numbers. 0 where nothing was seen but 0.
    """
    decimals, significant, bits = seen.unbind(-1)
    known = x.isfinite() & (x != 0)
    size = torch.where(known, x.abs(), 1.0)
    _, magnitude, _ = _parts(size)
    coarse = torch.where(known, 10.0 ** (magnitude - significant.clamp(min=FEWEST) + 1), 0.0)
    printed = torch.maximum(10.0**-decimals, coarse) * ((significant > 0) & (significant <= FULL - 1))
    return torch.maximum(printed, size * known * 2.0**-bits)


def _parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Binary mantissa, place of the first decimal digit, and x with that digit before the point."""
    mantissa, exponent = torch.frexp(x)
    magnitude = ((exponent - 1).to(x.dtype) * math.log10(2)).floor()
    rest = x * 10.0**-magnitude
    over = (rest >= 10 * (1 - torch.finfo(x.dtype).eps * 8)).to(x.dtype)
    return mantissa, magnitude + over, rest * (1 - 0.9 * over)


def _whole(x: Tensor) -> Tensor:
    """1 where a value is a whole number up to rounding, else 0."""
    slack = torch.finfo(x.dtype).eps * 16
    return ((x - x.round()).abs() <= x * slack).to(x.dtype)
