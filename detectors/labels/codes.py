"""Which class most samples of a label are predicted as, without a confusion matrix. Letters: K classes.

A matrix of a thousand classes has a million places. Here every class has a code of 14 bits, and of each label only the
number of samples whose predicted class has each bit set is counted. If more than half of the samples are predicted as
one class, its bits are the majorities (Cormode and Muthukrishnan 2005, "What's hot and what's not"). Ten bits are the
class's place; four are a hash of it, which exposes majorities that belong to no class.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from detectors.streams import CODE_BITS

PLACE_BITS: Final = 10
MOST: Final = 2**PLACE_BITS
"""Classes that have a code."""


def codes(classes: int, device: torch.device | str) -> Tensor:
    """(classes, 14) bool.

    >>> codes(4, "cpu")[3].long().tolist()
    [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    """
    place = torch.arange(classes, device=device)
    check = ((place * 2654435761) >> 7) & (2 ** (CODE_BITS - PLACE_BITS) - 1)
    whole = place | (check << PLACE_BITS)
    bits: Tensor = ((whole[:, None] >> torch.arange(CODE_BITS, device=device)) & 1).bool()
    return bits


def majority(counts: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """The place of the class that most samples of a label are predicted as, and at most what share of them.

    ``counts`` (14, ...) of samples by bit, ``labelled`` (...) in all. The share is an upper bound, exact where
    all others are predicted as classes of other codes; 0 where the bits are of no class.

    >>> bits = codes(8, "cpu").double()
    >>> predicted = torch.tensor([5, 5, 5, 2])
    >>> place, share = majority(bits[predicted].sum(0)[:, None], torch.tensor([4.0]))
    >>> place.item(), share.item()
    (5, 0.75)
    """
    shape = (-1, *[1] * labelled.dim())
    powers = 2 ** torch.arange(CODE_BITS, device=labelled.device).view(shape)
    ones = counts > labelled / 2
    whole = (ones * powers).sum(0)
    place = whole & (MOST - 1)
    share = torch.maximum(counts, labelled - counts).amin(0) / labelled
    check = ((place * 2654435761) >> 7) & (2 ** (CODE_BITS - PLACE_BITS) - 1)
    return place, torch.where(whole >> PLACE_BITS == check, share.nan_to_num(0.0), 0.0)
