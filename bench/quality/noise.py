"""The noise of made-up runs. Letters: T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Family = Literal["white", "t3", "ar0.9", "trending"]
FAMILIES: Final[tuple[Family, ...]] = ("white", "t3", "ar0.9", "trending")
MEMORY: Final = 0.9
DECAY: Final[Mapping[Family, float]] = {"white": 100.0, "t3": 100.0, "ar0.9": 100.0, "trending": 400.0}
"""Time constant in steps with which a healthy loss falls."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What a generator makes one run of. Strength 0 is its healthy twin."""

    rng: np.random.Generator
    family: Family
    level: float
    """Standard deviation of the noise, relative to the value."""
    strength: float
    """Of the failure, in standard deviations of the noise, where the kind has such a strength."""
    steps: int
    onset: int
    """First step of the failure."""

    @property
    def time(self) -> Floats:
        """(T)"""
        return np.arange(self.steps, dtype=np.float64)

    @property
    def since(self) -> Floats:
        """(T) steps since the onset, from 1 at the onset; 0 before, and always 0 in a healthy twin."""
        return np.maximum(self.time - self.onset + 1, 0.0) * (self.strength > 0)

    def noise(self) -> Floats:
        """(T) of unit variance: normal, Student's t with 3 degrees of freedom, or with a memory."""
        if self.family == "t3":
            heavy: Floats = np.clip(self.rng.standard_t(3.0, self.steps), -40, 40) / 3.0**0.5
            return heavy
        x: Floats = self.rng.standard_normal(self.steps)
        if self.family == "ar0.9":
            for t in range(1, self.steps):
                x[t] = MEMORY * x[t - 1] + (1 - MEMORY**2) ** 0.5 * x[t]
        return x

    def loss(self, end: float = 0.4) -> Floats:
        """(T) a healthy loss: from 1.4 to ``end``, with noise that is a part of it."""
        return (end + (1.4 - end) * np.exp(-self.time / DECAY[self.family])) * (1 + self.level * self.noise())
