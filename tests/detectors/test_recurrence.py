"""Closed forms against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import recurrence

small = st.floats(-100, 100, width=32)


@settings(max_examples=100, deadline=None)
@given(st.lists(small, min_size=1, max_size=80), small, st.floats(0.01, 1.0))
def test_a_discounted_sum_is_that_of_the_loop(x: list[float], before: float, decay: float) -> None:
    got = recurrence.discounted_sum(
        torch.tensor([before], dtype=torch.float64), torch.tensor([x], dtype=torch.float64), decay
    )
    y, want = before, []
    for value in x:
        y = decay * y + value
        want.append(y)
    np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_a_discounted_sum_weighs_by_a_power_of_the_age(power: int) -> None:
    x = torch.randn(2, 3, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = recurrence.discounted(x, 0.9, power)
    for t in range(30):
        want = sum((t - s) ** power * 0.9 ** (t - s) * x[..., s] for s in range(t + 1))
        torch.testing.assert_close(got[..., t], want)


def test_after_tau_steps_a_value_counts_for_one_e_th() -> None:
    assert recurrence.decay_of(24.0) ** 24 == pytest.approx(1 / math.e)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(small, st.booleans()), min_size=1, max_size=30), small)
def test_the_newest_valid_value_is_held(values: list[tuple[float, bool]], before: float) -> None:
    x, valid = torch.tensor([[v for v, _ in values]]), torch.tensor([[ok for _, ok in values]])
    kept, want = before, []
    for value, ok in values:
        kept = value if ok else kept
        want.append(kept)
    assert recurrence.held(x, valid, torch.tensor([before]))[0].tolist() == want


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(small, st.booleans()), min_size=1, max_size=30))
def test_packing_keeps_the_valid_values_in_order_and_unpacking_puts_them_back(values: list[tuple[float, bool]]) -> None:
    x, valid = torch.tensor([[v for v, _ in values]]), torch.tensor([[ok for _, ok in values]])
    front = recurrence.packed(x, valid)
    kept = [v for v, ok in values if ok]
    assert front[0].tolist() == kept + [0.0] * (len(values) - len(kept))
    back = recurrence.unpacked(front, valid)
    assert back[valid].tolist() == kept
    assert back[~valid].isnan().all()


def test_the_last_value_is_that_of_each_rows_last_step_and_the_old_one_without_steps() -> None:
    x = torch.arange(12.0).view(2, 2, 3)
    got = recurrence.last(x, torch.tensor([2, 0]), torch.full((2, 2), -1.0))
    assert got.tolist() == [[1.0, 4.0], [-1.0, -1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_bounded_values_are_finite(dtype: torch.dtype) -> None:
    most = torch.finfo(dtype).max
    x = recurrence.bounded(torch.tensor([math.inf, -math.inf, most, -most, math.nan], dtype=dtype))
    assert (x[:4] * x[:4] * 1000).isfinite().all()
    assert x[4].isnan()


def test_rows_without_slots_have_sums_without_slots() -> None:
    found = recurrence.discounted_sum(torch.zeros(3, 0), torch.zeros(3, 0, 40), 0.5)
    assert found.shape == (3, 0, 40)
