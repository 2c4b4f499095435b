"""The largest value and its place, as torch's own ``max`` says."""

from __future__ import annotations

import pytest
import torch

from detectors.predictions.largest import FEW, largest


@pytest.mark.parametrize("classes", [2, 3, FEW, FEW + 1, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_what_torch_says_ties_included(classes: int, dtype: torch.dtype) -> None:
    x = torch.randint(0, 4, (5, 7, classes), generator=torch.Generator().manual_seed(classes)).to(dtype) / 4
    x[0, 0] = 0.0
    value, place = largest(x)
    assert torch.equal(value, x.amax(-1))
    first = torch.where(x == x.amax(-1, keepdim=True), torch.arange(classes), classes).amin(-1)
    assert torch.equal(place, first)
