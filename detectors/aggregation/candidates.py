"""What every formula without unknown parameters makes of the components of a step, and what rounding may make of that.

Letters: R rows, K components, B formulas (the order of `BASES`), C steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from detectors.streams import FORMS, VARIANTS

BASES: Final = ("sum", "mean", "weighted", "half", "full", "half_log", "declared", "ratio", "ratio_reversed", "trained")
SUM, MEAN, HALF, DECLARED, RATIO, TRAINED = (
    BASES.index(name) for name in ("sum", "mean", "half", "declared", "ratio", "trained")
)
CODES: Final = (1, 2, 4, 8, 16, 32, 0, 512, 512, 0)
"""Of each in `FORMULAS`; what is declared, of this phase or of the training phase, has the code of its form."""
LOSS_FACTOR: Final = (0.5, 1.0, 1.0)
"""What e^-s L is multiplied by, by variant of uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018)."""
LOG_FACTOR: Final = (0.5, 1.0, 0.5)
"""What s is multiplied by."""
ARITHMETIC: Final = 1e-6
"""Of the size of the terms: what summing in single precision may be off by."""
ROUNDED_WEIGHTS: Final = 2e-4
"""The same where weights or log variances come in, which are often logged to four digits."""
CLAMP: Final = 2.0
"""What log variances are clamped to in case B of the requirements, before they come into the total."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The numbers of each step, 0 where a component was not reported."""

    component: Tensor
    """(R, K, C)"""
    weight: Tensor
    log_var: Tensor | None
    """None where nobody reported one."""
    quantum: Tensor
    """(R, K, C): how precisely the component was reported."""
    reported: Tensor
    """(R, K, C) bool."""
    total_quantum: Tensor
    """(R, C)"""

    def count(self) -> Tensor:
        """How many components were reported, (R, C)."""
        return self.reported.sum(1, dtype=self.component.dtype)

    def squares(self) -> Tensor:
        """Sum of the squared log variances, (R, C)."""
        return self.unknown() if self.log_var is None else self.log_var.square().sum(1)

    def unknown(self) -> Tensor:
        """(R, C) NaN."""
        return self.total_quantum.new_full((), torch.nan).expand_as(self.total_quantum)


@dataclass(frozen=True, slots=True)
class Predicted:
    """(R, C) or, several formulas, (R, B, C). NaN or infinite where a formula cannot be told."""

    value: Tensor
    size: Tensor
    """Sum of the absolute terms."""
    slack: Tensor
    """How far the reported total may be off without contradicting the formula."""


def stacked(several: list[Predicted]) -> Predicted:
    """One behind the other."""
    return Predicted(*(torch.stack([getattr(one, name) for one in several], 1) for name in ("value", "size", "slack")))


def bases(parts: Parts, weighted: Predicted, facts: Mapping[str, Tensor]) -> Predicted:
    """Every formula of `BASES`; ``weighted`` is from `with_weights`; NaN here where it is the plain sum or the mean."""
    terms = _Terms.of(parts)
    plain, mean, variants = terms.plain, terms.mean, terms.variants
    same = ((weighted.value - plain.value).abs() <= weighted.size * ARITHMETIC) | (
        (weighted.value - mean.value).abs() <= weighted.size * ARITHMETIC
    )
    weighted = Predicted(weighted.value.masked_fill(same, torch.nan), weighted.size, weighted.slack)
    first, second = parts.component[:, 0], parts.component[:, min(1, parts.component.shape[1] - 1)]
    pair = parts.count() == 2
    ratios = [_product(parts, x.masked_fill(~pair, torch.nan), y) for x, y in ((first, second), (second, first))]
    own, trained = _declared(parts, terms, facts, ""), _declared(parts, terms, facts, "train_")
    return stacked([plain, mean, weighted, *variants, own, *ratios, trained])


def as_clamped(parts: Parts, total: Tensor, facts: Mapping[str, Tensor]) -> Parts:
    """The log variances within `CLAMP`, at steps whose ``total`` (R, C) uncertainty weighting makes of these only."""
    if parts.log_var is None:
        return parts
    own = parts.log_var.clamp(-CLAMP, CLAMP)
    clamped = replace(parts, log_var=own)
    fits = []
    for each in (parts, clamped):
        terms = _Terms.of(each)
        made = stacked([*terms.variants, _declared(each, terms, facts, ""), _declared(each, terms, facts, "train_")])
        fits.append(((total[:, None] - made.value).abs() <= made.slack).any(1))
    return replace(parts, log_var=torch.where((fits[1] & ~fits[0])[:, None], own, parts.log_var))


