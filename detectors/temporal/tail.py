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
from detectors.recurrence import decay_of, discounted_sum, last, previous

SUMS: Final = ("weight", "mean", "square", "number", "excess", "excess_square")
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

    def update(self, state: State, q: Tensor, count: Tensor, known: Tensor, taken: Tensor) -> tuple[State, Tensor]:
        """New state, and the surprise ``-log P(Q >= q)`` of ``q`` (R, J, T) in nats, where ``known`` (R, T)."""
        decay, ones = decay_of(self.tau), known[:, None].expand_as(q).to(q.dtype)
        mean0, square0, number0, excess0, settle = (
            q.new_tensor([getattr(prior, name) for prior in self.priors])[:, None]
            for name in ("mean", "square", "number", "excess", "settle")
        )
        y = torch.stack(
            [_bent(x, prior.bend) for x, prior in zip((q * ones).unbind(1), self.priors, strict=True)], dim=1
        )

        def sums(name: str, term: Tensor) -> tuple[Tensor, Tensor]:
            total = discounted_sum(state[name], term, decay)
            return total, previous(total, state[name])

        weights, weight = sums("weight", ones)
        means, mean = sums("mean", y)
        squares, square = sums("square", y * y)
        n = weight + self.weight
        mu = (mean + self.weight * mean0) / n
        deviation = ((square + self.weight * square0) / n - mu * mu).clamp(min=0.0).sqrt()
        floor = mean0 + self.over * (square0 - mean0 * mean0).sqrt()
        excess = (y - torch.maximum(mu + self.over * deviation, self.least * floor)).clamp(min=0.0)
        kept = torch.minimum(excess, self.most * excess0)
        numbers, number = sums("number", (excess > 0).to(q.dtype))
        firsts, first = sums("excess", kept)
        seconds, second = sums("excess_square", kept * kept)
        believed = number + self.weight * number0
        rate = (believed / n).clamp(min=self.least_rate)
        m1 = torch.maximum((first + self.weight * number0 * excess0) / believed, self.least * excess0)
        shape = (second / (2 * m1 * m1) + self.shape_weight) / (number + self.shape_weight)
        b = (math.pi / 4) * (1 - shape.clamp(RAYLEIGH, 1.0)) / (1 - RAYLEIGH)  # a and b in units of m1
        a = 1 - 2 * shape.clamp(RAYLEIGH, 1.0) * b
        r = excess / m1
        surprise = torch.where(excess > 0, a * r + b * r * r - rate.log(), 0.0)
        after = dict(zip(SUMS, (weights, means, squares, numbers, firsts, seconds), strict=True))
        end = {name: last(value, taken, state[name]) for name, value in after.items()}
        return end, surprise * (count[:, None] / (count[:, None] + settle))


def _bent(q: Tensor, bend: float) -> Tensor:
    return ((1 + q) ** bend - 1) / bend if bend else q.log1p()
