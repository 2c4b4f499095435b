"""One series since its best, and what another one did meanwhile. Letters: R rows (pairs), T steps.

Validation that turns up while training goes on falling, a metric that drops while the loss improves, a region
that gets worse while the average gets better: the same question each time. Everything is signed so that lower is
better.

The best of n noisy levels lies below all others by chance alone, by about ``sqrt(2 ln n)`` standard deviations (the
expected minimum of n normal values; medians of five leave a fifth of them independent); a rise counts only beyond
that. Levels of a series that remembers stray further than its noise says: where there were enough values before the
best, how far they strayed until then counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, State
from detectors.evaluation.course import MEDIAN, WINDOW, Course, Standing
from detectors.recurrence import held, last, packed, unpacked

ABSURD: Final = 1e30
"""Beyond it a value is no measurement: it would stay the best for ever."""
REMEMBERED: Final = (
    "best",
    "best_step",
    "wander_then",
    "count_then",
    "reference_then",
    "reference_now",
    "reference_error",
    "first_reference",
)
FEW: Final = 32
"""Values before the best from which on their wandering is known in part."""
ENOUGH: Final = 96
"""And from which on in full."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """At every step (R, T), lower is better; NaN where not known."""

    judged: Tensor
    """Level of the judged series; NaN at steps at which it was not reported."""
    noise: Tensor
    """Standard deviation of one judged value."""
    count: Tensor
    """How many values were judged."""
    best: Tensor
    best_step: Tensor
    rise: Tensor
    """How far the judged series is above its best."""
    rise_limit: Tensor
    """What noise alone makes of that."""
    reference: Tensor
    """Level of the reference."""
    reference_then: Tensor
    """The reference when the judged series was at its best."""
    reference_error: Tensor
    """Standard deviation of the reference's level."""

    def known(self, warm_up: int) -> tuple[Tensor, Tensor]:
        """Where the judged series is, and where both are, after so many values of it."""
        judged = (self.count >= warm_up) & self.judged.isfinite()
        return judged, judged & self.reference.isfinite() & self.reference_then.isfinite()

    def worse(self, ratio: Tensor) -> Tensor:
        """Whether the judged series is above its best by a part ``ratio`` (R) of it, and by more than noise makes."""
        return (self.rise > ratio[:, None] * self.best.abs()) & (self.rise > self.rise_limit)

    def better(self, ratio: Tensor) -> Tensor:
        """Whether the reference has fallen since then, by a part ``ratio`` (R) and by more than its own noise."""
        fall = self.reference_then - self.reference
        return (fall > ratio[:, None] * self.reference_then.abs()) & (fall > 3 * self.reference_error)

    def rise_ratio(self) -> Tensor:
        """The rise as a part of the best, or of the noise where the best is near zero."""
        return self.rise / _size(torch.maximum(self.best.abs(), self.noise))

    def fall_ratio(self) -> Tensor:
        """By which part the reference is below what it was then."""
        return (self.reference_then - self.reference) / _size(self.reference_then)


@dataclass(frozen=True, slots=True)
class SinceBest:
    """``sigmas`` standard deviations of the level are what a rise must be beyond the one that chance makes."""

    course: Course = field(default_factory=Course)
    sigmas: float = 3.0

    def init(self, rows: int, like: Tensor) -> State:
        """Every tensor (R), two of them (R, W)."""
        state = {f"judged_{name}": value for name, value in self.course.init(rows, like).items()}
        state |= {f"reference_{name}": value for name, value in self.course.init(rows, like).items()}
        state |= {name: like.new_full((rows,), nan) for name in REMEMBERED}
        return state | {"best": like.new_full((rows,), inf)}

    def update(self, state: State, block: Block, sign: Tensor, reference_sign: Tensor) -> tuple[State, Comparison]:
        """Take T steps; ``sign`` (R) are what values are multiplied with so that lower is better."""
        judged_state, judged, seen = self._follow("judged", state, block, sign)
        reference_state, reference, told = self._follow("reference", state, block, reference_sign)
        level, noise, count, wander = (
            unpacked(x, seen) for x in (judged.level, judged.noise, judged.count, judged.wander)
        )
        now = held(unpacked(reference.level, told).nan_to_num(), told, state["reference_now"])
        error = held(unpacked(reference.noise * MEDIAN, told).nan_to_num(), told, state["reference_error"])
        first = torch.where(state["first_reference"].isnan(), _first(now), state["first_reference"])
        lowest, at = torch.where(seen & (count >= 3), level, inf).cummin(-1)  # a median of two is their lower one
        newer = (lowest <= state["best"][:, None]) & (lowest < inf)  # of equal ones the last, as cummin has it
        then = {
            "best": lowest,
            "best_step": block.step.gather(-1, at).to(lowest.dtype),
            "wander_then": wander.gather(-1, at),
            "count_then": count.gather(-1, at),
            "reference_then": now.gather(-1, at),
        }
        then = {name: torch.where(newer, value, state[name][:, None]) for name, value in then.items()}
        trusted = ((then["count_then"] - FEW) / (ENOUGH - FEW)).clamp(0.0, 1.0)
        deviation = torch.maximum(MEDIAN * noise, (trusted * then["wander_then"]).nan_to_num())
        limit = (self.sigmas + (2 * (count / WINDOW).clamp(min=2).log()).sqrt()) * deviation
        steps = block.mask.sum(-1)
        remembered = then | {"reference_now": now, "reference_error": error}
        state = judged_state | reference_state | {k: last(v, steps, state[k]) for k, v in remembered.items()}
        state["first_reference"] = first
        reference_then = torch.where(then["reference_then"].isnan(), first[:, None], then["reference_then"])
        best = then["best"]
        found = Comparison(
            level, noise, count, best, then["best_step"], level - best, limit, now, reference_then, error
        )
        return state, found

    def _follow(self, name: str, state: State, block: Block, sign: Tensor) -> tuple[State, Standing, Tensor]:
        """The course of the values that were reported, moved to the front; and where they stand in the block."""
        value, seen = signed(block, name, sign)
        own = {key: state[f"{name}_{key}"] for key in self.course.init(0, value)}
        front = packed(seen.to(value.dtype), seen) > 0
        after, standing = self.course.update(own, packed(value, seen), front, seen.sum(-1))
        return {f"{name}_{key}": value for key, value in after.items()}, standing, seen


def signed(block: Block, name: str, sign: Tensor) -> tuple[Tensor, Tensor]:
    """A series so that lower is better, and where it has a value that is one."""
    value = sign[:, None] * block.values[name]
    return value, block.mask & block.reported[name] & (value.abs() < ABSURD)


def _size(x: Tensor) -> Tensor:
    return x.abs().clamp(min=torch.finfo(x.dtype).tiny)


def _first(values: Tensor) -> Tensor:
    """(R, T) to each row's first value that is known (R), NaN where there is none."""
    known = ~values.isnan()
    at = known.to(torch.int8).argmax(-1, keepdim=True)
    return values.gather(-1, at).squeeze(-1)
