"""A component at its floor, a log variance at its clamp. Letters: R rows (objectives), K components, T steps.

Case B of the requirements: log variances clamped to [-2, 2], task losses with a floor of 0.05. What is clamped has no
gradient: the job goes on, and that part of it does not train.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, joined, part_of, verdict_of
from detectors.components.standing import per_row
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.repeats import Repeats
from detectors.streams import FORMS, Stream

STILL: Final = Threshold("floor_steps", 20.0, "Values in a row that must be exactly the same to count as pinned.")
LIMIT: Final = Threshold(
    "log_variance_limit", 2.0, "Size of a log variance that is at a clamp; beyond, weights leave e^-limit to e^limit."
)


def _describe_floor(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) left its floor at step {facts.step}."
    return (
        f"{name} ({facts.phase}) is exactly {now['component_value']:.6g}, its lowest value, for "
        f"{now['component_floor_steps']:.0f} steps in a row after it had moved: it is at a floor, where it has no "
        "gradient. Lower the floor, or leave the term out."
    )


def _describe_clamp(facts: Facts) -> str:
    name, now, limit = facts.subject, facts.readings, facts.thresholds[LIMIT.name]
    s = now["component_log_variance"]
    if facts.state == "resolved":
        return f"The log variance of {name} ({facts.phase}) moves freely again ({s:.3g})."
    told = f"The log variance of {name} ({facts.phase}) is {s:.4g}"
    if abs(s) > limit:
        least, most = (math.exp(max(min(power, 700.0), -700.0)) for power in (-limit, limit))
        return (
            f"{told} since step {facts.began}: its weight e^{-s:.3g} is outside {least:.3g} to {most:.3g}. Its loss is "
            "on another scale than the others: rescale it, so that no weight has to make up for it."
        )
    return (
        f"{told}, exactly, for {now['component_log_variance_steps']:.0f} steps in a row: it is at its clamp, and the "
        "weight of the task no longer follows its loss. Rescale the loss, or widen the clamp."
    )


AT_FLOOR: Final = Kind(
    "component_at_floor",
    "warning",
    value="component_floor_steps",
    threshold=STILL.name,
    confirm=5,
    release=5,
    describe=_describe_floor,
    evidence=("component_floor_steps", "component_value", "component_share_ratio"),
)
CLAMPED: Final = Kind(
    "log_variance_clamped",
    "warning",
    value="component_log_variance",
    threshold=LIMIT.name,
    confirm=5,
    release=20,
    describe=_describe_clamp,
    evidence=("component_log_variance", "component_log_variance_steps", "component_weight", "component_share_ratio"),
    conditional=True,
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """Components that stand exactly still at their lowest value, log variances at their largest size or beyond a limit.

    A floor of exactly 0 is none: a term that reached it is satisfied. Unknown for the first ``warm_up`` values.
    """

    floor: Repeats = field(default_factory=Repeats)
    clamp: Repeats = field(default_factory=lambda: Repeats(fine=1.0))
    warm_up: int = 24
    name: str = "pinned"
    stream: Stream = "objective"
    thresholds: tuple[Threshold, ...] = (STILL, LIMIT)
    kinds: tuple[Kind, ...] = (AT_FLOOR, CLAMPED)
    readings: tuple[Reading, ...] = (
        Reading("component_floor_steps", "How long a component has been exactly its lowest value.", "slot"),
        Reading("component_log_variance", "Log variance of a component, as the job reported it.", "slot"),
        Reading(
            "component_log_variance_steps",
            "How long a log variance has been exactly the same.",
            "slot",
            exported=False,
        ),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Two of each component (R, K)."""
        shape = (rows, slots)
        return joined(floor=self.floor.init(shape, like), clamp=self.clamp.init(shape, like))

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        steps, mask = block.mask.sum(-1), block.mask[:, None]
        value, s = block.values["component"], block.values["log_var"]
        seen = block.reported["component"] & value.isfinite() & mask
        told = block.reported["log_var"] & s.isfinite() & mask
        floor_state, floor = self.floor.update(part_of(state, "floor"), value, seen, steps)
        clamp_state = part_of(state, "clamp")
        if any(s.stride()):  # a single number, expanded, is how a block says that nobody reported a log variance
            clamp_state, clamp = self.clamp.update(clamp_state, -s.abs(), told, steps)
        else:
            clamp = self.clamp.rest(clamp_state)
        still = per_row(thresholds, STILL.name)

        at_floor = (value == floor.lowest) & (value != 0)
        at_clamp = (-s.abs() == clamp.lowest) & (clamp.length >= still) & clamp.sharp
        warm = floor.count >= self.warm_up
        plain = (clamp.count == 0) & (block.facts["form"] != FORMS.index("kendall"))[:, None, None]
        judged = seen & warm & (plain | (told & (clamp.count >= self.warm_up)))
        return Output(
            joined(floor=floor_state, clamp=clamp_state),
            {
                "component_floor_steps": torch.where(seen, torch.where(at_floor, floor.length, 0.0), torch.nan),
                "component_log_variance": torch.where(told, s, torch.nan),
                "component_log_variance_steps": torch.where(told, clamp.length, torch.nan),
            },
            {
                AT_FLOOR.name: verdict_of(seen & warm, at_floor & (floor.length >= still) & floor.sharp),
                CLAMPED.name: verdict_of(judged, told & (at_clamp | (s.abs() >= per_row(thresholds, LIMIT.name)))),
            },
        )
