"""Trying every hypothesis on every step, and telling which formula makes the totals. Letters as in `hypotheses`;
N stretches of `segments.LOOK` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.aggregation.candidates import (
    ARITHMETIC,
    BASES,
    DECLARED,
    LOG_FACTOR,
    LOSS_FACTOR,
    MEAN,
    ROUNDED_WEIGHTS,
    SUM,
    TRAINED,
    Parts,
    Predicted,
)
from detectors.aggregation.hypotheses import (
    EXACT,
    FITTED,
    FREE,
    OFFSET,
    REGULARIZED,
    RESCALED,
    SCALED,
    SHIFTED,
    VARIANTS,
    codes_of,
    first_of,
    joined,
    size_of,
)
from detectors.aggregation.parameters import Fitted
from detectors.aggregation.reports import Told
from detectors.aggregation.segments import LENGTH, LOOK, Segments, spread
from detectors.recurrence import previous
from detectors.streams import FORMS, MEASURED

COARSE: Final = 0.02
"""Rounding, of the size of the terms, from which a step says nothing about formulas."""
MEDIUM: Final = 0.005
"""The same about a fitted factor or constant."""
FINE: Final = 1e-3
"""The same about fitted weights: smooth series are sums of others to two digits by chance."""
AT_ONCE: Final = 1e-5
"""The same below which one of the first steps is enough."""
WIDER: Final = 1.5
"""What a fitted factor, constant or weight adds to the rounding of a step."""
MEDIAN_FITS: Final = 0.1
"""How far off its formula, of the size of the terms, a median is that still fits."""
MEAN_FITS: Final = 0.01
"""The same of means, where the formula is not linear in what was averaged."""
SURE: Final = 4.0
"""Standard errors."""


def tried(
    told: Told,
    parts: Parts,
    bases: Predicted,
    fitted: Fitted,
    main: Predicted,
    before: Tensor,
    facts: Mapping[str, Tensor],
    segments: Segments,
) -> tuple[Tensor, Tensor]:
    """Which hypotheses fit each step and which fail it, (R, H, C) bool.

    ``main`` (R, C) is the declared formula or else the sum, ``before`` (R, 3) its value and slack at the step before
    the block, behind the total.
    """
    total, quantum = told.total[:, None], told.quantum[:, None]
    value, slack, size = bases.value[:, :FREE], bases.slack[:, :FREE], bases.size[:, :FREE]
    several = (fitted.factor, fitted.remainder, fitted.regularizer, fitted.rescaled, fitted.reregularized)
    factor, remainder, regularizer, rescaled, reregularized = (x.repeat_interleave(LENGTH, -1) for x in several)
    amount = factor.abs()
    scaled = quantum + amount * (slack - quantum)
    squares = parts.squares()[:, None]
    shifted, loose = _shifted(told, main, before, segments)
    linear, linear_slack, linear_size = _linear(told, parts, fitted)
    median = (told.measured == MEASURED.index("median"))[:, None]
    judged = (told.judged & (bases.size[:, SUM] > 0))[:, None]
    precise = judged & ~median
    both = rescaled * value[:, VARIANTS] + reregularized * squares
    loosely = (
        quantum + rescaled.abs() * (slack[:, VARIANTS] - quantum) + reregularized.abs() * squares * ROUNDED_WEIGHTS
    )
    legal = precise & (rescaled * reregularized > 0)
    left = total - bases.value
    families = [
        _tested(left, bases.slack, COARSE * bases.size, judged, median, _widened(told, bases, facts)),
        _tested(total - factor * value, WIDER * scaled, MEDIUM * amount * size, precise),
        _tested(left[:, :FREE] - remainder, WIDER * slack, MEDIUM * size, precise),
        _tested(
            left[:, VARIANTS] - regularizer * squares, WIDER * slack[:, VARIANTS], MEDIUM * size[:, VARIANTS], precise
        ),
        _tested(total - both, WIDER * loosely, MEDIUM * rescaled.abs() * size[:, VARIANTS], legal),
        _tested(shifted, loose, COARSE * main.size[:, None], precise),
        _tested(total - linear, linear_slack, FINE * linear_size, precise),
    ]
    hit, miss = (torch.cat(found, 1) for found in zip(*families, strict=True))
    return hit, miss & told.whole[:, None]


def _tested(
    residual: Tensor,
    rounding: Tensor,
    coarsest: Tensor,
    judged: Tensor,
    anyway: Tensor | None = None,
    wider: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Steps that fit and that do not, of those whose rounding says anything, or that are judged ``anyway``."""
    off = residual.abs()
    telling = rounding <= coarsest
    if anyway is not None:
        telling |= anyway
    telling = telling & (off < torch.inf) & judged
    fits = off <= (rounding if wider is None else rounding + wider)
    return telling & fits, telling & ~fits


