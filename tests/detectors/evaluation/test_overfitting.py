"""Validation that turns up while training goes on falling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from torch.nn import functional

from detectors.evaluation.overfitting import ERRATIC_VALIDATION, Overfitting
from detectors.kinds import Facts
from tests.detectors.evaluation.pairs import Floats, falling, pair
from tests.detectors.lifecycles import statuses


def fires(reference: Floats, judged: Floats, direction: float = -1.0, kind: str = "overfitting") -> int | None:
    """The position at which the finding fires."""
    course = statuses(Overfitting(), pair(reference, judged, direction))[kind][0]
    return next((t for t, status in enumerate(course) if status == "firing"), None)


def turning(steps: int, best: int, end: float) -> Floats:
    """From 1 down to 0.5 at ``best``, then up to ``end``."""
    return np.interp(np.arange(steps), [0, best, steps - 1], [1.0, 0.5, end])


def test_validation_that_doubles_while_training_falls_is_overfitting() -> None:
    at = fires(falling(25), turning(25, 5, 1.0))
    assert at is not None
    assert at <= 13


def test_case_e_overfits_by_its_gap_alone() -> None:
    train = np.array([0.90, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])  # 100 % by epoch 2
    val = np.full(10, 0.464) + 0.002 * np.sin(np.arange(10))
    assert fires(train, val, direction=1.0) is not None


def test_case_e_overfits_by_its_rising_validation_loss() -> None:
    train = np.geomspace(1.2, 0.0331, 20)
    val = np.concatenate([np.linspace(1.9, 1.3, 5), np.linspace(1.32, 1.780, 15)])
    assert fires(train, val) is not None


def test_training_that_learns_by_heart_while_validation_gains_nothing_is_overfitting() -> None:
    val = np.interp(np.arange(12), [0, 3, 11], [1.0, 0.5, 0.48])
    assert fires(np.geomspace(1.0, 0.02, 12), val) is not None
    assert fires(np.geomspace(1.0, 0.2, 12), val) is None, "half of what validation has is not by heart"


def test_a_total_that_may_fall_below_zero_is_not_learned_by_heart_where_it_crosses_it() -> None:
    train, val = np.linspace(2.4, 0.01, 120), np.linspace(1.2, 0.6, 120)
    assert statuses(Overfitting(), pair(train, val, floor=0.0))["overfitting"][0].count("firing") == 0
    assert statuses(Overfitting(), pair(train, val))["overfitting"][0].count("firing") > 0, "a loss with a floor"


def test_a_validation_that_rises_out_of_its_noise_while_training_is_level_is_overfitting() -> None:
    rng = np.random.default_rng(2)
    train, noise = 0.2 * (1 + 0.05 * rng.standard_normal(120)), 1 + 0.05 * rng.standard_normal(120)
    rising = np.interp(np.arange(120), [0, 60, 119], [0.4, 0.4, 0.6]) * noise
    assert fires(train, rising) is not None
    assert fires(train, 0.4 * noise) is None
    assert fires(train * rising, rising) is None, "both rise"


def test_both_falling_both_rising_and_level_validation_are_none() -> None:
    rng = np.random.default_rng(1)
    level = np.interp(np.arange(60), [0, 10, 59], [1.0, 0.5, 0.5]) * (1 + 0.01 * rng.standard_normal(60))
    assert fires(falling(60), falling(60, 0.3)) is None
    assert fires(turning(60, 10, 2.0), turning(60, 10, 2.0)) is None, "that is divergence"
    assert fires(falling(60, 0.25), level) is None


def test_a_single_bad_validation_is_none() -> None:
    val = falling(40, 0.4)
    val[25] = 5.0
    assert fires(falling(40), val) is None


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_few_of_many_healthy_runs_fire(noise: float) -> None:
    fired = [fires(falling(60, 0.12, 0.05, seed), falling(60, 0.3, noise, 1000 + seed)) for seed in range(100)]
    assert sum(at is not None for at in fired) <= 1


def test_training_and_validation_that_arrive_at_different_rates_are_compared() -> None:
    train = np.repeat(falling(25), 10)
    val = np.full(250, np.nan)
    val[9::10] = turning(25, 5, 1.0)
    assert fires(train, val) is not None


def test_it_is_unknown_without_a_training_series_and_before_five_validations() -> None:
    silent = statuses(Overfitting(), pair(np.full(30, np.nan), turning(30, 5, 1.0)))["overfitting"][0]
    assert set(silent) == {"idle"}


def test_validation_that_jumps_by_half_of_itself_is_erratic_and_steady_one_is_not() -> None:
    rng = np.random.default_rng(3)
    assert fires(falling(40), 1 + 0.8 * rng.standard_normal(40).clip(-1, 1), kind="erratic_validation") is not None
    assert fires(falling(40), 1 + 0.1 * rng.standard_normal(40), kind="erratic_validation") is None


def test_validation_that_jumps_far_more_than_it_did_is_erratic_before_it_jumps_as_far_as_any() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal(160)
    grows = np.exp(np.where(np.arange(160) < 80, 0.04, 0.25) * noise)
    at = fires(falling(160), grows, kind="erratic_validation")
    assert at is not None
    assert at > 80
    assert fires(falling(160), np.exp(0.25 * noise), kind="erratic_validation") is None, "it always did"


def test_the_message_says_how_much_more_it_jumps_where_that_is_why() -> None:
    facts = Facts("val", "total", "firing", 60, 63, {}, {"erratic_validation_noise": 0.35}, {})
    few, many = (
        ERRATIC_VALIDATION.describe(
            replace(facts, readings={"validation_noise_ratio": noise, "validation_noise_before_ratio": 0.05})
        )
        for noise in (0.2, 0.5)
    )
    assert "20% of itself from one validation to the next, 4.0 times as much as before, since step 60" in few
    assert "50% of itself from one validation to the next, since step 60" in many


def _train(hidden: int, epochs: int, samples: int) -> tuple[Floats, Floats]:
    """Losses of a small network on noisy labels, in training and validation, by epoch."""
    torch.manual_seed(0)
    x, y = make_classification(samples + 400, 20, n_informative=8, flip_y=0.2, random_state=0)
    inputs, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    model = torch.nn.Sequential(torch.nn.Linear(20, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses: list[tuple[float, float]] = []
    for _ in range(epochs):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(inputs[:samples]), labels[:samples])
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        optimiser.step()
        with torch.no_grad():
            losses.append((loss.item(), functional.cross_entropy(model(inputs[samples:]), labels[samples:]).item()))
    train, val = np.array(losses).T
    return train, val


def test_a_real_network_that_learns_its_noise_by_heart_overfits() -> None:
    assert fires(*_train(hidden=256, epochs=150, samples=100)) is not None


def test_a_real_network_with_enough_data_does_not() -> None:
    assert fires(*_train(hidden=4, epochs=60, samples=4000)) is None
