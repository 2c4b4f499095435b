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

from detectors.cell import Block, State
from detectors.recurrence import (
    bounded,
    decay_of,
    discounted_sum,
    last,
    least,
    newest,
    packed,
    previous,
    resolution,
    since,
)
from detectors.series import stretch
from detectors.series.reference import DEVIATION, FIRST, REACH, Reference, begin
from detectors.series.stretch import Stretch
from detectors.trend import MOST_CORRELATED

FAST: Final = 8.0
SLOW: Final = 48.0
LONG: Final = 96.0
RECORD_TAU: Final = 2000.0
"""How long the largest jumps are remembered."""
MOST_RISE: Final = 12.0
MOST_FALL: Final = 8.0
"""Bounds of what is remembered, in noise scales: no spike and no drop of the learning rate hides the next spike."""
WINDOW: Final = 16
"""Values in which a rise and the fall that ends it belong together."""
LOGS: Final = 3.0
"""Bound of a log ratio: zero and below count as a twentieth of the level."""
ROOM: Final = 0.35
"""Standard deviation of ``fast`` less its own minimum, in noise scales: the root of twice the variance of ``fast``."""
BEST_FROM: Final = 12
CALM_FROM: Final = 24
"""Values from which the extremes are worth remembering."""
TAUS: Final = {"fast": FAST, "slow": SLOW, "square": LONG, "product": LONG, "logs": SLOW, "surprise": SLOW}
EXTREMES: Final = ("best", "calm")


@dataclass(frozen=True, slots=True)
class Past:
    """At every step, each (R, T); (R, 1) what is known of a row. Values have the other sign where higher is better."""

    value: Tensor
    number: Tensor
    """Counts the finite values from 1."""
    role: Tensor
    """(R, 1) place in `detectors.streams.ROLES`."""
    direction: Tensor
    """(R, 1) as in `detectors.streams.FACTS`."""
    alone: Tensor
    """(R, 1) likewise."""
    start: Tensor
    """(R, 1) median of the first values."""
    level: Tensor
    """What ``value`` is compared with; made of the values before it, as are the next four."""
    scale: Tensor
    log_scale: Tensor
    """Standard deviation of log(value / level); zero where it does not exist."""
    expected: Tensor
    """The level, and so much of the last value's distance from it as values remember."""
    surprise: Tensor
    """Standard deviation of values around ``expected``."""
    jump: Tensor
    """``value`` less ``expected``, in such standard deviations."""
    risen: Tensor
    """The largest jump of the `WINDOW` values before."""
    record: Tensor
    """The largest jump before those, up or down, slowly forgotten."""
    before: Tensor
    """The value before."""
    stretch: Stretch
    """Of values in reach of their level."""
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
    best_logs: Tensor
    best_noise: Tensor
    """``log_scale``, and ``noise * wander``, when it was reached: a rise would be noise, too."""
    best_step: Tensor
    """The step at which it was."""
    calm: Tensor
    """The smallest ``noise``."""
    anchor: Tensor
    """``slow`` when the series had between a half and a quarter of its values; NaN before value 48."""

    def size(self, of: Tensor) -> Tensor:
        """``of`` as what a change is relative to: at least a hundredth of where the run began."""
        return torch.maximum(of.abs(), 0.01 * self.start.abs() + torch.finfo(of.dtype).tiny)


