"""Unknown factors, constants and weights, fitted at the start of every segment of a row to the steps before it.

Letters: R rows, K components, S segments, C columns; FREE formulas as in `hypotheses`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from detectors.aggregation import hypotheses
from detectors.aggregation.candidates import SUM, Parts, Predicted
from detectors.aggregation.fit import KEEP, MOST_SLOTS, fit, packed_size, products
from detectors.aggregation.hypotheses import FREE
from detectors.aggregation.reports import Told
from detectors.aggregation.segments import LENGTH, Segments, split
from detectors.cell import State

COUNTED: Final = 2
"""Sums before the products: of steps, and of their squared rounding."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is in force in each segment; NaN where nothing is known yet."""

    factor: Tensor
    """(R, FREE, S): total over formula."""
    remainder: Tensor
    """(R, FREE, S): total minus formula."""
    regularizer: Tensor
    """(R, 3, S): weight of the sum of s^2 under each variant of uncertainty weighting."""
    rescaled: Tensor
    """(R, 3, S): the factor of each variant, where both it and the weight of the sum of s^2 are unknown."""
    reregularized: Tensor
    """(R, 3, S): that weight, times the factor."""
    weight: Tensor
    """(R, S, 1 + K, 2): see `fit.Fit`."""
    error: Tensor
    known: Tensor
    """(R, S, 2) bool"""


def fresh_parameters(rows: int, slots: int, like: Tensor) -> State:
    """Nothing summed: not yet, and not when the segment that is open began."""
    size = hypotheses.MOMENTS + COUNTED + packed_size(slots)
    return {name: like.new_zeros(rows, size) for name in ("sums", "sums_before")}


def estimated(state: State, segments: Segments, told: Told, parts: Parts, bases: Predicted) -> tuple[State, Fitted]:
    """Take the block's steps, and fit where a segment starts."""
    size = bases.size[:, SUM]
    used = (told.judged & told.whole & (size > 0) & size.isfinite()).to(size.dtype)
    moments = hypotheses.moments_of(told.total, bases.value[:, :FREE], parts.squares(), size, used)
    terms = torch.cat([moments.mT, _products(told, parts, bases, used)], -1)
    keep = terms.new_full(terms.shape[-1:], KEEP)
    keep[: hypotheses.MOMENTS] = hypotheses.KEEP
    newest, before, sums = _summed(state, terms, segments.starts(LENGTH), keep)

    factor, remainder, regularizer, rescaled, reregularized = torch.split(
        hypotheses.parameters_of(sums[..., : hypotheses.MOMENTS]).mT, [FREE, FREE, 3, 3, 3], 1
    )
    steps, noise = sums[..., hypotheses.MOMENTS], sums[..., hypotheses.MOMENTS + 1]
    found = fit(sums[..., hypotheses.MOMENTS + COUNTED :], steps, noise / steps.clamp(min=1))
    slots = parts.component.shape[1]
    weight, error = (pad(x, (0, 0, 0, max(slots - MOST_SLOTS, 0))) for x in (found.weight, found.error))
    known = found.known & (slots <= MOST_SLOTS)
    return {"sums": newest, "sums_before": before}, Fitted(
        factor, remainder, regularizer, rescaled, reregularized, weight, error, known
    )


def _products(told: Told, parts: Parts, bases: Predicted, used: Tensor) -> Tensor:
    """What `fit.fit` needs of every segment, (R, S, P), behind the number of steps and their rounding, squared."""
    per = torch.where(used > 0, 1 / bases.size[:, SUM], 0.0)
    total = torch.where(used > 0, told.total, 0.0) * per
    component = torch.where((used > 0)[:, None], parts.component, 0.0) * per[:, None]
    rounding = torch.where(used > 0, bases.slack[:, SUM], 0.0) * per
    counted = torch.stack([split(used, LENGTH).sum(-1), split(rounding.square(), LENGTH).sum(-1)], -1)
    squares = products(split(total, LENGTH), split(component, LENGTH).transpose(1, 2), split(per, LENGTH))
    return torch.cat([counted, squares], -1)


def _summed(state: State, terms: Tensor, starts: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Discounted sums of ``terms`` (R, S, M): the newest, those before the open segment, (R, M), and those before each
    segment (R, S, M). Kept are sums and not what is fitted to them, which the order of summation moves much further."""
    sums, before = state["sums"], state["sums_before"]
    found = []
    for at in range(terms.shape[1]):
        begins = starts[:, at, None]
        before = torch.where(begins, sums, before)
        sums = torch.where(begins, sums * keep, sums) + terms[:, at]
        found.append(before)
    return sums, before, torch.stack(found, 1)
