"""Level, mean and noise of a short series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.evaluation.course import Course, Standing

Floats = npt.NDArray[np.float64]


def standing(values: Floats) -> Standing:
    """Of rows (R, T), taken 64 values at a time."""
    course, x = Course(), torch.from_numpy(values)
    state = course.init(x.shape[0], torch.zeros((), dtype=torch.float64))
    found = []
    for part in torch.split(x, 64, dim=1):
        state, now = course.update(state, part, torch.full((x.shape[0],), part.shape[1]))
        found.append(now)
    return Standing(*(torch.cat([getattr(f, name) for f in found], -1) for name in Standing.__dataclass_fields__))


def test_the_level_is_the_median_of_the_last_five_values() -> None:
    level = standing(np.array([[1.0, 2.0, 90.0, 3.0, 4.0, 5.0]])).level[0]
    assert level.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_the_noise_of_white_noise_is_found_whatever_the_slope(slope: float) -> None:
    rng = np.random.default_rng(0)
    values = slope * np.arange(500) + 0.3 * rng.standard_normal((200, 500))
    assert standing(values).noise[:, -1].mean().item() == pytest.approx(0.3, rel=0.05)


def test_a_straight_line_has_no_noise() -> None:
    assert standing(np.arange(300.0)[None]).noise[0, -1].item() < 1e-6


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_the_error_of_the_mean_is_how_far_it_wanders(memory: float) -> None:
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((300, 400))
    values = np.zeros_like(steps)
    for t in range(1, 400):
        values[:, t] = memory * values[:, t - 1] + steps[:, t]
    now = standing(values)
    told, seen = now.mean_error[:, -1].median().item(), now.mean[:, -1].std().item()
    assert told == pytest.approx(seen, rel=0.25)
