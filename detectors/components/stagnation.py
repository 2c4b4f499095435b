"""The main component of an objective stays where it began. Letters: R rows, K components, T steps.

Case C of the requirements: the contrastive term, 99.98 % of the loss, stayed at 0.6 throughout the training. A
component that has come down and rests is converged, not stagnant: it is judged against where it began, not against
its recent past.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import verdict_of
from detectors.components.standing import Standing, per_row
from detectors.kinds import Facts, Kind, Threshold
from detectors.recurrence import bounded, last

IMPROVEMENT: Final = Threshold(
    "stagnation_improvement", 0.05, "Fall of the main component since its start, relative, below which it stagnates."
)
PATIENCE: Final = Threshold("stagnation_steps", 100.0, "Reported values after which the main component is judged.")
BEGINNING: Final = 16
"""Values whose mean is where a component began: few enough to be early, enough to even out noise."""
MAIN_SHARE: Final = 0.5
"""A component is the main one if it is more than all others together."""
STRAY: Final = 0.25
"""Relative distance above its start from which a component does not stay but rises."""
SLOW: Final = 5.0
"""The whole improvement is asked for after so many times the patience, a part of it in proportion before."""
DOUBT: Final = 0.1
"""Twice the standard error of the start, relative to it, from which on patience has to be longer, by its square: the
values that come after must make up for what the first ones do not tell."""
HIDDEN: Final = 0.12
"""The same, from which on noise hides where a component began."""


def _describe(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) moves: it is {now['component_improvement_ratio']:.1%} below where it began."
    return (
        f"{name}, {now['component_share_ratio']:.0%} of the {facts.phase} objective, is still where it began: at step "
        f"{facts.step} it is {now['component_recent']:.4g} after {now['component_start']:.4g} at the start. What the "
        "total is made of is not being learned: look at its gradient, its targets and the learning rate."
    )


STAGNATES: Final = Kind(
    "component_stagnates",
    "warning",
    value="component_improvement_ratio",
    threshold=IMPROVEMENT.name,
    confirm=20,
    release=20,
    describe=_describe,
    evidence=("component_improvement_ratio", "component_start", "component_recent", "component_share_ratio"),
)


def beginning(state: Tensor, x: Tensor, valid: Tensor, count: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the first `BEGINNING` valid values (R, K, T), NaN until then, and the state (R, K) to go on with."""
    early = valid & x.isfinite() & (count <= BEGINNING)
    total = state[..., None] + torch.where(early, bounded(x) / BEGINNING, 0.0).cumsum(-1)
    return torch.where(count >= BEGINNING, total, torch.nan), last(total, steps, state)


def improvement(now: Standing, start: Tensor) -> Tensor:
    """How far the past mean is below the start, relative to it: (R, K, T)."""
    return (start - now.component.past) / torch.maximum(start.abs(), now.component.noise)


def stagnation(now: Standing, start: Tensor, thresholds: Mapping[str, Tensor]) -> Tensor:
    """Bad where the main component, after its patience, is neither away from its start nor moving: (R, K, T).

    Noise in which a start cannot be told is no proof of anything: good.
    """
    gained = improvement(now, start)
    doubt = 2 * now.component_longer.deviation_of_mean(BEGINNING) / start.abs()
    waited = now.component.count / per_row(thresholds, PATIENCE.name) / (doubt / DOUBT).clamp(min=1.0) ** 2
    asked = per_row(thresholds, IMPROVEMENT.name) * (waited / SLOW).clamp(max=1.0)
    stays = (gained < asked) & (gained > -STRAY)
    stays &= (now.component_significance.abs() < now.sigmas) & (doubt < HIDDEN)
    stays &= now.share > MAIN_SHARE
    return verdict_of(now.seen & gained.isfinite() & ((waited >= 1) | ~stays), stays)
