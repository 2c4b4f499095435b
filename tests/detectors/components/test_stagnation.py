"""The main component of an objective stays where it began."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.cell import BAD, GOOD, UNKNOWN
from detectors.components.balance import Balance
from detectors.components.stagnation import STAGNATES
from detectors.kinds import Facts
from tests.detectors.blocks import fresh, run
from tests.detectors.components.objectives import Floats, fired, noise_of, objective, recorded
from tests.detectors.components.trainings import collapsed_contrast, two_tasks


def case_c(noise: float, steps: int = 300) -> Floats:
    """Contrastive, curl, divergence and identity: the first stays, the others fall."""
    levels = np.array([0.599, 5.66e-5, 1.63e-5, 6.57e-7])[:, None] * np.ones(steps)
    levels[1:] *= np.exp(-np.arange(steps) / 100)
    return levels[None] * (1 + noise * noise_of("white", (1, 4, steps)))


def learning(level: float, steps: int = 2000) -> Floats:
    """A component that falls to ``level`` times its start and stays there."""
    return level + (1 - level) * np.exp(-np.arange(steps) / 100)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_case_c_stagnates_in_its_contrastive_term(noise: float) -> None:
    found = fired(Balance(), objective(case_c(noise), (1.0,) * 4), STAGNATES.name)
    assert found[1:] == [None] * 3
    assert found[0] is not None
    assert 118 <= found[0] <= 130


def test_a_real_training_of_case_c_stagnates() -> None:
    assert fired(Balance(), recorded(collapsed_contrast()), STAGNATES.name) == [118, None, None, None]


def test_a_real_training_that_learns_does_not() -> None:
    assert fired(Balance(), recorded(two_tasks()), STAGNATES.name) == [None, None]


@pytest.mark.parametrize("noise", ["white", "t3", "ar0.9"])
@pytest.mark.parametrize("size", [0.05, 0.3])
@pytest.mark.parametrize("level", [0.2, 0.6])
def test_a_run_that_has_converged_is_silent_whatever_the_noise(noise: str, size: float, level: float) -> None:
    components = np.array([1.0, 0.3, 0.1])[:, None] * learning(level) * (1 + size * noise_of(noise, (40, 3, 2000)))
    assert not any(fired(Balance(), objective(components, (1.0, 1.0, 1.0)), STAGNATES.name))


def test_noise_that_hides_the_start_asks_for_more_patience() -> None:
    stuck = np.array([1.0, 0.2])[:, None] * (1 + 0.2 * noise_of("white", (40, 2, 720)))
    found = [at for at in fired(Balance(), objective(stuck, (1.0, 1.0)), STAGNATES.name)[::2] if at is not None]
    assert len(found) >= 34
    assert sorted(found)[20] > 140, "118 without noise"


def test_slow_progress_is_progress() -> None:
    component = np.stack([np.linspace(1.0, 0.7, 1000), np.full(1000, 0.3)])[None]
    noisy = component * (1 + 0.02 * noise_of("white", component.shape))
    assert fired(Balance(), objective(noisy, (1.0, 1.0)), STAGNATES.name) == [None, None]


def test_a_component_that_rises_is_for_other_detectors() -> None:
    component = np.stack([np.linspace(1.0, 3.0, 300), np.full(300, 0.3)])[None]
    assert fired(Balance(), objective(component, (1.0, 1.0)), STAGNATES.name) == [None, None]


def test_only_the_main_component_stagnates() -> None:
    component = np.stack([learning(0.1, 300), np.full(300, 0.05)])[None]
    assert fired(Balance(), objective(component, (1.0, 1.0)), STAGNATES.name) == [None, None]


def test_it_is_over_when_the_component_begins_to_fall() -> None:
    steps = np.arange(600)
    main = 0.6 * np.where(steps < 300, 1.0, np.exp(-(steps - 300) / 50)) + 0.05
    component = np.stack([main, np.full(600, 0.01)])[None]
    verdict = run(
        Balance(), Balance().init(1, 2, torch.zeros((), dtype=torch.float64)), [objective(component, (1.0, 1.0))]
    )
    assert (verdict.verdicts[STAGNATES.name][0, 0, 100:300] == BAD).all()
    assert (verdict.verdicts[STAGNATES.name][0, 0, 320:] == GOOD).all()


def test_until_its_patience_is_over_it_is_not_known() -> None:
    block = objective(case_c(0.02), (1.0,) * 4)
    verdict = run(Balance(), fresh(Balance(), block), [block]).verdicts[STAGNATES.name]
    assert (verdict[0, 0, :99] == UNKNOWN).all()
    assert (verdict[0, 1:, 24:] == GOOD).all()


def test_an_epoch_log_can_ask_for_less_patience() -> None:
    block = objective(case_c(0.02, steps=60), (1.0,) * 4)
    thresholds = {t.name: torch.tensor([t.default], dtype=torch.float64) for t in Balance().thresholds}
    thresholds["stagnation_steps"][0] = 30.0
    verdict = Balance().update(fresh(Balance(), block), block, thresholds).verdicts[STAGNATES.name]
    assert (verdict[0, 0, 40:] == BAD).all()


def test_steps_that_are_nan_count_for_nothing() -> None:
    component = case_c(0.02, 400)
    component[..., 50:100] = np.nan
    found = fired(Balance(), objective(component, (1.0,) * 4), STAGNATES.name)
    assert found[0] == 168


def test_the_message_has_the_numbers() -> None:
    readings = {
        "component_improvement_ratio": 0.01,
        "component_start": 0.605,
        "component_recent": 0.599,
        "component_share_ratio": 0.9999,
    }
    text = STAGNATES.describe(Facts("train", "contrastive", "firing", 99, 118, readings, {}, {}))
    assert all(part in text for part in ("contrastive", "train", "0.599", "0.605", "118", "learning rate"))
