"""How often each kind may be wrong: false alarms per 10,000 steps of a healthy run, by the noise it is in.

The documents state the same budget, in the section of each kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.quality.noise import Family

LEAST: Final = 0.1
"""Of a kind that ought to have none: some noise looks like anything."""
BUDGETS: Final[Mapping[str, float]] = {
    "spike": 0.5,
    "plateau": 1.5,
    "temporal_anomaly": 0.2,
    "component_stagnates": 0.3,
    "overfitting": 0.5,
    "erratic_validation": 0.5,
    "loss_metric_decoupling": 0.5,
    "slice_divergence": 0.5,
}
IN_NOISE: Final[Mapping[tuple[str, Family], float]] = {
    ("spike", "t3"): 4.0,
    ("temporal_anomaly", "t3"): 1.0,
    ("erratic_validation", "t3"): 1.0,
    ("overfitting", "ar0.9"): 3.0,
    ("loss_metric_decoupling", "ar0.9"): 3.0,
    ("slice_divergence", "ar0.9"): 3.0,
}
"""Heavy tails exceed any limit, and a series that wanders by itself looks like one that got worse."""


def budget(kind: str, family: Family) -> float:
    """Of one kind in one noise.

    >>> budget("spike", "white"), budget("spike", "t3"), budget("divergence", "white")
    (0.5, 4.0, 0.1)
    """
    return IN_NOISE.get((kind, family), BUDGETS.get(kind, LEAST))
