"""Precision, recall and F1 from counts by class, as scikit-learn defines them. Letters: R rows, K classes, T steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

PRESENT: Final = 1e-3
"""Samples, possibly discounted, from which on a class is there."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Per class, each (R, K, T); 0 where a ratio has nothing below its line, as with ``zero_division=0``."""

    labelled: Tensor
    present: Tensor
    """Labelled or predicted: what macro averages are over."""
    precision: Tensor
    recall: Tensor
    f1: Tensor

    @classmethod
    def of(cls, labelled: Tensor, predicted: Tensor, hit: Tensor) -> Self:
        """From how many samples have a class as label, as prediction, and as both."""
        return cls(
            labelled,
            labelled + predicted >= PRESENT,
            _ratio(hit, predicted),
            _ratio(hit, labelled),
            _ratio(2 * hit, labelled + predicted),
        )

    def macro(self, value: Tensor, among: Tensor | None = None) -> Tensor:
        """Mean over the classes that are there, or ``among`` them: (R, T); NaN where there are none.

        >>> scores = Scores.of(torch.tensor([[90.0, 10.0]]), torch.tensor([[100.0, 0.0]]), torch.tensor([[90.0, 0.0]]))
        >>> scores.macro(scores.precision), scores.weighted(scores.precision)
        (tensor([0.4500]), tensor([0.8100]))
        """
        counted = self.present if among is None else self.present & among
        return torch.where(counted, value, 0.0).sum(1) / counted.sum(1)

    def weighted(self, value: Tensor) -> Tensor:
        """Mean over the labelled samples: (R, T)."""
        return (self.labelled * value).sum(1) / self.labelled.sum(1)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below >= PRESENT, above / below, 0.0)
