"""What the run-health detectors know of a series, once for all of them. Letters: R rows (series), T steps.

Averages are of the values as `detectors.series.reference` moves them into reach, so that no spike is in them. Losses
remember: see `detectors.trend` for the autocorrelation that is taken from successive differences, here as
``rho = 1 + 2 c`` with ``c = mean(d[t] d[t-1]) / mean(d[t]^2)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from detectors.cell import ROLES, Block, State
from detectors.recurrence import bounded, decay_of, discounted_sum, held, last, packed, previous, resolution
from detectors.series.reference import DEVIATION, FIRST, REACH, Reference, Referred, begin
from detectors.trend import MOST_CORRELATED

FAST: Final = 8.0
SLOW: Final = 48.0
RECORD_TAU: Final = 500.0
"""How long the largest rises are remembered."""
MOST_REMEMBERED: Final = 20.0
"""Noise scales: a real spike does not hide the next one for longer than this."""
LOGS: Final = 3.0
"""Bound of a log ratio: zero and below count as a twentieth of the level."""
ROOM: Final = 0.35
"""Standard deviation of ``fast`` less its own minimum, in noise scales: the root of twice the variance of ``fast``."""
BEST_FROM: Final = 12
CALM_FROM: Final = 24
"""Values from which the extremes are worth remembering."""
SUMS: Final = ("fast", "slow", "square", "product", "logs")
EXTREMES: Final = ("best", "calm")


@dataclass(frozen=True, slots=True)
class Past:
    """At every step, each (R, T); (R, 1) what is known of the row. Lower is better: the others are turned round."""

    value: Tensor
    number: Tensor
    """Counts the finite values from 1."""
    role: Tensor
    """(R, 1) place in `detectors.cell.ROLES`."""
    directed: Tensor
    """(R, 1) bool: it is known, or a matter of course, which way is worse."""
    start: Tensor
    """(R, 1) median of the first values."""
    level: Tensor
    """What ``value`` is compared with; made of the values before it, as are the next three."""
    scale: Tensor
    log_scale: Tensor
    """Standard deviation of log(value / level); zero where it does not exist."""
    record: Tensor
    """The largest rise so far, in noise scales, slowly forgotten."""
    fast: Tensor
    slow: Tensor
    noise: Tensor
    """Standard deviation of one value, from successive differences."""
    alternation: Tensor
    """``-c``: 0.5 on independent values, 1 where every value is on the other side of the last."""
    wander: Tensor
    """How much further means go because values remember."""
    best: Tensor
    """The smallest ``fast``."""
    calm: Tensor
    """The smallest ``noise``."""
    anchor: Tensor
    """``slow`` when the series had between a half and a quarter of its values; NaN before value 32."""

    def size(self, of: Tensor) -> Tensor:
        """``of`` as what a change is relative to: at least a hundredth of where the run began."""
        return torch.maximum(of.abs(), 0.01 * self.start.abs()).clamp(min=torch.finfo(of.dtype).tiny)


@dataclass(frozen=True, slots=True)
class Memory:
    """Makes a `Past`, block by block."""

    reference: Reference = field(default_factory=Reference)
    first_anchor: int = 16

    def init(self, rows: int, like: Tensor) -> State:
        """Some 30 numbers a row."""
        zeros = (*SUMS, "count", "record", "log_scale", "within", "difference")
        state = {name: like.new_zeros(rows) for name in zeros}
        state |= {name: like.new_full((rows,), torch.inf) for name in EXTREMES}
        state |= {name: like.new_full((rows,), torch.nan) for name in ("anchor", "newer")}
        return state | {"first": like.new_zeros(rows, FIRST)} | self.reference.init(rows, like)

    def update(self, state: State, block: Block) -> tuple[State, Past, Tensor]:
        """The new state, the past at every finite value, packed to the front, and which values are finite (R, T)."""
        value, direction = block.values["value"], block.facts["direction"]
        valid = block.mask & value.isfinite()
        steps = valid.sum(-1)
        turn = torch.where(direction > 0, -1.0, 1.0).to(value.dtype)[:, None]
        x = packed(torch.where(valid, bounded(value) * turn, 0.0), valid)
        there = torch.arange(x.shape[1], device=x.device) < steps[:, None]
        number = state["count"][:, None] + torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
        first = _filled(state["first"], x, number, there)
        end, referred = self.reference.update(_of(state, "level", "scale", "beyond"), x, number, first, steps)
        sums, within, difference = self._sums(state, x, number, first, referred)
        weight = {tau: (1 - decay_of(tau) ** number) / (1 - decay_of(tau)) for tau in (FAST, SLOW)}
        fast, slow = sums["fast"] / weight[FAST], sums["slow"] / weight[SLOW]
        alternation = -sums["product"] / sums["square"].clamp(min=torch.finfo(x.dtype).tiny)
        rho = (1 - 2 * alternation).clamp(0.0, MOST_CORRELATED)
        noise = torch.maximum((0.5 * sums["square"] / weight[SLOW]).sqrt(), resolution(slow))
        scale = torch.maximum(referred.scale, resolution(referred.level))
        rise = torch.where(number > FIRST, ((x - referred.level) / scale).clamp(0.0, MOST_REMEMBERED), 0.0)
        log_scale = DEVIATION * sums["logs"] / weight[SLOW]
        record = _remembered(state["record"], rise)
        low = {
            "best": _least(state["best"], fast, number >= BEST_FROM),
            "calm": _least(state["calm"], noise, number >= CALM_FROM),
        }
        anchors, newer = self._anchors(state, slow, number)
        role = block.facts["role"][:, None]
        past = Past(
            value=x,
            number=number,
            role=role,
            directed=(role == ROLES.index("total")) | (role == ROLES.index("component")) | (direction[:, None] != 0),
            start=first.median(-1, keepdim=True).values,
            level=referred.level,
            scale=scale,
            log_scale=previous(log_scale, state["log_scale"]),
            record=previous(record, state["record"]),
            fast=fast,
            slow=slow,
            noise=noise,
            alternation=alternation,
            wander=(1 + rho).sqrt() / (1 - rho),
            best=low["best"],
            calm=low["calm"],
            anchor=anchors,
        )
        ends = sums | low | {"log_scale": log_scale, "record": record, "within": within, "difference": difference}
        ends |= {"anchor": anchors, "newer": newer}
        end |= {name: last(series, steps, state[name]) for name, series in ends.items()}
        return end | {"first": first, "count": state["count"] + steps}, past, valid

    def _sums(
        self, state: State, x: Tensor, number: Tensor, first: Tensor, referred: Referred
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The discounted sums, and the values and differences they are made of; the first values come in at once."""
        level, noise = begin(first)
        early = torch.minimum(torch.maximum(first, (level - 2 * REACH * noise)[:, None]), (level + 2 * REACH * noise)[:, None])
        steps = early.diff(dim=-1)
        opening = {
            "fast": _discounted(early, FAST),
            "slow": _discounted(early, SLOW),
            "square": _discounted(steps**2, SLOW),
            "product": _discounted(steps[:, 1:] * steps[:, :-1], SLOW),
            "logs": _discounted(_logs(early, level[:, None]).abs(), SLOW),
        }
        begun, ready = number == FIRST, number > FIRST
        w = torch.where(ready, referred.within, early[:, -1:])
        d = torch.where(ready, w - previous(w, state["within"]), steps[:, -1:])
        terms = {
            "fast": w,
            "slow": w,
            "square": d**2,
            "product": d * previous(d, state["difference"]),
            "logs": _logs(x, referred.level).abs(),
        }
        sums = {}
        for name, term in terms.items():
            term = torch.where(ready, term, torch.where(begun, opening[name][:, None], 0.0))
            sums[name] = discounted_sum(state[name], term, decay_of(FAST if name == "fast" else SLOW))
        return sums, w, d

    def _anchors(self, state: State, slow: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """``slow`` at the last but one and at the last of the numbers 16, 32, 64, ..."""
        doublings = (number / self.first_anchor).log2()
        at = (doublings >= 0) & (doublings == doublings.round())
        newer = held(slow, at, state["newer"])
        return held(previous(newer, state["newer"]), at, state["anchor"]), newer


def _of(state: State, *names: str) -> State:
    return {name: state[name] for name in names}


def _filled(first: Tensor, x: Tensor, number: Tensor, there: Tensor) -> Tensor:
    """The first values (R, N), with those of this block."""
    place = torch.where(there & (number <= FIRST), number - 1, FIRST).long()  # the last place is thrown away
    return torch.cat([first, first[:, :1]], dim=-1).scatter(1, place, x)[:, :FIRST]


def _discounted(x: Tensor, tau: float) -> Tensor:
    """The discounted sum of the last dimension at its end."""
    ages = torch.arange(x.shape[-1] - 1, -1, -1, dtype=x.dtype, device=x.device)
    return (x * decay_of(tau) ** ages).sum(-1)


def _logs(x: Tensor, level: Tensor) -> Tensor:
    """log(x / level), bounded; 0 where there is none because the level is not above zero."""
    tiny = torch.finfo(x.dtype).tiny
    ratio = (x.clamp(min=tiny) / level.clamp(min=tiny)).log().clamp(-LOGS, LOGS)
    return torch.where(level > 0, ratio, 0.0)


def _remembered(before: Tensor, rise: Tensor) -> Tensor:
    """The largest ``rise`` so far, each worth less by ``exp(-1 / RECORD_TAU)`` with every value."""
    ages = torch.arange(1, rise.shape[-1] + 1, dtype=rise.dtype, device=rise.device)
    fading = decay_of(RECORD_TAU) ** ages
    return torch.maximum((rise / fading).cummax(-1).values, before[:, None]) * fading


def _least(before: Tensor, x: Tensor, counts: Tensor) -> Tensor:
    """The smallest so far of those that count."""
    return torch.minimum(torch.where(counts, x, torch.inf).cummin(-1).values, before[:, None])
