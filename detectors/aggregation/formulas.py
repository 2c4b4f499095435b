"""What totals can be made by, and the weight with which a component enters a declared one.

Letters: K components, T steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KENDALL_FACTOR: Mapping[str, float] = {"half": 0.5, "full": 1.0, "half_log": 1.0}
"""What e^-s is multiplied with, by variant of uncertainty weighting (Kendall, Gal and Cipolla, CVPR 2018)."""

FORMULAS: Final[Mapping[int, str]] = {
    1: "the sum of the components",
    2: "the mean of the components",
    4: "the sum of the components with their known weights",
    8: "uncertainty weighting, sum of e^-s L / 2 + s / 2",
    16: "uncertainty weighting, sum of e^-s L + s",
    32: "uncertainty weighting, sum of e^-s L + s / 2",
    64: "uncertainty weighting, sum of e^-s L / 2 + s / 2, with a regularizer",
    128: "uncertainty weighting, sum of e^-s L + s, with a regularizer",
    256: "uncertainty weighting, sum of e^-s L + s / 2, with a regularizer",
    512: "one component times (1 + another)",
    1024: "a sum of the components with constant weights, which were fitted",
    2048: "a sum of the components with constant weights and a constant, which were fitted",
}
"""What a total can be made by, the simplest first. The codes of several that fit equally well are added up."""


def formulas_of(code: float) -> list[str]:
    """The formulas that a code stands for, the simplest first; none where it is not known.

    >>> formulas_of(3.0)
    ['the sum of the components', 'the mean of the components']
    """
    known = int(code) if 0 < code < 2 ** len(FORMULAS) else 0
    return [words for bit, words in FORMULAS.items() if known & bit]


def words_of(code: float) -> str:
    """A code in words.

    >>> words_of(3.0)
    'the sum of the components or the mean of the components'
    """
    return " or ".join(formulas_of(code)) or "a formula that is not known"


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
