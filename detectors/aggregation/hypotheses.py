"""Every formula that may make a total, unknown parameters included, and the evidence for each.

Letters: R rows, B formulas without unknown parameters (`candidates.BASES`), H hypotheses, S segments, C steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from detectors.aggregation.candidates import BASES, CODES, DECLARED, HALF, MEAN, TRAINED, declared_code
from detectors.aggregation.formulas import FORMULAS
from detectors.aggregation.segments import LENGTH, LOOK, Segments, split
from detectors.cell import State

VARIANTS: Final = slice(HALF, HALF + 3)
"""Uncertainty weighting without regularizer, of `BASES`."""
FREE: Final = len(BASES[:TRAINED])
"""Formulas that may have a constant factor or a constant remainder: all that are not another phase's."""
EXACT: Final = slice(0, len(BASES))
SCALED: Final = slice(EXACT.stop, EXACT.stop + FREE)
OFFSET: Final = slice(SCALED.stop, SCALED.stop + FREE)
REGULARIZED: Final = slice(OFFSET.stop, OFFSET.stop + 3)
RESCALED: Final = slice(REGULARIZED.stop, REGULARIZED.stop + 3)
"""The same with a constant factor."""
SHIFTED: Final = slice(RESCALED.stop, RESCALED.stop + 2)
"""The total of a step against the components of the step before, and the other way round."""
FITTED: Final = slice(SHIFTED.stop, SHIFTED.stop + 2)
COUNT: Final = FITTED.stop
CODES_OF_ALL: Final = (
    *CODES,
    *(0 if base == MEAN else CODES[base] for base in range(FREE)),  # a factor of the mean is one of the sum
    *CODES[:FREE],
    *(64, 128, 256),
    *(64, 128, 256),
    *(0, 0),
    *(1024, 2048),
)
"""0: the code of what is declared, or of the sum; none of a factor of the mean."""

ONES: Final = 0x01010101
"""A one in each byte of a number of 32 bits, which is how a stretch of `LOOK` bools is taken and added up."""
MOST_EVIDENCE: Final = 16
COST_OF_A_MISS: Final = 3
NEEDED: Final = (*[4] * len(BASES), *[12] * (2 * FREE + 6), 8, 8, 12, 12)
"""Evidence from which a hypothesis holds, until it has lost it all: a step that fits counts 1, one that does not -3."""

APART: Final = 1e-4
"""Part of the squares of a formula and of its regularizer that the other must leave, to tell the factors of both."""
KEEP: Final = 0.5
"""What is left of the older moments after a segment."""


def moments_of(total: Tensor, value: Tensor, squares: Tensor, size: Tensor, used: Tensor) -> Tensor:
    """(R, M, S): the sums, by segment, that `parameters_of` needs; relative to the ``size`` (R, C) of the components.

    ``total``, ``squares`` (sum of s^2) and ``used`` are (R, C), ``value`` (R, FREE, C) the formulas.
    """
    per = torch.where(used > 0, 1 / size, 0.0)[:, None]
    per = torch.where(value.abs() < torch.inf, per, 0.0)  # (R, FREE, C)
    y, p = total.nan_to_num(0.0)[:, None] * per, torch.where(per > 0, value, 0.0) * per
    q = squares.nan_to_num(0.0)[:, None] * per[:, VARIANTS]
    left = y - p
    terms = (y * p, p * p, left * per, per * per, left[:, VARIANTS] * q, q * q, p[:, VARIANTS] * q)
    return torch.cat([split(term, LENGTH).sum(-1) for term in terms], 1)


def parameters_of(moments: Tensor) -> Tensor:
    """From discounted ``moments`` (..., M): factors, remainders, regularizers, and a factor with a regularizer (by
    Cramer's rule), (..., 2 FREE + 9)."""
    product, square, left, one, regular, squares, mixed = torch.split(moments, [FREE, FREE, FREE, FREE, 3, 3, 3], -1)
    plain, totals = square[..., VARIANTS], product[..., VARIANTS]
    regulars = regular + mixed
    common = plain * squares - mixed.square()
    common = torch.where(common > APART * plain * squares, common, 0.0)
    both = [_over(totals * squares - regulars * mixed, common), _over(regulars * plain - totals * mixed, common)]
    return torch.cat([_over(product, square), _over(left, one), _over(regular, squares), *both], -1)


