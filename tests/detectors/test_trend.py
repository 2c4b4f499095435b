"""Recent mean against the past."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from detectors.trend import Movement, Trend, spread_of, wander_of


def moved(x: Tensor) -> Movement:
    trend = Trend()
    return trend.update(
        trend.init((x.shape[0],), x), x, torch.ones_like(x, dtype=torch.bool), torch.full(x.shape[:1], x.shape[1])
    )[1]


def noise(rows: int, steps: int) -> Tensor:
    return torch.randn(rows, steps, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_means_are_weighted_by_age() -> None:
    x = noise(1, 50)
    age = np.arange(49, -1, -1)
    movement = moved(x)
    for mean, tau in ((movement.recent, 8.0), (movement.past, 64.0)):
        want = np.average(x[0].numpy(), weights=np.exp(-age / tau))
        np.testing.assert_allclose(mean[0, -1].item(), want, rtol=1e-12)


def test_noise_is_the_standard_deviation_and_does_not_see_a_slow_trend() -> None:
    x = 3.0 * noise(200, 1000)
    trend = 0.2 * torch.arange(1000, dtype=torch.float64)
    assert abs(moved(x).noise[:, -1].mean().item() - 3.0) < 0.1
    assert abs(moved(x + trend).noise[:, -1].mean().item() - 3.0) < 0.1


def test_spread_is_what_white_noise_does_to_the_difference() -> None:
    movement = moved(noise(2000, 600))
    got = (movement.recent - movement.past)[:, -1].std().item()
    assert math.isclose(got, spread_of(8.0, 64.0), rel_tol=0.05)


def test_a_constant_does_not_move_significantly() -> None:
    for value in (0.1, 1 / 3, 1e-12, 1e12, 0.0):
        x = torch.full((1, 500), value, dtype=torch.float64)
        significance = moved(x).significance()
        assert not (significance.abs() > 1.0).any()


def test_values_that_are_not_finite_do_not_count() -> None:
    x = noise(1, 40)
    dirty = torch.cat([x[:, :20], torch.tensor([[math.nan, math.inf, -math.inf]], dtype=torch.float64), x[:, 20:]], 1)
    movement = moved(dirty)
    assert movement.count[0, -1] == 40
    assert movement.recent.isfinite().all()


def test_means_of_correlated_noise_wander_further_and_the_significance_knows() -> None:
    for rho in (0.0, 0.5, 0.8):
        x = noise(1000, 600)
        for t in range(1, 600):
            x[:, t] = rho * x[:, t - 1] + math.sqrt(1 - rho**2) * x[:, t]
        significance = moved(x).significance()[:, -1]
        assert 0.75 < significance.std().item() < 1.1


def test_a_trend_is_no_correlation() -> None:
    x = noise(500, 600) + 0.5 * torch.arange(600, dtype=torch.float64)
    assert wander_of(moved(x).correlation)[:, -1].mean().item() < 1.15
