"""A component gets worse while the total gets better. Letters: R rows (objectives), K components, T steps.

Case A of the requirements: the total fell by 93 % while the diversity term it contains rose by
191 %; the total alone looked healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from detectors.cell import Facts, Kind, Threshold, verdict_of
from detectors.components.standing import Standing, per_row

FALL: Final = Threshold(
    "conflict_total_fall", 0.10, "Fall of the total, relative to its past, that counts as improving."
)
RISE: Final = Threshold(
    "conflict_component_rise", 0.15, "Rise of a component, relative to its past, that is a conflict."
)
SHARE: Final = Threshold("conflict_share", 0.02, "Share of the total below which a rising component does not matter.")


def _describe(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return (
            f"{name} ({facts.phase}) stopped rising against a falling total at step {facts.step}. "
            "That it came down again is not said: look at its value."
        )
    return (
        f"The {facts.phase} total is {-now['total_change_ratio']:.0%} below its past while its component {name} is "
        f"{now['component_change_ratio']:.0%} above its own, since step {facts.began}; {name} is now "
        f"{now['component_share_ratio']:.0%} of the total. The optimiser is buying the total with {name}."
    )


CONFLICT: Final = Kind(
    "component_conflict",
    "warning",
    value="component_change_ratio",
    threshold=RISE.name,
    confirm=5,
    release=20,
    describe=_describe,
    evidence=("component_change_ratio", "total_change_ratio", "component_share_ratio", "component_contribution"),
)


def conflict(now: Standing, thresholds: Mapping[str, Tensor]) -> Tensor:
    """Bad where the total fell and a component that matters rose, both by more than thresholds and noise: (R, K, T)."""
    falls = now.total.change() < -thresholds[FALL.name][:, None]
    falls &= now.total_significance < -now.sigmas
    rises = now.component.change() > per_row(thresholds, RISE.name)
    rises &= now.component_significance > now.sigmas
    matters = now.share > per_row(thresholds, SHARE.name)
    return verdict_of(now.seen & now.total_known[:, None], falls[:, None] & rises & matters)
