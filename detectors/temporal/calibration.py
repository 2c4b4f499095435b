"""From surprise to rarity: how often a series shows so much, by what it has shown so far. Letters: R rows, T steps.

Tails that were fitted feature by feature say about the same for all series, but not quite: the largest of several
features, a memory of a thousand values and noise whose size wanders bend the far end. Here the surprises themselves are
counted: those over a threshold, and by how much, with an exponential tail (peaks over threshold, as SPOT has it;
Siffer et al. 2017). It starts from what noise of many kinds gives, so that a short series is judged by that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import after, decay_of, discounted_sums, last, previous, weight_of

SUMS: Final = ("rare", "uncensored", "excess")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Chosen on the development runs of ``bench.temporal``; docs/temporal.md shows what holds.

    A surprise counts only where it is above all before it, each faded by its age: what an anomaly leaves behind is not
    told again. An excess is remembered up to ``most`` and then counts as censored, so that an anomaly does not hide the
    next.
    """

    fading: float = 60.0
    tau: float = 5000.0
    """Values that are remembered."""
    threshold: float = 6.0
    """Nats of surprise."""
    rate: float = 0.005
    """Share of the values that are over the threshold, at the start; counts for ``weight`` values."""
    weight: float = 1000.0
    mean: float = 1.5
    """Mean excess at the start; counts for ``excesses`` of them."""
    excesses: float = 30.0
    most: float = 9.0
    least_mean: float = 0.8
    most_mean: float = 4.0

    def init(self, rows: int, like: Tensor) -> State:
        """Sums, and ``peak``, the faded log of the largest surprise; every tensor (R)."""
        return {name: like.new_zeros(rows) for name in SUMS} | {"peak": like.new_full((rows,), -math.inf)}

    def update(self, state: State, surprise: Tensor, number: Tensor, taken: Tensor) -> tuple[State, Tensor]:
        """New state, and the logarithm of the rarity of ``surprise`` (R, T), in steps; 0 where it does not count.
        ``number`` (R, T) were judged before each."""
        decay = decay_of(self.tau)
        counted, peak = self._counted(state["peak"], surprise)
        over = counted > self.threshold
        excess = (counted - self.threshold).clamp_(min=0.0)
        told = torch.stack([over, over & (excess < self.most), excess.clamp(max=self.most)], dim=1)
        sums = discounted_sums(torch.stack([state[name] for name in SUMS], dim=1), told, decay)
        rare, uncensored, total = sums[..., :-1].unbind(1)
        rate = (rare + self.weight * self.rate) / (weight_of(number, decay) + self.weight)
        mean = (total + self.excesses * self.mean) / (uncensored + self.excesses)
        mean.clamp_(self.least_mean, self.most_mean)
        nats = excess / mean - rate.log_() * (counted / self.threshold).clamp_(max=1.0)
        end = dict(zip(SUMS, after(sums, taken).unbind(1), strict=True))
        return end | {"peak": last(peak, taken, state["peak"])}, nats

    def _counted(self, before: Tensor, surprise: Tensor) -> tuple[Tensor, Tensor]:
        """``surprise`` where it counts, else 0; the faded peaks (R, T)."""
        log = surprise.clamp(min=torch.finfo(surprise.dtype).tiny).log_()  # of 0 it takes ten times as long
        age = torch.arange(surprise.shape[-1], device=surprise.device) / self.fading
        rising = (log + age).cummax(-1).values
        peak = torch.maximum(rising - age, before[:, None] - age - 1 / self.fading)
        return surprise * (log >= previous(peak, before) - 1 / self.fading), peak
