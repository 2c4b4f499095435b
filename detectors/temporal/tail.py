"""How rare a number is among the numbers before it: peaks over a threshold, with a bounded memory.

Letters: R rows, T steps, J features. A feature ``q`` is taken as ``y = ((1 + q)^bend - 1) / bend``, the logarithm
where ``bend`` is 0, in which a power law has an exponential tail. Above a threshold (mean plus ``over`` standard
deviations of ``y``) the excess ``e`` follows the linear-hazard distribution, ``-log P(excess > e) = a e + b e^2``
(Bain 1974), fitted by its first two moments: ``m2 / (2 m1^2)`` is 1 for the exponential (b = 0) and 2 / pi for the
Rayleigh distribution (a = 0). The fit starts from what noise makes of the feature, and never takes a series for much
calmer than noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import after, decay_of, discounted_sums, weight_of

SUMS: Final = ("mean", "square", "number", "excess", "excess_square")
RAYLEIGH: Final = 2 / math.pi


@dataclass(frozen=True, slots=True)
class Prior:
    """What a mixture of white, Student-t3 and multiplicative noise makes of a feature, in ``y``."""

    bend: float
    settle: float
    """Values until half of what is seen is believed: several times the feature's own memory."""
    mean: float
    square: float
    number: float
    """Share of the values above the threshold."""
    excess: float
    """Mean excess of those."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Remembers ``tau`` values; the prior counts for ``weight`` of them, its shape for ``shape_weight`` excesses."""

    priors: tuple[Prior, ...]
    tau: float = 1500.0
    over: float = 1.5
    weight: float = 20.0
    shape_weight: float = 80.0
    least: float = 0.5
    """Part of the prior's threshold and excess below which a fit does not go."""
    least_rate: float = 0.01
    most: float = 9.0
    """An excess is remembered up to so many times the prior's, so that one anomaly does not hide the next."""

    def init(self, rows: int, like: Tensor) -> State:
        """Every tensor (R, J)."""
        return {name: like.new_zeros(rows, len(self.priors)) for name in SUMS}

    def update(
        self, state: State, q: Tensor, count: Tensor, known: Tensor, number: Tensor, taken: Tensor
    ) -> tuple[State, Tensor]:
        """New state, and the surprise ``-log P(Q >= q)`` of ``q`` (R, J, T) in nats, where ``known`` (R, T), before
        which ``number`` (R, T) were known."""
        decay = decay_of(self.tau)
        mean0, square0, number0, excess0, settle = (
            q.new_tensor([getattr(prior, name) for prior in self.priors])[:, None]
            for name in ("mean", "square", "number", "excess", "settle")
        )
        y = torch.stack([_bent(x, prior.bend) for x, prior in zip(q.unbind(1), self.priors, strict=True)], dim=1)
        y *= known[:, None]
        moments = torch.stack([y, y * y], dim=1)
        levels = discounted_sums(torch.stack([state["mean"], state["square"]], dim=1), moments, decay)
        mean, square = levels[..., :-1].unbind(1)
        weight = weight_of(number, decay)[:, None]
        n = weight + self.weight
        mu = (mean + self.weight * mean0).div_(n)
        variance = (square + self.weight * square0).div_(n).sub_(mu * mu).clamp_(min=0.0)
        floor = self.least * (mean0 + self.over * (square0 - mean0 * mean0).sqrt())
        limit = torch.maximum(variance.sqrt_().mul_(self.over).add_(mu), floor)
        excess = (y - limit).clamp_(min=0.0)
        kept = torch.minimum(excess, self.most * excess0)
        above = (excess > 0).to(q.dtype)
        tails = torch.stack([above, kept, kept * kept], dim=1)
        before = torch.stack([state[name] for name in SUMS[2:]], dim=1)
        peaks = discounted_sums(before, tails, decay)
        rare, first, second = peaks[..., :-1].unbind(1)
        believed = rare + self.weight * number0
        m1 = torch.maximum((first + self.weight * number0 * excess0).div_(believed), self.least * excess0)
        shape = (second / (m1 * m1)).mul_(0.5).add_(self.shape_weight).div_(rare + self.shape_weight)
        shape.clamp_(RAYLEIGH, 1.0)
        b = (1 - shape).mul_(math.pi / 4 / (1 - RAYLEIGH))  # a and b in units of m1
        a = 1 - shape.mul_(2).mul_(b)
        r = excess.div(m1)
        surprise = b.mul_(r).add_(a).mul_(r).sub_(believed.div_(n).clamp_(min=self.least_rate).log_())
        surprise *= above
        ends = (*after(levels, taken).unbind(1), *after(peaks, taken).unbind(1))
        part = count[:, None] / (count[:, None] + settle)
        return dict(zip(SUMS, ends, strict=True)), surprise.mul_(part)


def _bent(q: Tensor, bend: float) -> Tensor:
    if bend in {0.0, 1.0}:
        return q if bend else q.log1p()
    return ((1 + q) ** bend - 1) / bend