def _over(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


MOMENTS: Final = 4 * FREE + 9


EVIDENCE: Final = ("evidence", "open", "holds")
"""Of the state: for each hypothesis, evidence until the stretch that is open, what that adds, and whether it holds."""
POWERS: Final = tuple(FORMULAS)


def fresh_evidence(rows: int, like: Tensor) -> State:
    """No evidence for anything."""
    state = {name: torch.zeros(rows, COUNT, dtype=torch.int8, device=like.device) for name in EVIDENCE[:2]}
    return state | {"holds": torch.zeros(rows, COUNT, dtype=torch.bool, device=like.device)}


def weigh(state: State, hit: Tensor, miss: Tensor, segments: Segments) -> tuple[State, Tensor, Tensor]:
    """Weigh the evidence after every `LOOK` steps of a row.

    ``hit`` and ``miss`` (R, H, C) bool. Returns the state, and which hypotheses hold and which are beyond doubt
    (R, H, C / LOOK) from what was seen before each stretch.
    """
    found = _sums(hit) - COST_OF_A_MISS * _sums(miss)  # (R, H, N)
    starts = segments.starts(LOOK)[:, None]
    started = starts.cumsum(-1)
    # At the first start what was open until then is closed, at the others the stretch before.
    closing = torch.cat([torch.zeros_like(found[..., :1]), found[..., :-1]], -1)
    closing = closing + ((started == 1) & starts) * state["open"][..., None]
    needed = torch.tensor(NEEDED, dtype=torch.int8, device=hit.device)
    evidence, holds = state["evidence"], state["holds"]
    amounts, held = [], []
    for start, more in zip(starts.unbind(-1), closing.unbind(-1), strict=True):
        closed = (evidence + more).clamp_(0, MOST_EVIDENCE)
        evidence = torch.where(start, closed, evidence)
        holds = torch.where(start, (closed >= needed) | (holds & (closed > 0)), holds)
        amounts.append(evidence)
        held.append(holds)
    newest = torch.where(started == started[..., -1:], found, 0).sum(-1, dtype=torch.int8)  # since the last start
    still = torch.where(started[..., -1] == 0, state["open"], 0)
    after = {"evidence": evidence, "open": newest + still, "holds": holds}
    return after, torch.stack(held, -1), torch.stack(amounts, -1) >= MOST_EVIDENCE


def _sums(of: Tensor) -> Tensor:
    """(R, H, C) bool to int8 (R, H, C / LOOK): how many of a stretch."""
    return ((of.view(torch.int32) * ONES) >> 24).to(torch.int8)


def any_fits(hit: Tensor, holds: Tensor) -> Tensor:
    """(R, C): whether a formula without unknown parameters fits the step, or another one that holds (R, H, N)."""
    counts = holds.clone()
    counts[:, EXACT] = True
    fits = hit.view(torch.int32) & (counts.to(torch.int32) * ONES)
    return fits.sum(1, dtype=torch.int32).view(torch.int8) > 0


def first_of(holds: Tensor) -> Tensor:
    """(R, ., N) bool to (R, N) int64: the place of the first that holds, the number of them where none does."""
    left = torch.arange(holds.shape[1], 0, -1, dtype=torch.float32, device=holds.device)[:, None]
    return holds.shape[1] - (holds * left).amax(1).long()  # `amin` of whole numbers takes thirty times as long


def codes_of(facts: Mapping[str, Tensor]) -> Tensor:
    """(R, H) int64: each hypothesis' code in `formulas.FORMULAS`."""
    code = declared_code(facts, "")
    codes = torch.tensor(CODES_OF_ALL, device=code.device).repeat(code.shape[0], 1)
    for family in (EXACT, SCALED, OFFSET):
        codes[:, family.start + DECLARED] = code
    codes[:, SHIFTED] = torch.where(code > 0, code, 1)[:, None]
    codes[:, TRAINED] = declared_code(facts, "train_")
    return codes


def joined(holds: Tensor, codes: Tensor) -> Tensor:
    """(R, ., N) bool and (R, .) codes to (R, N): the codes of those that hold, each once."""
    powers = torch.tensor(POWERS, device=codes.device)
    members = ((codes[..., None] & powers) > 0).to(torch.float32)  # (R, ., F)
    told = holds.mT.to(torch.float32) @ members  # (R, N, F): how many say so
    return (told.clamp_(max=1.0) @ powers.to(torch.float32)).long()


def size_of(codes: Tensor) -> Tensor:
    """How many formulas a code stands for."""
    return _sizes(codes.device).index_select(0, codes.flatten()).view(codes.shape)


@lru_cache(maxsize=8)
def _sizes(device: torch.device) -> Tensor:
    return torch.tensor([code.bit_count() for code in range(2 * POWERS[-1])], device=device)