@dataclass(frozen=True, slots=True)
class Memory:
    """Makes a `Past`, block by block."""

    reference: Reference = field(default_factory=Reference)
    first_anchor: int = 24

    def init(self, rows: int, like: Tensor) -> State:
        """Some 75 numbers a row."""
        zeros = (*TAUS, "count", "record", "log_scale", "deviation", "best_logs", "best_noise", "best_step", "within")
        state = {name: like.new_zeros(rows) for name in (*zeros, "difference")}
        state |= {name: like.new_full((rows,), torch.inf) for name in EXTREMES}
        state |= {name: like.new_full((rows,), torch.nan) for name in ("anchor", "newer")}
        state |= {"first": like.new_zeros(rows, FIRST), "jumps": like.new_zeros(rows, WINDOW)}
        state |= {"newest": like.new_zeros(rows)} | stretch.init(rows, like)
        return state | self.reference.init(rows, like)

    def update(self, state: State, block: Block) -> tuple[State, Past, Tensor]:
        """The new state, the past at every finite value, packed to the front, and which values are finite (R, T)."""
        value, direction = block.values["value"], block.facts["direction"]
        valid = block.mask & value.isfinite()
        steps = valid.sum(-1)
        turn = torch.where(direction > 0, -1.0, 1.0).to(value.dtype)[:, None]
        x = packed(torch.where(valid, bounded(value) * turn, 0.0), valid)
        there = torch.arange(x.shape[1], device=x.device) < steps[:, None]
        count = state["count"][:, None]
        number = count + torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
        first = _filled(state["first"], x, number, there)
        end, referred = self.reference.update(_of(state, "level", "scale", "beyond"), x, number, first, steps)
        level, w = referred.level, referred.within
        ready = (number > FIRST).to(x.dtype)
        before = self._begun(state, first)
        last_within = previous(w, before["within"])
        d = w - last_within
        drifting = {"square": d**2, "product": d * previous(d, before["difference"])}
        sums = {name: discounted_sum(before[name], term, decay_of(LONG)) for name, term in drifting.items()}
        alternation = _alternation(sums)
        rho = _correlation(alternation)
        expected = torch.lerp(level, last_within, previous(rho, _correlation(_alternation(before))))
        terms = {"fast": w * ready, "logs": _logs(w, level).abs_(), "surprise": (w - expected).abs_()}
        terms["slow"] = terms["fast"]
        sums |= {name: discounted_sum(before[name], term, decay_of(TAUS[name])) for name, term in terms.items()}
        weight = {tau: _weight(count, x.shape[1], tau) for tau in (FAST, SLOW, LONG)}
        fast, slow = sums["fast"] / weight[FAST], sums["slow"] / weight[SLOW]
        noise = torch.maximum((0.5 * sums["square"] / weight[LONG]).sqrt_(), resolution(slow))
        deviation = DEVIATION * sums["surprise"] / weight[SLOW]
        surprise = torch.maximum(previous(deviation, state["deviation"]), resolution(level))
        jump = torch.where(number > FIRST, (x - expected) / (surprise + torch.finfo(x.dtype).tiny), 0.0)
        jumps = torch.cat([state["jumps"], jump.clamp(-MOST_FALL, MOST_RISE)], -1)
        stretch_state, stretched = stretch.update(_of(state, "recent", "contrast"), terms["fast"], number, steps)
        ends = sums | {
            "within": w,
            "difference": d,
            "log_scale": DEVIATION * sums["logs"] / weight[SLOW],
            "deviation": deviation,
            "record": _remembered(state["record"], jumps[:, :-WINDOW].abs()),
            "best": least(fast, number >= BEST_FROM, state["best"]),
            "calm": least(noise, number >= CALM_FROM, state["calm"]),
        }
        wander = (1 + rho).sqrt_() / (1 - rho)
        reached = newest(fast <= ends["best"])
        at_best = {
            "best_logs": ends["log_scale"],
            "best_noise": noise * wander,
            "best_step": packed(block.step.to(x.dtype), valid),
        }
        ends |= {name: since(now, reached, state[name]) for name, now in at_best.items()}
        anchors = self._anchors(state, slow, count, steps)
        past = Past(
            value=x,
            number=number,
            role=block.facts["role"][:, None],
            direction=direction[:, None],
            alone=block.facts["alone"][:, None],
            start=first.median(-1, keepdim=True).values,
            level=level,
            scale=torch.maximum(referred.scale, resolution(level)),
            expected=expected,
            surprise=surprise,
            jump=jump,
            risen=_largest(jumps[:, :-1]),
            before=previous(x, state["newest"]),
            stretch=stretched,
            log_scale=previous(ends["log_scale"], state["log_scale"]),
            record=previous(ends["record"], state["record"]),
            fast=fast,
            slow=slow,
            noise=noise,
            alternation=alternation,
            wander=wander,
            best=ends["best"],
            best_logs=ends["best_logs"],
            best_noise=ends["best_noise"],
            best_step=ends["best_step"],
            calm=ends["calm"],
            anchor=anchors.pop("series"),
        )
        end |= anchors | {name: last(series, steps, state[name]) for name, series in ends.items()}
        end |= {"first": first, "count": state["count"] + steps, "newest": last(x, steps, state["newest"])}
        end["jumps"] = jumps.gather(1, steps[:, None] + torch.arange(WINDOW, device=x.device))
        return end | stretch_state, past, valid

    def _begun(self, state: State, first: Tensor) -> State:
        """The state, or where the first values are complete only now, what it would have to be to end in theirs."""
        level, noise = begin(first)
        reach = 2 * REACH * noise
        early = torch.minimum(torch.maximum(first, (level - reach)[:, None]), (level + reach)[:, None])
        steps = early.diff(dim=-1)
        opening = {
            "fast": _discounted(early, FAST),
            "slow": _discounted(early, SLOW),
            "square": _discounted(steps**2, LONG),
            "product": _discounted(steps[:, 1:] * steps[:, :-1], LONG),
            "logs": _discounted(_logs(early, level[:, None]).abs(), SLOW),
            "surprise": _discounted(steps.abs(), SLOW) / 2**0.5,
        }
        missing = (FIRST - state["count"]).clamp(min=0)
        opening = {name: value / decay_of(TAUS[name]) ** missing for name, value in opening.items()}
        opening |= {"within": level, "difference": torch.zeros_like(level)}
        return {name: torch.where(missing > 0, value, state[name]) for name, value in opening.items()}

    def _anchors(self, state: State, slow: Tensor, count: Tensor, steps: Tensor) -> State:
        """``anchor`` and ``newer`` (R): ``slow`` at the last but one and last of the numbers 24, 48, 96, ...; and
        ``series`` (R, T), the anchor at every step.
        """
        length = slow.shape[1]
        doubled = (count / self.first_anchor).clamp(min=0.5).log2().floor() + 1
        due = self.first_anchor * 2**doubled  # (R, 1) the first one that is not behind
        place = torch.arange(1, length + 1, dtype=slow.dtype, device=slow.device)
        anchor, newer = state["anchor"][:, None], state["newer"][:, None]
        end_anchor, end_newer = anchor, newer
        series = anchor.expand_as(slow)
        for _ in range(
            ((self.first_anchor - 1 + length) // self.first_anchor).bit_length()
        ):  # as many as a block can hold
            at = due - count
            reached = at <= steps[:, None]
            series = torch.where(place >= at, newer, series)
            end_anchor = torch.where(reached, newer, end_anchor)
            newer = slow.gather(1, (at.clamp(max=length).long() - 1))
            end_newer = torch.where(reached, newer, end_newer)
            due = 2 * due
        return {"anchor": end_anchor.squeeze(1), "newer": end_newer.squeeze(1), "series": series}


def _alternation(sums: State) -> Tensor:
    return sums["product"] / sums["square"].clamp(min=torch.finfo(sums["square"].dtype).tiny).neg_()


def _correlation(alternation: Tensor) -> Tensor:
    return (1 - 2 * alternation).clamp_(0.0, MOST_CORRELATED)


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
    ratio = (x.clamp(min=tiny) / level.clamp(min=tiny)).log_().clamp_(-LOGS, LOGS)
    return ratio.mul_(level > 0)


def _weight(count: Tensor, length: int, tau: float) -> Tensor:
    """The discounted sum of as many ones as there were values: (R, T)."""
    ages = torch.arange(1, length + 1, dtype=count.dtype, device=count.device)
    decay = decay_of(tau)
    return (1 - decay**count * decay**ages) / (1 - decay)


def _largest(jumps: Tensor) -> Tensor:
    """Of `WINDOW` in a row: (R, T + `WINDOW` - 1) to (R, T)."""
    width = 1
    while width < WINDOW:
        jumps = torch.maximum(jumps[:, width:], jumps[:, :-width])
        width *= 2
    return jumps


def _remembered(before: Tensor, jump: Tensor) -> Tensor:
    """The largest ``jump`` so far, each worth less by ``exp(-1 / RECORD_TAU)`` with every value."""
    ages = torch.arange(1, jump.shape[-1] + 1, dtype=jump.dtype, device=jump.device)
    fading = decay_of(RECORD_TAU) ** ages
    return torch.maximum((jump / fading).cummax(-1).values, before[:, None]) * fading
