"""How precisely numbers were reported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.aggregation.precision import quantum, resolved


def steps(x: torch.Tensor) -> torch.Tensor:
    shown, magnitude = resolved(x)
    return quantum(x, shown.amax(-1, keepdim=True).expand(3, len(x)), magnitude)


def step_of(values: list[float]) -> list[float]:
    """The step between neighbouring numbers at each value, after all were seen."""
    x = torch.tensor(values, dtype=torch.float64)
    found: list[float] = steps(x).tolist()
    return found


def test_numbers_of_four_decimals_have_a_step_of_a_ten_thousandth() -> None:
    assert step_of([12.3456, 0.12, 0.5001]) == pytest.approx([1e-4] * 3)


def test_numbers_of_four_significant_digits_have_a_step_by_their_size() -> None:
    assert step_of([1.234, 12.34, 0.01234, 123.4]) == pytest.approx([1e-3, 1e-2, 1e-5, 1e-1])


def test_numbers_in_full_precision_have_the_step_of_single_precision_at_most() -> None:
    assert step_of([1 / 3, np.pi]) == pytest.approx([2**-24 / 3, np.pi * 2**-24])


@pytest.mark.parametrize(("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11)])
def test_numbers_in_half_precision_have_its_step(dtype: torch.dtype, bits: int) -> None:
    x = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    x = x.to(dtype).double()
    assert steps(x).max() >= 2.0**-bits


def test_zero_and_what_is_not_finite_say_nothing() -> None:
    x = torch.tensor([0.0, float("nan"), float("inf")], dtype=torch.float64)
    assert resolved(x)[0].tolist() == [[0.0] * 3] * 3
    assert steps(x).tolist() == [0.0] * 3
