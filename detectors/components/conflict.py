"""A component gets worse while the total gets better. Letters: R rows (objectives), K components, T steps.

Case A of the requirements: the total fell by 93 % while the diversity term it contains rose by
191 %; the total alone looked healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import BAD, GOOD, UNKNOWN, Block, Facts, Kind, Output, Reading, State, Stream, Threshold
from detectors.components.contributions import shares
from detectors.trend import Trend

FALL = Threshold("conflict_total_fall", 0.10, "Fall of the total, relative to its past, that counts as improving.")
RISE = Threshold("conflict_component_rise", 0.15, "Rise of a component, relative to its past, that is a conflict.")
SHARE = Threshold("conflict_share", 0.02, "Share of the total below which a rising component does not matter.")


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


CONFLICT = Kind(
    "component_conflict",
    "warning",
    value="component_change_ratio",
    threshold=RISE.name,
    confirm=5,
    release=20,
    describe=_describe,
    evidence=("component_change_ratio", "total_change_ratio", "component_share_ratio", "component_contribution"),
)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Compares the recent mean (8 steps) with the past one (64 steps) of the total and of each component.

    Bad where the total fell and a component rose by more than their thresholds, both by more than
    ``sigmas`` standard deviations of what noise alone would make of the difference, and the
    component's share matters. Unknown for the first ``warm_up`` steps.
    """

    trend: Trend = field(default_factory=Trend)
    sigmas: float = 4.0
    warm_up: int = 24
    name: str = "conflict"
    stream: Stream = "objective"
    thresholds: tuple[Threshold, ...] = (FALL, RISE, SHARE)
    kinds: tuple[Kind, ...] = (CONFLICT,)
    readings: tuple[Reading, ...] = (
        Reading("total_change_ratio", "Recent total against its past, relative (negative is a fall)."),
        Reading("component_change_ratio", "Recent component against its past, relative.", "slot"),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """One trend for the total (R), one for each component (R, K)."""
        total = self.trend.init((rows,), like)
        component = self.trend.init((rows, slots), like)
        return {f"total_{k}": v for k, v in total.items()} | {f"component_{k}": v for k, v in component.items()}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        steps = block.mask.sum(-1)
        total_state, total = self.trend.update(
            _part(state, "total_"), block.values["total"], block.reported["total"] & block.mask, steps
        )
        component_state, component = self.trend.update(
            _part(state, "component_"),
            block.values["component"],
            block.reported["component"] & block.mask[:, None],
            steps,
        )
        share = shares(block.values["component"] * block.values["weight"])  # (R, K, T)
        known = (component.count >= self.warm_up) & share.isfinite() & block.mask[:, None]
        known &= ((total.count >= self.warm_up) & total.recent.isfinite())[:, None]
        falls = (total.change() < -_column(thresholds[FALL.name])) & (self.trend.significance(total) < -self.sigmas)
        rises = component.change() > _column(thresholds[RISE.name])[:, None]
        rises &= self.trend.significance(component) > self.sigmas
        bad = falls[:, None] & rises & (share > _column(thresholds[SHARE.name])[:, None])
        verdict = torch.where(known, torch.where(bad, BAD, GOOD), UNKNOWN).to(torch.int8)
        warm = total.count >= self.warm_up
        return Output(
            {f"total_{k}": v for k, v in total_state.items()}
            | {f"component_{k}": v for k, v in component_state.items()},
            {
                "total_change_ratio": torch.where(warm, total.change(), torch.nan),
                "component_change_ratio": torch.where(known, component.change(), torch.nan),
            },
            {"component_conflict": verdict},
        )


def _part(state: State, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _column(threshold: Tensor) -> Tensor:
    return threshold[:, None]  # (R) to (R, T)