def _widened(told: Told, bases: Predicted, facts: Mapping[str, Tensor]) -> Tensor:
    """(R, B, C): what medians may be off by, and means under formulas that are not linear."""
    curved = torch.tensor([base not in {"sum", "mean"} for base in BASES], device=told.total.device)
    curved = curved.repeat(told.total.shape[0], 1)
    for base, form in ((DECLARED, facts["form"]), (TRAINED, facts["train_form"])):
        curved[:, base] = (form == FORMS.index("kendall")) | (form == FORMS.index("ratio"))
    median = (told.measured == MEASURED.index("median"))[:, None]
    mean = (told.measured > 0)[:, None] & ~median & curved[..., None]
    return (median * MEDIAN_FITS + mean * MEAN_FITS) * bases.size


def _shifted(told: Told, main: Predicted, before: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Totals against the components of the step before and of the step after: residual and slack, (R, 2, C)."""
    lead = ~segments.valid & (segments.valid.cumsum(-1) == 0)
    now = torch.stack([told.total, main.value, main.slack], 1)
    total, value, slack = previous(torch.where(lead[:, None], before[..., None], now), before).unbind(1)
    residual = torch.stack([told.total - value, total - main.value], 1)
    return residual, torch.stack([slack, torch.maximum(slack, main.slack)], 1)


def _linear(told: Told, parts: Parts, fitted: Fitted) -> tuple[Tensor, Tensor, Tensor]:
    """The two fitted sums: value, slack and size, (R, 2, C); NaN where the weights are not known."""
    constant, weight = fitted.weight[:, :, 0], fitted.weight[:, :, 1:]  # (R, S, 2), (R, S, K, 2)
    of = spread(weight.permute(0, 3, 2, 1), LENGTH)  # (R, 2, K, C)
    value, amount = (of * parts.component[:, None]).sum(2), of.abs_()
    size, rounding = (amount * parts.component.abs()[:, None]).sum(2), (amount * parts.quantum[:, None]).sum(2)
    known = torch.where(fitted.known, 0.0, torch.nan)
    value = value + spread((constant + known).mT, LENGTH)
    size = size + spread(constant.abs().mT, LENGTH)
    return value, WIDER * (told.quantum[:, None] + rounding + ARITHMETIC * size), size


def identified(
    told: Told,
    bases: Predicted,
    fitted: Fitted,
    facts: Mapping[str, Tensor],
    holds: Tensor,
    hit: Tensor,
    segments: Segments,
) -> dict[str, Tensor]:
    """The readings about the formula, (R[, K], C). ``holds`` (R, H, N) and ``hit`` (R, H, C) bool.

    Formulas without unknown parameters go before all others, fitted weights come last.
    """
    codes = codes_of(facts)
    families = (SCALED, OFFSET, REGULARIZED, SHIFTED)
    fewer = holds[:, EXACT].any(1) | torch.stack([holds[:, family].any(1) for family in families]).any(0)
    rescaled = holds[:, RESCALED] & ~fewer[:, None]  # two unknowns explain what one does, and more
    holds = torch.cat([holds[:, : RESCALED.start], rescaled, holds[:, RESCALED.stop :]], 1)
    exact = joined(holds[:, EXACT], codes[:, EXACT])
    loose = joined(holds[:, SCALED.start : SHIFTED.stop], codes[:, SCALED.start : SHIFTED.stop])
    scaled, offset, regular, shifted = (holds[:, family].any(1) for family in families)
    fits = holds[:, FITTED] & _looks(fitted.known.mT)
    constants = _looks(_variants(fitted)[:, None])[:, 0]
    fit = torch.where(fits[:, 0], 1024, torch.where(fits[:, 1], torch.where(constants > 0, constants, 2048), 0))
    code = torch.where(exact > 0, exact, torch.where(loose > 0, loose, fit))
    is_loose, is_fit = (exact == 0) & (loose > 0), (exact == 0) & (loose == 0) & (fit > 0)

    declared_scale = facts["scale"][:, None].expand_as(scaled)
    plain = holds[:, EXACT].any(1) & (exact > 0)
    scale = torch.where(plain | is_fit, _exact_scale(holds, facts), declared_scale)
    only_scaled = scaled & ~offset & ~regular & ~shifted
    only_offset = offset & ~scaled & ~regular & ~shifted
    only_shifted = shifted & ~scaled & ~offset & ~regular
    first_factor = _first(holds[:, SCALED], _looks(fitted.factor), skip=MEAN)
    first_factor = torch.where(
        _first_place(holds[:, SCALED], MEAN) == DECLARED, first_factor * declared_scale, first_factor
    )
    first_remainder = _first(holds[:, OFFSET], _looks(fitted.remainder))
    share = 1 / facts["components"].clamp(min=1)[:, None]
    a_mean = is_loose & only_scaled & (loose == 1) & ((first_factor - share).abs() <= COARSE * share)
    code, first_factor = torch.where(a_mean, 2, code), torch.where(a_mean, 1.0, first_factor)
    undeclared = (facts["form"] == 0)[:, None]
    scale = torch.where(is_loose & only_scaled, first_factor, scale)
    scale = torch.where(is_loose & rescaled.any(1), _first(rescaled, _looks(fitted.rescaled)), scale)
    simple = torch.where(undeclared, 1.0, declared_scale)
    unscaled = is_loose & ~only_scaled & ~rescaled.any(1)
    scale = torch.where(unscaled, torch.where(scaled, torch.nan, simple), scale)
    remainder = torch.where(is_loose & only_offset, first_remainder, 0.0)
    remainder = torch.where(is_loose & offset & ~only_offset, torch.nan, remainder)
    remainder = torch.where(is_fit & (fit == 2048), _looks(fitted.weight[:, :, 0, 1][:, None])[:, 0], remainder)
    lag = torch.where(holds[:, SHIFTED.start] & ~holds[:, SHIFTED.start + 1], 1.0, -1.0)
    lag = torch.where(holds[:, SHIFTED].all(1), torch.nan, lag)
    lag = torch.where(is_loose & only_shifted, lag, 0.0).to(scale.dtype)

    code, scale, remainder, lag = (spread(x, LOOK) for x in (code, scale, remainder, lag))
    first = (bases.slack <= AT_ONCE * bases.size) & (segments.number < LOOK)[:, None]
    first = hit[:, EXACT] & (first | _is_declared(hit.device)[:, None])
    at_once = joined(first, codes[:, EXACT])
    new = (code == 0) & (at_once > 0)
    scale = torch.where(new, _exact_scale(first, facts), scale)
    code = torch.where(code == 0, at_once, code)
    lost = code == 0
    size = torch.maximum(told.total.abs(), bases.size[:, 0])
    weights = torch.where(is_fit & fits[:, 0], 0, 1)
    weight, error = (_chosen(x, weights, is_fit) for x in (fitted.weight, fitted.error))
    count = size_of(code).to(scale.dtype)
    return {
        "total_form": code.to(scale.dtype).masked_fill(lost, torch.nan),
        "total_scale": scale.masked_fill(lost, torch.nan),
        "total_remainder_ratio": torch.where(remainder == 0, 0.0, remainder / size).masked_fill(lost, torch.nan),
        "total_form_count": count.masked_fill(lost, torch.nan),
        "total_lag_steps": lag.masked_fill(lost, torch.nan),
        "component_weight_fitted": weight,
        "component_weight_fitted_error": error,
    }


def _is_declared(device: torch.device) -> Tensor:
    """(B) bool: formulas that somebody declared."""
    place = torch.arange(len(BASES), device=device)
    return (place == DECLARED) | (place == TRAINED)


def _exact_scale(holds: Tensor, facts: Mapping[str, Tensor]) -> Tensor:
    """(R, .): the factor of what holds (R, B or more, .): a declaration's only if no formula holds without it."""
    plain = (holds[:, EXACT] & ~_is_declared(holds.device)[:, None]).any(1)
    own, train = facts["scale"][:, None], facts["train_scale"][:, None]
    return torch.where(plain, 1.0, torch.where(holds[:, DECLARED], own, torch.where(holds[:, TRAINED], train, 1.0)))


def _variants(fitted: Fitted) -> Tensor:
    """(R, S) int64: codes of the variants of uncertainty weighting whose constant follows from its weights.

    With s constant, ``w = c e^-s`` and the constant is the sum of ``d s``: so ``d sum(-ln(w / c))``. A component of no
    weight is none of it.
    """
    weight, error = fitted.weight[..., 1], fitted.error[..., 1]  # (R, S, 1 + K)
    task, noise, constant = weight[..., 1:], error[..., 1:], weight[..., 0]
    taken = task != 0
    legal = (fitted.known[..., 1] & ((task > 0) | ~taken).all(-1)) & taken.any(-1)
    code = torch.zeros_like(constant, dtype=torch.int64)
    for place, (loss, log) in enumerate(zip(LOSS_FACTOR, LOG_FACTOR, strict=True)):
        s = torch.where(taken, -(task / loss).log(), 0.0)
        doubt = log * torch.where(taken, noise / task, 0.0).sum(-1) + error[..., 0]
        agrees = (constant - log * s.sum(-1)).abs() <= SURE * doubt
        informative = doubt * SURE <= COARSE * constant.abs()
        code = code | torch.where(legal & agrees & informative, 8 << place, 0)
    return code


def _looks(x: Tensor) -> Tensor:
    """(R, ..., S) to (R, ..., N)."""
    return spread(x, LENGTH // LOOK)


def _first_place(holds: Tensor, skip: int = -1) -> Tensor:
    """(R, ., N) to (R, N): the first that holds, the number of them where none does."""
    places = torch.arange(holds.shape[1], device=holds.device)[:, None]
    return first_of(holds & (places != skip))


def _first(holds: Tensor, values: Tensor, skip: int = -1) -> Tensor:
    """(R, N): the value of the first that holds; NaN where none does."""
    place = _first_place(holds, skip)
    value = values.gather(1, place.clamp(max=holds.shape[1] - 1)[:, None])[:, 0]
    return value.masked_fill(place == holds.shape[1], torch.nan)


def _chosen(values: Tensor, which: Tensor, known: Tensor) -> Tensor:
    """(R, K, C) of (R, S, 1 + K, 2): of the fit ``which`` (R, N); NaN where not ``known`` (R, N)."""
    two = _looks(values[:, :, 1:].permute(0, 3, 2, 1))  # (R, 2, K, N)
    chosen = torch.where((which == 0)[:, None], two[:, 0], two[:, 1])
    return spread(chosen.masked_fill(~known[:, None], torch.nan), LOOK)
