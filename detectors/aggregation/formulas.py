"""The weight with which a component enters a total, for every form an objective can be declared in.

Letters: K components, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KENDALL_FACTOR: Mapping[str, float] = {"half": 0.5, "full": 1.0, "half_log": 1.0}
"""What e^-s is multiplied with, by variant of uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018)."""


def declared_weights(form: str, weights: Mapping[str, float], scale: float, names: Sequence[str]) -> Floats:
    """The weights (K) that do not change with the step; for ``kendall`` those of s = 0.

    >>> declared_weights("weighted_sum", {"diversity": 0.1}, 1.0, ["entropy", "diversity"])
    array([1. , 0.1])
    >>> declared_weights("mean", {}, 1.0, ["a", "b", "c", "d"])
    array([0.25, 0.25, 0.25, 0.25])
    """
    if form == "mean":
        return np.full(len(names), scale / max(len(names), 1))
    return scale * np.array([weights.get(name, 1.0) for name in names], dtype=np.float64)


def kendall_weights(log_var: Floats, variant: str, scale: float) -> Floats:
    """The weight of each step's loss under uncertainty weighting, from s = log sigma^2 (T).

    >>> kendall_weights(np.array([1.4]), "half", 1.0) * 45.0  # plus s / 2: the 6.25 that case B rounds to 6.26
    array([5.54843169])
    """
    return scale * KENDALL_FACTOR[variant] * np.exp(-log_var)
