"""What a batch of predictions says, as a few numbers. Letters: M samples of G groups, C classes.

A group is one step of one prediction stream. All groups of a poll with the same number of classes
are reduced in one pass, whatever their numbers of samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


def entropy(p: Tensor) -> Tensor:
    """Shannon entropy of distributions (..., C), divided by log C: 0 (one class) to 1 (uniform).

    >>> mean = torch.tensor([[0.6112, 0.3888], [0.6895, 0.3105]], dtype=torch.float64)  # case A, steps 0 and 149
    >>> entropy(mean).numpy().round(3)
    array([0.964, 0.894])
    """
    nats: Tensor = torch.special.entr(p).sum(-1)
    return nats / math.log(p.shape[-1])


def sampling_deficit(samples: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """By how much N labels drawn at random lower the class entropy: expectation and standard deviation.

    The expectation is the Miller-Madow term ``(C - 1) / (2 N log C)`` [1] or, where N is far below C,
    the bound ``log(1 + (C - 1) / N) / log C`` that the expected collision probability of uniform
    labels gives; the deviation is that of ``2 N log C (1 - entropy)``, a chi-squared with C - 1
    degrees of freedom for uniform labels [2]. Soft predictions vary less than labels.

    References: [1] G. Miller, "Note on the bias of information estimates", 1955. [2] S. S. Wilks, 1938.

    >>> expected, deviation = sampling_deficit(torch.tensor([1.0, 8.0, 512.0]), torch.tensor([10.0, 10.0, 10.0]))
    >>> expected, deviation
    (tensor([1.0000, 0.2443, 0.0038]), tensor([0.9213, 0.1152, 0.0018]))
    """
    freedom, size = (classes - 1) / samples, classes.log()
    expected = torch.minimum(freedom / 2, freedom.log1p()) / size
    return expected, ((classes - 1) / 2).sqrt() / (samples * size)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Per group, each (G)."""

    samples: Tensor
    class_entropy: Tensor
    """Entropy of the mean predicted distribution, by log C: how diverse the predictions are."""
    sample_entropy: Tensor
    """Mean entropy of a sample's distribution, by log C: how unsure the model is. NaN if only classes are known."""
    max_class_probability: Tensor
    """Largest mean class probability."""
    unique_classes: Tensor
    """How many classes are the argmax of at least one sample."""

    @classmethod
    def of_samples(cls, p: Tensor, group: Tensor, groups: int) -> Self:
        """From probabilities (M, C) and each sample's group (M)."""
        samples = torch.bincount(group, minlength=groups).to(p.dtype)
        mean = p.new_zeros(groups, p.shape[1]).index_add_(0, group, p) / samples[:, None]  # (G, C)
        certain = p.new_zeros(groups).index_add_(0, group, entropy(p)) / samples
        seen = torch.zeros(groups, p.shape[1], dtype=torch.bool, device=p.device)
        seen[group, p.argmax(1)] = True  # (G, C) the classes that a group predicts
        unique = seen.sum(1).to(p.dtype)
        return cls(samples, entropy(mean), certain, mean.max(1).values, unique)

    @classmethod
    def of_summary(cls, samples: Tensor, mean: Tensor, counts: Tensor, mean_entropy: Tensor) -> Self:
        """From samples (G), mean distribution and argmax counts (G, C), mean entropy in nats (G)."""
        unique = (counts > 0).sum(1).to(mean.dtype)
        return cls(samples, entropy(mean), mean_entropy / math.log(mean.shape[1]), mean.max(1).values, unique)
