"""How near the training samples are to those of each slice, and what the model's error there is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TABLES: Final = (
    "coverage_distance",
    "coverage_density_ratio",
    "coverage_band",
    "coverage_error_ratio",
    "coverage_neighbour_error_ratio",
)
"""The readings that the table is made of, in the order of its columns."""
BANDS: Final = ("well", "moderately", "sparsely")


@dataclass(frozen=True, slots=True)
class Covered:
    """One line of the table of coverage; None is not known."""

    phase: str
    name: str
    """Of the slice; empty for the whole."""
    distance: float | None
    density: float | None
    band: str
    error: float | None
    against_neighbour: float | None


def covered(readings: Mapping[str, Mapping[tuple[str, ...], float]]) -> Sequence[Covered]:
    """The lines: of each phase the whole first, then the slices that are farthest from the training samples.

    >>> distance = {("val", "a"): 0.2, ("val", ""): 0.4, ("val", "b"): 1.4}
    >>> lines = covered({"coverage_distance": distance, "coverage_band": {("val", "b"): 2.0}})
    >>> [(line.name, line.band) for line in lines]
    [('', 'unknown'), ('b', 'sparsely'), ('a', 'unknown')]
    """
    distance, density, band, error, neighbour = (readings.get(name, {}) for name in TABLES)
    ordered = sorted(distance, key=lambda key: (key[0], key[1] != "", -distance[key], key))
    return [
        Covered(
            phase=key[0],
            name=key[1],
            distance=distance[key],
            density=density.get(key),
            band=BANDS[int(band[key])] if key in band else "unknown",
            error=error.get(key),
            against_neighbour=neighbour.get(key),
        )
        for key in ordered
    ]
