"""The online line against numpy's weighted least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from detectors.predictions.regression import Line, Regression
from detectors.recurrence import decay_of


def fitted(x: Tensor, tau: float = 24.0) -> Line:
    regression = Regression(tau)
    return regression.update(regression.init(x.shape[0], x), x, torch.ones_like(x, dtype=torch.bool))[1]


@pytest.mark.parametrize("count", [3, 4, 16, 100, 1000])
def test_level_and_slope_are_those_of_weighted_least_squares(count: int) -> None:
    x = torch.randn(3, count, dtype=torch.float64, generator=torch.Generator().manual_seed(count))
    line = fitted(x)
    age = np.arange(count - 1, -1, -1)
    weights = decay_of(24.0) ** age
    for r in range(3):
        slope, level = np.polyfit(-age, x[r].numpy(), 1, w=np.sqrt(weights))
        np.testing.assert_allclose(line.slope[r, -1].item(), slope, rtol=1e-8)
        np.testing.assert_allclose(line.level[r, -1].item(), level, rtol=1e-8)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_slope_error_is_no_less_than_the_slopes_standard_deviation_on_noise(rho: float) -> None:
    x = torch.randn(500, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for t in range(1, 400):
        x[:, t] = rho * x[:, t - 1] + (1 - rho**2) ** 0.5 * x[:, t]
    line = fitted(x)
    ratio = line.slope[:, -1].std().item() / line.slope_error[:, -1].median().item()
    assert 0.15 < ratio < 1.0


def test_a_constant_has_no_slope_beyond_rounding() -> None:
    for value in (0.1, 1 / 3, 0.87, 1e9):
        line = fitted(torch.full((1, 500), value, dtype=torch.float64))
        assert not (line.slope.abs() > 4 * line.slope_error).any()


def test_nothing_is_known_before_the_third_value() -> None:
    line = fitted(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    assert line.slope.isnan()[0, 0]
    assert line.slope[0, 2].item() == pytest.approx(1.0)


def test_the_count_goes_on_past_the_length_of_its_tables() -> None:
    line = fitted(torch.arange(2000, dtype=torch.float64)[None])
    assert line.slope[0, -1].item() == pytest.approx(1.0)
    assert line.count[0, -1] == 2000
