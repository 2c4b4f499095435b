"""Are there training samples near those that are predicted? Letters: R rows (slices of a phase), T records.

Case D of the requirements: the checkpoint that was better on average was worse on one experiment, which lay where
training samples are rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import decay_of, discounted_sum, last
from detectors.streams import VALUES, Stream

DISTANCE = Threshold(
    "coverage_distance_limit", 1.0, "Distance to the nearest reference, in standardised features, that is far."
)
DENSITY = Threshold("coverage_density_floor", 0.01, "Share of references within radius 1 below which they are sparse.")


def _describe(facts: Facts) -> str:
    now, part = facts.readings, f"Slice {facts.subject}" if facts.subject else "The data"
    if facts.state == "resolved":
        return f"{part} of phase {facts.phase} now has training samples near by."
    error, copied = now["coverage_error_ratio"], now["coverage_neighbour_error_ratio"]
    compared = [f"{error:.1f} times the overall one"] if isfinite(error) else []
    if isfinite(copied):
        compared.append(f"{copied:.1f} times that of taking the nearest training sample's true value")
    against = f" Its error is {' and '.join(compared)}." if compared else ""
    return (
        f"{part} of phase {facts.phase} is sparsely covered by training samples: the nearest is "
        f"{now['coverage_distance']:.2f} away in standardised features (beyond "
        f"{facts.thresholds[DISTANCE.name]:g} is far), {now['coverage_density_ratio']:.1%} of them lie within "
        f"radius 1 (below {facts.thresholds[DENSITY.name]:.1%} is sparse).{against} The model extrapolates here: add "
        "samples of this region, or choose the checkpoint by this slice."
    )


SPARSE = Kind(
    "sparse_coverage",
    "warning",
    "coverage_distance",
    DISTANCE.name,
    3,
    5,
    _describe,
    evidence=(
        "coverage_density_ratio",
        "coverage_error_ratio",
        "coverage_error_far_ratio",
        "coverage_neighbour_error_ratio",
    ),
)
MEANS: Final = tuple(name for name in VALUES["coverage"].row if name not in {"samples", "references"})


@dataclass(frozen=True, slots=True)
class SparseCoverage:
    """Means over the samples of the recent records (memory ``window``).

    Bad where the nearest reference is beyond ``coverage_distance_limit``, or the share of references within radius
    1 below ``coverage_density_floor``; and if that is not just how the references lie to each other: twice as far
    as they have it among themselves, or they are denser than the floor. Unknown below ``references`` references.
    """

    window: float = 8.0
    references: float = 50.0
    name: str = "coverage"
    stream: Stream = "coverage"
    thresholds: tuple[Threshold, ...] = (DISTANCE, DENSITY)
    kinds: tuple[Kind, ...] = (SPARSE,)
    readings: tuple[Reading, ...] = (
        Reading("coverage_distance", "Distance to the nearest reference, in standardised features."),
        Reading("coverage_density_ratio", "Share of the references within radius 1."),
        Reading("coverage_band", "0 well covered, 1 moderately, 2 sparsely, by distance and density."),
        Reading("coverage_error_ratio", "Error of the slice's samples by that of all samples."),
        Reading("coverage_error_near_ratio", "Error of samples with a reference nearer than 0.5, by that of all."),
        Reading("coverage_error_between_ratio", "Error of samples with the nearest from 0.5 to 1.0, by that of all."),
        Reading("coverage_error_far_ratio", "Error of samples whose nearest reference is beyond 1.0, by that of all."),
        Reading("coverage_neighbour_error", "Error of taking the true value of the nearest reference."),
        Reading(
            "coverage_neighbour_error_ratio", "Error of the model by that of taking the nearest reference's value."
        ),
        Reading("coverage_neighbour_error_near_ratio", "The same, of samples with a reference nearer than 0.5."),
        Reading("coverage_neighbour_error_between_ratio", "The same, of samples with the nearest from 0.5 to 1.0."),
        Reading("coverage_neighbour_error_far_ratio", "The same, of samples whose nearest reference is beyond 1.0."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Weighted sums of what is averaged and their weights (R)."""
        del slots
        return {f"{of}_{name}": like.new_zeros(rows) for of in ("sum", "weight") for name in MEANS}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        values, steps, decay = block.values, block.mask.sum(-1), decay_of(self.window)
        size = values["samples"].nan_to_num(0.0).clamp(0.0, 1e9)
        sums: State = {}
        mean: dict[str, Tensor] = {}
        for name in MEANS:
            given = block.mask & values[name].isfinite() & (size > 0)
            weight = torch.where(given, size, 0.0)
            value = torch.where(given, values[name].clamp(0.0, 1e9), 0.0)
            sums[f"weight_{name}"] = discounted_sum(state[f"weight_{name}"], weight, decay)
            sums[f"sum_{name}"] = discounted_sum(state[f"sum_{name}"], weight * value, decay)
            mean[name] = sums[f"sum_{name}"] / sums[f"weight_{name}"]
        limit, floor = thresholds[DISTANCE.name][:, None], thresholds[DENSITY.name][:, None]
        far = (mean["distance"] > limit) & (mean["distance"] > 2 * mean["own_distance"])
        thin = (mean["density"] < floor) & (mean["own_density"] >= floor)
        valid = block.mask & values["distance"].isfinite() & (size > 0) & (values["references"] >= self.references)
        sparse = far | thin
        moderate = (mean["distance"] > limit / 2) | (mean["density"] < 5 * floor)
        band = torch.where(sparse, 2.0, torch.where(moderate, 1.0, 0.0)).to(size.dtype)
        known = mean["distance"].isfinite()
        readings = {
            "coverage_distance": mean["distance"],
            "coverage_density_ratio": mean["density"],
            "coverage_band": torch.where(known, band, torch.nan),
            "coverage_error_ratio": mean["error_ratio"],
            "coverage_error_near_ratio": mean["error_near"],
            "coverage_error_between_ratio": mean["error_between"],
            "coverage_error_far_ratio": mean["error_far"],
            "coverage_neighbour_error": mean["copied_error"],
            "coverage_neighbour_error_ratio": _ratio(mean, ""),
            "coverage_neighbour_error_near_ratio": _ratio(mean, "_near"),
            "coverage_neighbour_error_between_ratio": _ratio(mean, "_between"),
            "coverage_neighbour_error_far_ratio": _ratio(mean, "_far"),
        }
        verdict = verdict_of(valid, sparse)
        end = {name: last(x, steps, state[name]) for name, x in sums.items()}
        return Output(end, readings, {"sparse_coverage": verdict})


def _ratio(mean: Mapping[str, Tensor], where: str) -> Tensor:
    """Of the model's error by that of copying the nearest reference, of samples at some distances (R, T)."""
    copied = mean[f"copied_error{where}"]
    return torch.where(copied > 0, mean[f"model_error{where}"] / copied, torch.nan)
