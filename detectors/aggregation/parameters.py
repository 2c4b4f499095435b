"""Unknown factors, constants and weights, fitted at the start of every segment of a row to the steps before it.

Letters: R rows, K components, S segments, C columns; FREE formulas as in `hypotheses`.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is in force in each segment; NaN where nothing is known yet."""

    factor: Tensor
    """(R, FREE, S): total over formula."""
    remainder: Tensor
    """(R, FREE, S): total minus formula."""
    regularizer: Tensor
    """(R, 3, S): weight of the sum of s^2 under each variant of uncertainty weighting."""
    weight: Tensor
    """(R, S, 1 + K, 2): see `fit.Fit`."""
    error: Tensor
    known: Tensor
    """(R, S, 2) bool"""


def fresh_parameters(rows: int, slots: int, like: Tensor) -> State:
    """Nothing summed and nothing known."""
    return {
        "moments": like.new_zeros(rows, hypotheses.MOMENTS),
        "products": like.new_zeros(rows, packed_size(MOST_SLOTS if slots > MOST_SLOTS else slots)),
        "products_steps": like.new_zeros(rows),
        "products_variance": like.new_zeros(rows),
        "simple": like.new_full((rows, 2 * FREE + 3), torch.nan),
        "weight": like.new_zeros(rows, 1 + slots, 2),
        "weight_error": like.new_zeros(rows, 1 + slots, 2),
        "weight_known": torch.zeros(rows, 2, dtype=torch.bool, device=like.device),
    }


def estimated(state: State, segments: Segments, told: Told, parts: Parts, bases: Predicted) -> tuple[State, Fitted]:
    """Take the block's steps, and fit where a segment starts."""
    starts = segments.starts(LENGTH)
    size = bases.size[:, SUM]
    used = (told.judged & told.whole & (size > 0) & size.isfinite()).to(size.dtype)
    sums, at_start = _summed(
        state["moments"],
        hypotheses.moments_of(told.total, bases.value[:, :FREE], parts.log_var.square().sum(1), size, used).mT,
        starts,
        hypotheses.KEEP,
    )
    simple, newest = _in_force(state["simple"], hypotheses.parameters_of(at_start), starts)
    after = {"moments": sums, "simple": newest}
    factor, remainder, regularizer = torch.split(simple.mT, [FREE, FREE, 3], 1)
    more, weights = _weights(state, told, parts, bases, used, starts)
    return after | more, Fitted(factor, remainder, regularizer, *weights)


def _weights(
    state: State, told: Told, parts: Parts, bases: Predicted, used: Tensor, starts: Tensor
) -> tuple[State, tuple[Tensor, Tensor, Tensor]]:
    slots = parts.component.shape[1]
    per = torch.where(used > 0, 1 / bases.size[:, SUM], 0.0)
    usable = torch.where(used > 0, told.total, 0.0) * per
    component = torch.where((used > 0)[:, None], parts.component, 0.0) * per[:, None]
    rounding = torch.where(used > 0, bases.slack[:, SUM], 0.0) * per
    sums, at_start = _summed(
        state["products"],
        products(split(usable, LENGTH), split(component, LENGTH).transpose(1, 2), split(per, LENGTH)),
        starts,
        KEEP,
    )
    steps, steps_at = _summed(state["products_steps"][:, None], split(used, LENGTH).sum(-1)[..., None], starts, KEEP)
    noise, noise_at = _summed(
        state["products_variance"][:, None], split(rounding.square(), LENGTH).sum(-1)[..., None], starts, KEEP
    )
    found = fit(at_start, steps_at[..., 0], noise_at[..., 0] / steps_at[..., 0].clamp(min=1))
    wide = (0, 0, 0, max(slots - MOST_SLOTS, 0))
    told_apart = found.known & (slots <= MOST_SLOTS)
    weight, newest_weight = _in_force(state["weight"], pad(found.weight, wide), starts)
    error, newest_error = _in_force(state["weight_error"], pad(found.error, wide), starts)
    known, newest_known = _in_force(state["weight_known"], told_apart, starts)
    after = {
        "products": sums,
        "products_steps": steps[:, 0],
        "products_variance": noise[:, 0],
        "weight": newest_weight,
        "weight_error": newest_error,
        "weight_known": newest_known,
    }
    return after, (weight, error, known)


def _summed(before: Tensor, terms: Tensor, starts: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Discounted sums: the newest (R, M), and what they were when each segment began (R, S, M); ``terms`` (R, S, M)."""
    at_start = []
    for at in range(terms.shape[1]):
        at_start.append(before)
        before = before * torch.where(starts[:, at, None], keep, 1.0).to(before.dtype) + terms[:, at]
    return before, torch.stack(at_start, 1)


def _in_force(before: Tensor, fresh: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``fresh`` (R, S, ...) the newest that a segment of this block began with, at each segment and at the end."""
    out = []
    for at in range(fresh.shape[1]):
        begins = starts[:, at].view(-1, *[1] * (before.dim() - 1))
        before = torch.where(begins, fresh[:, at], before)
        out.append(before)
    return torch.stack(out, 1), before
