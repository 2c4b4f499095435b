"""What can be odd about a series, as numbers that grow with how odd it is. Letters: R rows, T steps, J features.

All are in units of the series' own noise, so that the same number means much the same for every series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.cell import State
from detectors.recurrence import after, decay_of, discounted_sums, last, previous, weight_of
from detectors.temporal.forecast import Forecast

FEATURES: Final = ("spike", "shift", "drift", "creep", "variance", "oscillation", "freeze")
WARM: Final = 12
"""Values before an error counts."""
USUAL_SWING: Final = 0.86
"""Mean of the absolute error, clipped, on white noise."""
PRIOR: Final = 20.0
"""Values that this counts for at the start."""
STEEP: Final = 5.0
MILD: Final = 0.2
"""Slopes per value, over the scale, count up to this: as a drift, and as the slope that is usual."""


@dataclass(frozen=True, slots=True)
class Features:
    """Time constants are in values; chosen on the development runs of ``bench.temporal``.

    - spike: the forecast's error.
    - shift: the level moved between two windows otherwise than it usually does.
    - drift, creep: the level moves on and on.
    - variance: errors larger than usual. oscillation: errors that change their sign more often than usual.
    - freeze: one value over and over, by how improbable that is in nats.

    A change for the better counts ``usual_good`` of one for the worse: learning rates are lowered. Where it is a
    ``leap`` of most of the level it counts fully: that is too good to be true.
    """

    drift: float = 40.0
    creep: float = 160.0
    swing: float = 10.0
    turns: float = 16.0
    usual: float = 250.0
    wobble: float = 80.0
    patience: float = 7.0
    """Equal values that prove nothing."""
    clip: float = 3.5
    usual_good: float = 0.05
    leap: float = 0.8

    @property
    def _taus(self) -> dict[str, float]:
        """Of the sums, by name."""
        taus = {"drift": self.drift, "usual_slope": self.drift, "creep": self.creep, "swing": self.swing}
        taus |= {"turns": self.turns, "wobble": self.wobble}
        return taus | dict.fromkeys(("usual_swing", "usual_turns", "same"), self.usual)

    def init(self, rows: int, like: Tensor, wide: Tensor) -> State:
        """Every tensor (R); ``newest`` with the dtype of ``wide``."""
        narrow = {name: like.new_zeros(rows) for name in (*self._taus, "error", "frozen", "moved")}
        return narrow | {"newest": wide.new_zeros(rows)}

    def update(
        self, state: State, x: Tensor, forecast: Forecast, direction: Tensor, count: Tensor, taken: Tensor
    ) -> tuple[State, Tensor, Tensor, Tensor]:
        """New state; the features (R, J, T), none below 0; how much of a noise there is in the series, 0 for a schedule
        to 1; the sign of the change (R, T). ``x`` may be of a wider dtype: what is equal is told by it."""
        real = torch.arange(x.shape[-1], device=x.device) < taken[:, None]
        warm, bad = real & (count >= WARM), -direction[:, None]
        error = torch.where(warm, forecast.error, 0.0)
        near = error.clamp(-self.clip, self.clip)
        before = previous(near, state["error"])
        slope = torch.where(warm, forecast.slope.clamp(-STEEP, STEEP), 0.0)
        known = real & (count > 0)
        moved = torch.where(known, torch.sign(x - previous(x, state["newest"])), 0.0).to(near.dtype)
        same = known & (moved == 0)
        facing = torch.where(bad == 0, 1.0, bad)
        terms = {
            "drift": slope,
            "usual_slope": slope.clamp(-MILD, MILD),
            "creep": slope,
            "swing": torch.maximum(facing * near, torch.where(bad == 0, -self.clip, -1.5)).abs_(),
            "turns": -near.clamp(-1, 1) * before.clamp(-1, 1),
            "wobble": (moved * previous(moved, state["moved"]) < 0).to(near.dtype),
            "same": same.to(near.dtype),
        }
        terms |= {"usual_swing": terms["swing"], "usual_turns": terms["turns"]}
        sums = {name: discounted_sums(state[name], terms[name], decay_of(tau)) for name, tau in self._taus.items()}
        past, now = ({name: x[..., part] for name, x in sums.items()} for part in (slice(0, -1), slice(1, None)))
        frozen = _run(state["frozen"], same)
        number = (count - WARM).clamp_(min=0.0)
        weight, wobbles, drift, creep = (
            weight_of(number, decay_of(tau)) for tau in (self.usual, self.wobble, self.drift, self.creep)
        )
        weight = weight + PRIOR
        jump = torch.where(warm, slope - past["usual_slope"] / (drift + self.drift / 2), 0.0)
        usual_swing = (past["usual_swing"] + USUAL_SWING * PRIOR) / weight
        chance = ((past["same"] + 1) / weight).clamp(0.02, 1.0)
        leap = (forecast.value - forecast.level).abs_() / (forecast.level.abs() + 5 * forecast.scale)
        good = torch.where((leap > self.leap) | (bad == 0), -1.0, -self.usual_good)
        moves = [
            error,
            20 * jump,
            now["drift"] * (300 / (drift * decay_of(self.drift) + 1 + self.drift / 2)),
            now["creep"] * (1000 / (creep * decay_of(self.creep) + 1 + self.creep / 2)),
        ]
        harm = [facing * move for move in moves]
        found = [
            *(torch.maximum(move, good * move) for move in harm),
            (_mean(now["swing"], self.swing) / usual_swing - 1).clamp(min=0.0) / (0.75 * _deviation(self.swing)),
            (_mean(now["turns"], self.turns) - past["usual_turns"] / weight).clamp(min=0.0) / _deviation(self.turns),
            (frozen - self.patience).clamp(min=0.0) * -chance.log(),
        ]
        share = (past["wobble"] + 2) / (wobbles + 8)
        newest = {"error": near, "newest": x, "frozen": frozen, "moved": moved}
        end = {name: after(value, taken) for name, value in sums.items()}
        end |= {name: last(value, taken, state[name]) for name, value in newest.items()}
        further = (moves[1].abs() > error.abs()).to(error.dtype)
        sign = torch.lerp(error.sign(), jump.sign(), further)
        return end, torch.stack(found, dim=1), ((share - 0.03) / 0.17).clamp(0.0, 1.0), sign


def _mean(total: Tensor, tau: float) -> Tensor:
    """Of a discounted sum, with zeros before the first value."""
    return total * (1 - decay_of(tau))


def _deviation(tau: float) -> float:
    """Standard deviation of an exponential average of white noise."""
    decay = decay_of(tau)
    return float(((1 - decay) / (1 + decay)) ** 0.5)


def _run(before: Tensor, same: Tensor) -> Tensor:
    """How many values in a row are the same as the one before."""
    place = torch.arange(1, same.shape[-1] + 1, device=same.device)
    broken = torch.where(same, 0, place).cummax(-1).values
    run = (place - broken).to(before.dtype)
    return torch.where(broken == 0, run + before[:, None], run)
