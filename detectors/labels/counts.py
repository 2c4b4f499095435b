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

    def count(place: Tensor, weight: Tensor) -> Tensor:
        return weight.new_zeros(rows, classes + 1).scatter_add_(1, place, weight)[:, :classes]

    ones = torch.ones_like(a)
    padded = torch.cat([bits, bits.new_zeros(1, CODE_BITS)])
    found = [count(a, ones), count(b, ones), count(a, (a == b).long())]
    return torch.stack(found + [count(a, padded[b, bit]) for bit in range(CODE_BITS)], 1)
