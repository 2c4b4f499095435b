"""How the components of an objective stand to one another and to its total. Letters: R rows, K components, T steps.

One cell for several kinds of finding, because all of them look at the same trends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, joined, part_of
from detectors.components import contributions as contributed
from detectors.components.conflict import CONFLICT, FALL, RISE, SHARE, conflict
from detectors.components.dominance import DOMINANT, DOMINATES, INERT, NEGLIGIBLE, dominance, inertness
from detectors.components.stagnation import IMPROVEMENT, PATIENCE, STAGNATES, beginning, improvement, stagnation
from detectors.components.standing import Standing
from detectors.kinds import Kind, Reading, Threshold
from detectors.streams import Stream
from detectors.trend import Trend


@dataclass(frozen=True, slots=True)
class Balance:
    """Contributions and shares, and what is wrong with them: see the modules of the kinds.

    Compares the recent mean (8 values) with the past one (64 values) of the total and of each component; a conflict
    may also show in the long view, of the past one against a longer past (256 values). Movements
    count from ``sigmas`` standard deviations of what noise alone would make of them. Unknown for the first ``warm_up``
    values, and where a component is not reported or has no share.
    """

    trend: Trend = field(default_factory=Trend)
    sigmas: float = 4.0
    warm_up: int = 24
    name: str = "balance"
    stream: Stream = "objective"
    thresholds: tuple[Threshold, ...] = (FALL, RISE, SHARE, DOMINANT, NEGLIGIBLE, IMPROVEMENT, PATIENCE)
    kinds: tuple[Kind, ...] = (CONFLICT, DOMINATES, INERT, STAGNATES)
    readings: tuple[Reading, ...] = (
        *contributed.READINGS,
        Reading("total_change_ratio", "Recent total against its past, relative (negative is a fall)."),
        Reading("component_change_ratio", "Recent component against its past, relative.", "slot"),
        Reading("conflict_rise_ratio", "The rise of a component that a conflict is judged by.", "slot", exported=False),
        Reading("conflict_fall_ratio", "The fall of the total meanwhile, relative.", "slot", exported=False),
        Reading("component_improvement_ratio", "Fall of a component since its first values, relative.", "slot"),
        Reading("component_start", "Mean of a component's first values.", "slot", exported=False),
        Reading("component_recent", "Mean of a component's last 8 values.", "slot", exported=False),
        Reading("component_past", "Mean of a component's last 64 values.", "slot", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """One trend for the total (R), one for each component (R, K), and where the components began."""
        total = self.trend.init((rows,), like)
        component = self.trend.init((rows, slots), like)
        return joined(total=total, component=component) | {"start": like.new_zeros(rows, slots)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        steps = block.mask.sum(-1)
        value, given = block.values["component"], block.reported["component"] & block.mask[:, None]
        total_state, total, total_longer = self.trend.update(
            part_of(state, "total"), block.values["total"], block.reported["total"] & block.mask, steps
        )
        component_state, component, component_longer = self.trend.update(
            part_of(state, "component"), value, given, steps
        )
        start, start_state = beginning(state["start"], value, given, component.count, steps)
        readings = contributed.contributions(block)
        share = readings["component_share_ratio"]
        warm = total.count >= self.warm_up
        now = Standing(
            total=total,
            component=component,
            total_longer=total_longer,
            component_longer=component_longer,
            total_significance=total.significance(),
            component_significance=component.significance(),
            weight=block.values["weight"],
            contribution=readings["component_contribution"],
            share=share,
            seen=given & (component.count >= self.warm_up) & share.isfinite(),
            total_known=warm & total.recent.isfinite(),
            components=block.facts["components"],
            sigmas=self.sigmas,
        )
        judged = now.seen & now.total_known[:, None]
        conflicts, rise, fall = conflict(now, thresholds)
        return Output(
            joined(total=total_state, component=component_state) | {"start": start_state},
            readings
            | {
                "total_change_ratio": torch.where(warm, total.change(), torch.nan),
                "component_change_ratio": torch.where(judged, component.change(), torch.nan),
                "conflict_rise_ratio": torch.where(judged, rise, torch.nan),
                "conflict_fall_ratio": torch.where(judged, fall, torch.nan),
                "component_improvement_ratio": torch.where(now.seen, improvement(now, start), torch.nan),
                "component_start": start,
                "component_recent": component.recent,
                "component_past": component.past,
            },
            {
                CONFLICT.name: conflicts,
                DOMINATES.name: dominance(now, thresholds),
                INERT.name: inertness(now, thresholds),
                STAGNATES.name: stagnation(now, start, thresholds),
            },
        )
