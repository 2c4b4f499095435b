"""One series since its best, and what another one did meanwhile. Letters: R rows (pairs), T steps.

Validation that turns up while training goes on falling, a metric that drops while the loss improves, a region
that gets worse while the average gets better: the same question each time. Everything is signed so that lower is
better.

The best of n noisy levels lies below all others by chance alone, by about ``sqrt(2 ln n)`` standard deviations (the
expected minimum of n normal values; medians of five leave a fifth of them independent); a rise counts only beyond
that. There are two levels: of five values, which is soon to tell, and a longer mean, which sees what noise hides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, nan
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, State, from_before, joined, part_of
from detectors.evaluation.course import WINDOW, Course, Standing
from detectors.recurrence import held, last, packed, unpacked

LEVELS: Final = ("level", "mean")
AT_BEST: Final = {f"{level}_step": tuple(f"{level}_{name}" for name in ("best", "then", "first")) for level in LEVELS}
"""What was seen at the best step or before: it stays what it was when a job goes back to a later one."""
ABSURD: Final = 1e30
"""Beyond it a value is no measurement: it would stay the best for ever."""
REMEMBERED: Final = tuple(
    f"{level}_{name}" for level in LEVELS for name in ("reference", "error", "first", "then", "step")
)
SETTLED: Final = 8
"""Values from which the longer mean is one."""
SPAN: Final = 16.0
"""Values after which it has forgotten what it was: as many are one of the n that the best is the best of."""
_Estimate = tuple[Tensor, Tensor]
"""A number and its standard deviation."""


@dataclass(frozen=True, slots=True)
class Level:
    """One series at every step (R, T), lower is better; NaN where not known."""

    now: Tensor
    best: Tensor
    """Its lowest."""
    limit: Tensor
    """What noise alone makes of how far it is above that."""
    reference: Tensor
    then: Tensor
    """The reference when this was at its best."""
    reference_error: Tensor
    """Standard deviation of the reference."""

    @property
    def rise(self) -> Tensor:
        """How far it is above its best."""
        return self.now - self.best

    def worse(self, ratio: Tensor) -> Tensor:
        """Whether it is above its best by a part ``ratio`` (R) of it, and by more than noise makes."""
        return (self.rise > ratio[:, None] * self.best.abs()) & (self.rise > self.limit)

    def better(self, ratio: Tensor) -> Tensor:
        """Whether the reference has fallen since then, by a part ``ratio`` (R) and by more than its own noise."""
        fall = self.then - self.reference
        return (fall > ratio[:, None] * self.then.abs()) & (fall > 3 * self.reference_error)

    def alone(self, ratio: Tensor) -> Tensor:
        """Whether it is `worse`, and the reference by less than half as much, if at all."""
        with_it = ((self.reference - self.then) / _size(self.then)).clamp(min=0)
        return self.worse(ratio) & (self.rise / _size(self.best) - 2 * with_it > ratio[:, None])


@dataclass(frozen=True, slots=True)
class Comparison:
    """At every step (R, T), lower is better; NaN where not known."""

    level: Level
    """The medians of five values."""
    mean: Level
    """The longer means."""
    noise: Tensor
    """Standard deviation of one judged value."""
    count: Tensor
    """How many values were judged."""
    best_step: Tensor
    """Step at which the level was best."""

    def known(self, warm_up: int) -> tuple[Tensor, Tensor]:
        """Where the judged series is, and where both are, after so many values of it."""
        judged = (self.count >= warm_up) & self.level.now.isfinite()
        return judged, judged & self.level.reference.isfinite() & self.level.then.isfinite()

    def parted(self, rise: Tensor, fall: Tensor, slow_rise: Tensor, slow_fall: Tensor) -> Tensor:
        """Whether the judged series became worse, and the reference did not.

        By ``rise`` while the reference got better by ``fall``, or by ``slow_rise`` while it got better by
        ``slow_fall`` (R); or the longer mean by ``rise``, whether or not the reference got better.
        """
        bad = self.mean.alone(rise)
        for level in (self.level, self.mean):
            bad = bad | (level.worse(rise) & level.better(fall)) | (level.worse(slow_rise) & level.better(slow_fall))
        return bad

    def rise_ratio(self) -> Tensor:
        """The rise as a part of the best, or of the noise where the best is near zero."""
        return self.level.rise / _size(torch.maximum(self.level.best.abs(), self.noise))

    def fall_ratio(self) -> Tensor:
        """By which part the reference is below what it was then."""
        return (self.level.then - self.level.reference) / _size(self.level.then)


@dataclass(frozen=True, slots=True)
class SinceBest:
    """``sigmas`` standard deviations of the level are what a rise must be beyond the one that chance makes, and
    ``long_sigmas`` of the longer mean."""

    course: Course = field(default_factory=Course)
    sigmas: float = 3.0
    long_sigmas: float = 2.0

    def init(self, rows: int, like: Tensor) -> State:
        """Every tensor (R), two of them (R, W)."""
        state = joined(judged=self.course.init(rows, like), reference=self.course.init(rows, like))
        state |= {name: like.new_full((rows,), nan) for name in REMEMBERED}
        return state | {name: like.new_full((rows,), inf) for name in ("level_best", "mean_best")}

    def rewind(self, now: State, then: State, step: int) -> State:
        """The best, and where the reference began, are known for good; see `detectors.cell.Rewinding`."""
        return from_before(now, then, step, AT_BEST)

    def update(self, state: State, block: Block, sign: Tensor, reference_sign: Tensor) -> tuple[State, Comparison]:
        """Take T steps; ``sign`` (R) are what values are multiplied with so that lower is better."""
        own, judged, seen = self._follow("judged", state, block, sign)
        others, reference, told = self._follow("reference", state, block, reference_sign)
        steps, count = block.mask.sum(-1), unpacked(judged.count, seen)
        step = block.step.to(count.dtype)

        def level(
            name: str, mine: _Estimate, other: _Estimate, least: int, sigmas: Tensor
        ) -> tuple[State, Level, Tensor]:
            """One level: its state, itself, and the step (R, T) of its best. It is one from ``least`` values on."""
            before = part_of(state, name)
            value, error = (unpacked(x, seen) for x in mine)
            there, doubt = (unpacked(x, told).nan_to_num() for x in other)
            now = held(there, told, before["reference"])
            first = torch.where(before["first"].isnan(), _first(now), before["first"])
            low = torch.where(seen & (count >= least), value, inf)
            every = lowest({"best": low, "then": now, "step": step}, before)
            every |= {"reference": now, "error": held(doubt, told, before["error"])}
            end = {key: last(x, steps, before[key]) for key, x in every.items()} | {"first": first}
            then = torch.where(every["then"].isnan(), first[:, None], every["then"])
            found = Level(value, every["best"], sigmas * error, now, then, every["error"])
            return joined(**{name: end}), found, every["step"]

        end, soon, best_step = level(
            "level",
            (judged.level, judged.level_error),
            (reference.level, reference.level_error),
            3,  # a median of two is their lower one
            self.sigmas + _chance(count / WINDOW),
        )
        longer, mean, _ = level(
            "mean",
            (judged.mean, judged.mean_error),
            (reference.mean, reference.mean_error),
            SETTLED,
            self.long_sigmas + _chance(count / SPAN),
        )
        return own | others | end | longer, Comparison(soon, mean, unpacked(judged.noise, seen), count, best_step)

    def _follow(self, name: str, state: State, block: Block, sign: Tensor) -> tuple[State, Standing, Tensor]:
        """The course of the values that were reported, moved to the front; and where they stand in the block."""
        value, seen = signed(block, name, sign)
        after, standing = self.course.update(part_of(state, name), packed(value, seen), seen.sum(-1))
        return joined(**{name: after}), standing, seen


def lowest(values: Mapping[str, Tensor], before: State) -> State:
    """The running minimum of the first of the ``values`` (R, T), infinite where it is not known, and what the others
    were there; ``before`` has what these were so far (R).

    >>> values = {"best": torch.tensor([[3.0, 1.0, 2.0]]), "step": torch.tensor([[7.0, 8.0, 9.0]])}
    >>> lowest(values, {"best": torch.tensor([2.5]), "step": torch.tensor([4.0])})["step"]
    tensor([[4., 8., 8.]])
    """
    first = next(iter(values))
    low, at = values[first].cummin(-1)
    newer = (low <= before[first][:, None]) & (low < inf)  # of equal ones the last, as cummin has it
    return {name: torch.where(newer, x.gather(-1, at), before[name][:, None]) for name, x in values.items()}


def signed(block: Block, name: str, sign: Tensor) -> tuple[Tensor, Tensor]:
    """A series so that lower is better, and where it has a value that is one."""
    value = sign[:, None] * block.values[name]
    return value, block.mask & block.reported[name] & (value.abs() < ABSURD)


def _chance(levels: Tensor) -> Tensor:
    """How many standard deviations the best of so many independent levels is below them by chance."""
    return (2 * levels.clamp(min=2).log()).sqrt()


def _size(x: Tensor) -> Tensor:
    return x.abs().clamp(min=torch.finfo(x.dtype).tiny)


def _first(values: Tensor) -> Tensor:
    """(R, T) to each row's first value that is known (R), NaN where there is none."""
    known = ~values.isnan()
    at = known.to(torch.int8).argmax(-1, keepdim=True)
    return values.gather(-1, at).squeeze(-1)
