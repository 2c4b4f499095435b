"""What a batch of predictions says, as a few numbers. Letters: G groups, N samples each, C classes.

A group is one step of one prediction stream. All groups of a poll with the same number of classes
are reduced in one pass; shorter ones are padded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from detectors.predictions.largest import largest

BINS: Final = 15
"""Of confidence, as in [1] of `calibration_error`."""


def entropy(p: Tensor) -> Tensor:
    """Shannon entropy of distributions (..., C), divided by log C: 0 (one class) to 1 (uniform).

    >>> mean = torch.tensor([[0.6112, 0.3888], [0.6895, 0.3105]], dtype=torch.float64)  # case A, steps 0 and 149
    >>> entropy(mean).numpy().round(3)
    array([0.964, 0.894])
    """
    return _nats(p).sum(-1) / math.log(p.shape[-1])


def _nats(p: Tensor) -> Tensor:
    """The terms ``-p log p`` of non-negative numbers: `torch.special.entr`, at half its price."""
    return p.clamp(min=torch.finfo(p.dtype).tiny).log_().mul_(p).neg_()


def sampling_deficit(samples: Tensor, classes: Tensor, sharpness: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
    """By how much N independent samples lower the class entropy of a uniform predictor: expectation and deviation.

    ``sharpness`` is the mean collision probability sum p^2 of a sample. With ``chi2 = C sharpness - 1``, the
    chi-squared divergence of a sample from the uniform distribution, the mean of N samples has ``chi2 / N``; its
    Kullback-Leibler divergence, which is what the entropy lacks, is to second order half of that, the term of Miller
    and Madow [1] where samples are labels (chi2 = C - 1), and never more than ``log(1 + chi2 / N)`` (Jensen). The
    deviation is that of a chi-squared with C - 1 degrees of freedom [2]. Of N labels far fewer than C only the pairs
    that coincide lower the entropy, by ``2 log(2) / N`` nats each; their number is Poisson with the mean ``N^2 / 2C``.
    So the deviation is not taken to be more than ``1 / sqrt(C)``, or half of a pair where that is more. Soft
    predictions vary less than labels.

    References: [1] G. Miller, "Note on the bias of information estimates", 1955. [2] S. S. Wilks, 1938.

    >>> expected, deviation = sampling_deficit(torch.tensor([1.0, 8.0, 512.0]), torch.tensor([10.0, 10.0, 10.0]))
    >>> expected, deviation
    (tensor([1.0000, 0.2443, 0.0038]), tensor([0.3010, 0.1152, 0.0018]))
    >>> sampling_deficit(torch.tensor(32.0), torch.tensor(1000.0), 0.003)[0]  # soft: nothing to be excused
    tensor(0.0045)
    """
    chi2 = (classes * sharpness - 1).clamp(min=0.0)
    size = classes.log()
    expected = torch.minimum(chi2 / (2 * samples), (chi2 / samples).log1p()) / size
    most = torch.maximum(classes.rsqrt(), math.log(2) / samples)
    deviation = torch.minimum(chi2 / (2 * (classes - 1)).sqrt() / samples, most)
    return expected, deviation / size


def sampling_error(
    samples: Tensor, classes: Tensor, sharpness: Tensor, class_entropy: Tensor, moments: tuple[Tensor, Tensor]
) -> Tensor:
    """Standard error of the class entropy of N independent samples, whatever the true distribution is.

    ``moments`` of the mean distribution are its collision probability sum p^2 and ``sum p log^2 p``. Of labels the
    variance of the entropy in nats is ``(sum p log^2 p - H^2) / N`` [1]; that of soft predictions is smaller, by
    the part of the variance of labels that lies between samples (law of total variance).

    Reference: [1] G. P. Basharin, "On a statistical estimate for the entropy of a sequence of independent random
    variables", 1959.

    >>> p = torch.tensor([0.7, 0.3], dtype=torch.float64)
    >>> moments = (p.square().sum(), (p * p.log().square()).sum())
    >>> sampling_error(torch.tensor(8.0), torch.tensor(2.0), torch.tensor(1.0), entropy(p), moments)
    tensor(0.1981, dtype=torch.float64)
    """
    collision, surprise = moments
    size = classes.log()
    between = ((sharpness - collision) / (1 - collision).clamp(min=1e-9)).clamp(0.0, 1.0)
    variance = (surprise - (class_entropy * size).square()).clamp(min=0.0)
    return (between * variance / samples).sqrt() / size


def moments_of(mean: Tensor) -> tuple[Tensor, Tensor]:
    """Of distributions (..., C): the collision probability and ``sum p log^2 p``."""
    logs = torch.where(mean > 0, mean.log(), 0.0)
    return mean.square().sum(-1), (mean * logs.square()).sum(-1)


def calibration_error(confidence: Tensor, right: Tensor, counted: Tensor) -> Tensor:
    """Expected calibration error [1] of groups (G, N): 15 bins of equal width, weighted by their samples.

    NaN for a group of which no sample is ``counted``.

    References: [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    >>> sure = torch.full((1, 4), 0.9)
    >>> yes = torch.tensor([[True, True, True, False]])
    >>> calibration_error(sure, yes, torch.ones_like(yes))  # said 0.9, was right in 0.75
    tensor([0.1500])
    """
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gap = torch.where(counted, confidence - right.to(confidence.dtype), 0.0)
    by_bin = gap.new_zeros(len(gap), BINS).scatter_add_(1, bins, gap)
    return by_bin.abs().sum(1) / counted.sum(1)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Per group: (G), and (G, C) for ``mean`` and ``predicted``."""

    samples: Tensor
    class_entropy: Tensor
    """Entropy of the mean predicted distribution, by log C: how diverse the predictions are."""
    sample_entropy: Tensor
    """Mean entropy of a sample's distribution, by log C: how unsure the model is. NaN if only classes are known."""
    sharpness: Tensor
    """Mean collision probability sum p^2 of a sample: 1 where it is sure, 1 / C where it is not at all. Of a summary
    the mean largest probability, which is no less; 1 where only classes are known."""
    max_class_probability: Tensor
    """Largest mean class probability."""
    unique_classes: Tensor
    """How many classes are the argmax of at least one sample."""
    mean: Tensor
    """The mean predicted distribution."""
    predicted: Tensor
    """How many samples have each class as argmax."""

    @classmethod
    def of_samples(cls, p: Tensor, valid: Tensor) -> tuple[Self, Tensor, Tensor]:
        """From probabilities (G, N, C), 0 for samples that are not ``valid`` (G, N).

        Returns the largest probability of each sample and its class, (G, N), as well.
        """
        samples = valid.sum(1).to(p.dtype)
        certain = _nats(p).sum((1, 2)) / (samples * math.log(p.shape[-1]))
        confidence, place = largest(p)
        mean = p.sum(1) / samples[:, None]
        predicted = torch.zeros_like(mean).scatter_add_(1, place, valid.to(p.dtype))
        sharpness = torch.linalg.vector_norm(p, dim=(1, 2)).square() / samples
        return cls._of(samples, mean, predicted, certain, sharpness), confidence, place

    @classmethod
    def of_summary(
        cls, samples: Tensor, mean: Tensor, predicted: Tensor, mean_entropy: Tensor, sharpness: Tensor
    ) -> Self:
        """From samples (G), mean distribution and argmax counts (G, C), mean entropy in nats and mean maximum (G)."""
        return cls._of(samples, mean, predicted, mean_entropy / math.log(mean.shape[1]), sharpness.nan_to_num(1.0))

    @classmethod
    def _of(cls, samples: Tensor, mean: Tensor, predicted: Tensor, certain: Tensor, sharpness: Tensor) -> Self:
        unique = (predicted > 0).sum(1).to(mean.dtype)
        return cls(samples, entropy(mean), certain, sharpness, mean.max(1).values, unique, mean, predicted)