def with_weights(parts: Parts) -> Predicted:
    """The components with their weights of the step: reported, else declared, else 1."""
    return _linear(parts, parts.weight, ROUNDED_WEIGHTS)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What several formulas are made of."""

    plain: Predicted
    mean: Predicted
    variants: tuple[Predicted, ...]
    squares: Tensor
    """(R, C): sum of s^2."""

    @classmethod
    def of(cls, parts: Parts) -> _Terms:
        plain = _linear(parts, None, ARITHMETIC)
        share = 1 / parts.count().clamp(min=1)
        rounding = parts.total_quantum + share * (plain.slack - parts.total_quantum)
        mean = Predicted(plain.value * share, plain.size * share, rounding)
        if parts.log_var is None:
            none = parts.unknown()
            return cls(plain, mean, (Predicted(none, none, none),) * len(LOSS_FACTOR), none)
        tasks = _linear(parts, (-parts.log_var).exp() * parts.reported, ROUNDED_WEIGHTS)
        logs, sizes = parts.log_var.sum(1), parts.log_var.abs().sum(1)
        variants = tuple(
            Predicted(
                loss * tasks.value + log * logs,
                loss * tasks.size + log * sizes,
                parts.total_quantum + loss * (tasks.slack - parts.total_quantum) + log * sizes * ROUNDED_WEIGHTS,
            )
            for loss, log in zip(LOSS_FACTOR, LOG_FACTOR, strict=True)
        )
        return cls(plain, mean, variants, parts.squares())


def _declared(parts: Parts, terms: _Terms, facts: Mapping[str, Tensor], prefix: str) -> Predicted:
    """What a declaration makes of the components; NaN where there is none. ``prefix``: "" or ``train_``."""
    form, scale = facts[f"{prefix}form"][:, None], facts[f"{prefix}scale"][:, None]
    linear = _linear(parts, _weights(parts, facts, prefix), ROUNDED_WEIGHTS)
    variant = facts[f"{prefix}variant"].long().clamp(0, len(VARIANTS) - 1)[:, None]
    kendall = Predicted(
        *(_picked(variant, *(getattr(one, name) for one in terms.variants)) for name in ("value", "size", "slack"))
    )
    regularizer = facts[f"{prefix}regularizer"][:, None] * terms.squares
    kendall = Predicted(
        kendall.value + regularizer,
        kendall.size + regularizer.abs(),
        kendall.slack + regularizer.abs() * ROUNDED_WEIGHTS,
    )
    base, factor = (_slot(parts.component, facts[f"{prefix}{name}"]) for name in ("base", "factor"))
    ratio = _product(parts, base, factor)
    by_form = (linear, terms.mean, linear, kendall, ratio)
    value, size, slack = (
        _picked((form - 1).long().clamp(0, 4), *(getattr(one, name) for one in by_form))
        for name in ("value", "size", "slack")
    )
    slack = scale.abs() * (slack - parts.total_quantum) + parts.total_quantum
    return Predicted((scale * value).masked_fill(form == 0, torch.nan), scale.abs() * size, slack)


def _picked(which: Tensor, *several: Tensor) -> Tensor:
    """Of several (R, C) the one that ``which`` (R, 1) names."""
    found = several[0]
    for place, one in enumerate(several[1:], 1):
        found = torch.where(which == place, one, found)
    return found


def declared_code(facts: Mapping[str, Tensor], prefix: str) -> Tensor:
    """(R) int64: the code of the declared form in `FORMULAS`; 0 where none is declared."""
    form, weights = facts[f"{prefix}form"], facts[f"{prefix}declared"]
    taken = torch.arange(weights.shape[1], device=form.device) < facts["components"][:, None]
    count = facts["components"].clamp(min=1)[:, None]
    plain = ((weights == 1) | ~taken).all(1)
    even = (((weights - 1 / count).abs() < ARITHMETIC) | ~taken).all(1)
    variant = facts[f"{prefix}variant"].long().clamp(0, len(VARIANTS) - 1)
    kendall = torch.where(facts[f"{prefix}regularizer"] == 0, 8, 64) * 2**variant
    linear = torch.where(plain, 1, torch.where(even, 2, 4))
    code = torch.zeros_like(variant)
    by_form: dict[str, Tensor | int] = {"sum": 1, "mean": 2, "weighted_sum": linear, "kendall": kendall, "ratio": 512}
    for name, of in by_form.items():
        code = code + (form == FORMS.index(name)) * of
    return code


def _weights(parts: Parts, facts: Mapping[str, Tensor], prefix: str) -> Tensor:
    """(R, K, C) without the scale: as reported with the step where it was, else as declared."""
    own = facts["declared"].nan_to_num(1.0, torch.inf, -torch.inf)[..., None]
    of = own if not prefix else facts[f"{prefix}declared"].nan_to_num(1.0, torch.inf, -torch.inf)[..., None]
    told = parts.weight != facts["scale"][:, None, None] * own
    return torch.where(told, parts.weight, of) * parts.reported


def _linear(parts: Parts, weights: Tensor | None, arithmetic: float | Tensor) -> Predicted:
    terms = parts.component if weights is None else parts.component * weights
    noise = parts.quantum if weights is None else parts.quantum * weights.abs()
    size = terms.abs().sum(1)
    return Predicted(terms.sum(1), size, parts.total_quantum + noise.sum(1) + arithmetic * size)


def _product(parts: Parts, base: Tensor, factor: Tensor) -> Predicted:
    """``base * (1 + factor)``: each part's rounding times the size of the other."""
    noise = parts.quantum.sum(1)
    size = base.abs() * (1 + factor.abs())
    slack = parts.total_quantum + noise * (1 + factor.abs() + base.abs()) + ARITHMETIC * size
    return Predicted(base * (1 + factor), size, slack)


def _slot(component: Tensor, slot: Tensor) -> Tensor:
    """(R, C) the component of one slot of each row; NaN where it has none."""
    most = component.shape[1] - 1
    index = slot.long().clamp(0, most)[:, None, None].expand(-1, 1, component.shape[-1])
    return component.gather(1, index)[:, 0].masked_fill(((slot < 0) | (slot > most))[:, None], torch.nan)
