"""From samples to counts by class. Letters: G groups, N samples, K classes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from detectors.labels.codes import codes
from detectors.streams import CODE_BITS

WHOLE: Final = 64
"""Classes up to which counting goes by the whole confusion matrix, which is faster there."""


def class_counts(label: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """(G, 3 + 14, K): how often each class is label, prediction and both; and, of each label, the bits of predictions.

    ``label`` and ``predicted`` are places (G, N); -1 is a class without a place or, in both, no sample.

    >>> label, predicted = torch.tensor([[0, 0, 1, -1]]), torch.tensor([[0, 1, 1, -1]])
    >>> class_counts(label, predicted, 2)[0, :3].tolist()
    [[2, 1], [1, 2], [1, 1]]
    """
    bits = codes(classes, label.device).to(torch.int64)  # (K, bits)
    rows = len(label)
    group = torch.arange(rows, device=label.device)[:, None]
    a, b = (torch.where(x < 0, classes, x) for x in (label, predicted))
    if classes <= WHOLE:
        place = ((group * (classes + 1) + a) * (classes + 1) + b).flatten()
        flat = torch.bincount(place, minlength=rows * (classes + 1) ** 2)
        matrix = flat.view(rows, classes + 1, classes + 1)
        both = matrix[:, :classes, :classes]
        coded = (both.to(torch.float32) @ bits.to(torch.float32)).to(torch.int64)
        whole = [matrix[:, :classes].sum(2), matrix[:, :, :classes].sum(1), both.diagonal(dim1=1, dim2=2)]
        return torch.cat([torch.stack(whole, 1), coded.mT], 1)

    padded = torch.cat([bits, bits.new_zeros(1, CODE_BITS)]).to(torch.float32)
    each = torch.cat([torch.ones_like(a)[..., None], (a == b)[..., None], padded[b]], -1).to(torch.float32)
    by_label = each.new_zeros(rows, classes + 1, each.shape[-1])
    by_label.flatten(0, 1).index_add_(0, (group * (classes + 1) + a).flatten(), each.flatten(0, 1))
    predicted = torch.bincount((group * (classes + 1) + b).flatten(), minlength=rows * (classes + 1))
    labelled, hit, coded = torch.split(by_label[:, :classes].to(torch.int64), [1, 1, CODE_BITS], -1)
    return torch.cat([labelled, predicted.view(rows, -1)[:, :classes, None], hit, coded], -1).mT


def label_entropy(labelled: Tensor, samples: Tensor) -> Tensor:
    """Entropy in nats (G) of labels of which each class has so many (G, K), raised by what N samples take from it.

    By (m - 1) / 2N, m being the classes that occur: Miller (1955). What is left of the bias, where most classes occur
    once or not at all, makes it too small. NaN where some of the ``samples`` (G) are in no class, or there are none.

    >>> label_entropy(torch.tensor([[32.0, 32.0], [5.0, 0.0], [5.0, 1.0]]), torch.tensor([64, 5, 7]))
    tensor([0.7010, 0.0000,    nan])
    """
    entropy = torch.special.entr(labelled / samples[:, None]).sum(1)
    lifted = entropy + ((labelled > 0).sum(1) - 1) / (2 * samples)
    return torch.where((labelled.sum(1) == samples) & (samples > 0), lifted, torch.nan)
