"""Level, noise and wander of a short series."""

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
        state, now = course.update(state, part, part.isfinite(), part.isfinite().sum(-1))
        found.append(now)
    return Standing(
        *(torch.cat([getattr(f, name) for f in found], -1) for name in ("level", "noise", "wander", "count"))
    )


def test_the_level_is_the_median_of_the_last_five_values() -> None:
    level = standing(np.array([[1.0, 2.0, 90.0, 3.0, 4.0, 5.0]])).level[0]
    assert level.tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_the_noise_of_white_noise_is_found_whatever_the_slope(slope: float) -> None:
    rng = np.random.default_rng(0)
    values = slope * np.arange(500) + 0.3 * rng.standard_normal((200, 500))
    assert standing(values).noise[:, -1].mean().item() == pytest.approx(0.3, rel=0.05)


def test_a_straight_line_has_no_noise_and_wanders_about_one_step() -> None:
    now = standing(np.arange(300.0)[None])
    assert now.noise[0, -1].item() < 1e-6
    assert now.wander[0, -1].item() == pytest.approx(1.25, abs=0.05), "not the 16 of a single average's lag"


def test_noise_that_remembers_wanders_further_than_second_differences_say() -> None:
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((100, 400))
    values = np.zeros_like(steps)
    for t in range(1, 400):
        values[:, t] = 0.95 * values[:, t - 1] + steps[:, t]
    now = standing(values)
    assert now.wander[:, -1].mean().item() > 2 * 0.536 * now.noise[:, -1].mean().item()
