"""A component gets worse while the total gets better. Letters: R rows (objectives), K components, T steps.

Case A of the requirements: the total fell by 93 % while the diversity term it contains rose by
191 %; the total alone looked healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from detectors.cell import verdict_of
from detectors.components.standing import Standing, per_row
from detectors.kinds import Facts, Kind, Threshold

FALL: Final = Threshold(
    "conflict_total_fall", 0.10, "Fall of the total, relative to its past, that counts as improving."
)
RISE: Final = Threshold(
    "conflict_component_rise", 0.15, "Rise of a component, relative to its past, that is a conflict."
)
SHARE: Final = Threshold("conflict_share", 0.02, "Share of the total below which a rising component does not matter.")

SETTLED: Final = 128
"""Values from which there is a longer past."""
LONG_FALL: Final = 3.0
"""Standard deviations that the fall of the total must be beyond in the long view. A rise makes the total rise, so that
chance makes one of a component and a fall of the total together far more rarely than each."""


def _describe(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return (
            f"{name} ({facts.phase}) stopped rising against a falling total at step {facts.step}. "
            "That it came down again is not said: look at its value."
        )
    return (
        f"The {facts.phase} total is {now['conflict_fall_ratio']:.0%} below its past while its component {name} is "
        f"{now['conflict_rise_ratio']:.0%} above its own, since step {facts.began}; {name} is now "
        f"{now['component_share_ratio']:.0%} of the total. The optimiser is buying the total with {name}."
    )


CONFLICT: Final = Kind(
    "component_conflict",
    "warning",
    value="conflict_rise_ratio",
    threshold=RISE.name,
    confirm=5,
    release=20,
    describe=_describe,
    evidence=("conflict_rise_ratio", "conflict_fall_ratio", "component_share_ratio", "component_contribution"),
)


def conflict(now: Standing, thresholds: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Bad where the total fell and a component that matters rose, both by more than thresholds and noise.

    With the verdict, the rise of the component and the fall of the total, of the view that tells more of a conflict:
    each (R, K, T).
    """
    falls, rises = -now.total.change()[:, None], now.component.change()
    bad = (falls > per_row(thresholds, FALL.name)) & (rises > per_row(thresholds, RISE.name))
    bad &= (now.total_significance < -now.sigmas)[:, None] & (now.component_significance > now.sigmas)
    long_falls, long_rises = -now.total_longer.change()[:, None], now.component_longer.change()
    long = (long_falls > per_row(thresholds, FALL.name)) & (long_rises > per_row(thresholds, RISE.name))
    long &= (now.total_longer.significance() < -LONG_FALL)[:, None]
    long &= now.component_longer.significance() > now.sigmas
    long &= (now.component.count >= SETTLED) & (now.total.count >= SETTLED)[:, None]
    only_long = long & ~bad
    matters = now.share > per_row(thresholds, SHARE.name)
    return (
        verdict_of(now.seen & now.total_known[:, None], (bad | long) & matters),
        torch.where(only_long, long_rises, rises),
        torch.where(only_long, long_falls, falls),
    )
