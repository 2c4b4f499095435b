"""One component is all of the total; another counts for nothing in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.cell import GOOD, UNKNOWN
from detectors.components.balance import Balance
from detectors.components.dominance import DOMINATES, INERT
from detectors.kinds import Facts
from tests.detectors.blocks import F64, fresh, run
from tests.detectors.components.objectives import Floats, fired, noise_of, objective, recorded
from tests.detectors.components.trainings import collapsed_contrast, two_tasks

CASE_C = (0.599, 5.66e-5, 1.63e-5, 6.57e-7)
"""Contrastive, curl, divergence and identity."""


def around(levels: tuple[float, ...], noise: float, steps: int = 200) -> Floats:
    """One row of components with noise of their own."""
    return np.array(levels)[None, :, None] * (1 + noise * noise_of("white", (1, len(levels), steps)))


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_case_c_is_all_contrastive_and_the_other_three_are_inert(noise: float) -> None:
    block = objective(around(CASE_C, noise), (1.0,) * 4)
    assert fired(Balance(), block, DOMINATES.name) == [42, None, None, None]
    assert fired(Balance(), block, INERT.name) == [None, 42, 42, 42]


def test_a_real_training_of_case_c_is_all_contrastive_and_the_other_three_are_inert() -> None:
    block = recorded(collapsed_contrast())
    assert fired(Balance(), block, DOMINATES.name) == [42, None, None, None]
    assert fired(Balance(), block, INERT.name) == [None, 42, 42, 42]


def test_a_real_training_of_two_tasks_that_both_matter_is_silent() -> None:
    block = recorded(two_tasks())
    assert fired(Balance(), block, DOMINATES.name) == [None, None]
    assert fired(Balance(), block, INERT.name) == [None, None]


@pytest.mark.parametrize("noise", ["white", "t3", "ar0.9"])
@pytest.mark.parametrize("trend", [0.0, 1 / 300], ids=["level", "falling"])
def test_components_that_count_are_neither_whatever_the_noise(noise: str, trend: float) -> None:
    decay = 0.2 + np.exp(-trend * np.arange(1000))
    components = np.array([1.0, 0.3, 0.05])[:, None] * decay * (1 + 0.3 * noise_of(noise, (40, 3, 1000)))
    block = objective(components, (1.0, 1.0, 1.0))
    assert not any(fired(Balance(), block, DOMINATES.name))
    assert not any(fired(Balance(), block, INERT.name))


def test_a_weight_decides_and_not_the_value_alone() -> None:
    block = objective(around((0.5, 500.0), 0.02), (1.0, 1e-6))
    assert fired(Balance(), block, DOMINATES.name) == [42, None]
    assert fired(Balance(), block, INERT.name)[0] is None


def test_negative_contributions_count_by_their_size() -> None:
    block = objective(around((-3.0, 1.0), 0.02), (1.0, 1.0))
    assert fired(Balance(), block, DOMINATES.name) == [None, None]
    block = objective(around((-3.0, 1e-5), 0.02), (1.0, 1.0))
    assert fired(Balance(), block, DOMINATES.name) == [42, None]


def test_the_only_component_of_an_objective_does_not_dominate_it() -> None:
    block = objective(around((1.0,), 0.02), (1.0,))
    verdicts = run(Balance(), fresh(Balance(), block), [block]).verdicts
    assert (verdicts[DOMINATES.name][..., 24:] == GOOD).all()


def test_a_component_whose_weight_is_zero_is_switched_off_on_purpose() -> None:
    block = objective(around((1.0, 0.4), 0.02), (1.0, 0.0))
    assert fired(Balance(), block, DOMINATES.name) == [None, None]
    assert fired(Balance(), block, INERT.name) == [None, None]


def test_where_a_component_is_reported_alone_its_share_says_nothing() -> None:
    block = objective(around((1.0, 0.4), 0.02), (1.0, 1.0))
    block.values["component"][0, 1, 100:] = torch.nan
    block.reported["component"][0, 1, 100:] = False
    verdict = run(Balance(), fresh(Balance(), block), [block]).verdicts[DOMINATES.name]
    assert (verdict[0, 0, 24:100] == GOOD).all()
    assert (verdict[0, :, 100:] == UNKNOWN).all()


def test_a_component_that_joins_later_is_judged_by_its_own_values() -> None:
    block = objective(around((1.0, 0.5, 1e-7), 0.02), (1.0, 1.0, 1.0))
    block.values["component"][0, 2, :100] = torch.nan
    block.reported["component"][0, 2, :100] = False
    assert fired(Balance(), block, INERT.name) == [None, None, 142]


def test_a_term_that_acts_now_and_then_is_not_dead() -> None:
    component = around((1.0, 0.0), 0.02, 600)
    component[0, 1, ::50] = 0.5
    assert fired(Balance(), objective(component, (1.0, 1.0)), INERT.name) == [None, None]


def test_inertness_is_over_when_the_component_grows() -> None:
    component = around((1.0, 1e-6), 0.02)
    component[0, 1, 100:] = 0.3
    block = objective(component, (1.0, 1.0))
    verdict = run(Balance(), fresh(Balance(), block), [block]).verdicts[INERT.name]
    assert (verdict[0, 1, 100:] == GOOD).all()


def test_it_is_unknown_whether_a_component_is_seen_in_a_total_that_is_not_reported() -> None:
    block = objective(around(CASE_C, 0.02), (1.0,) * 4)
    block.values["total"][:] = torch.nan
    block.reported["total"][:] = False
    verdicts = run(Balance(), Balance().init(1, 4, F64), [block]).verdicts
    assert (verdicts[INERT.name] == UNKNOWN).all()
    assert (verdicts[DOMINATES.name][..., 24:] != UNKNOWN).all()


def test_the_message_says_what_the_number_means() -> None:
    readings = {
        "component_share_ratio": 0.99988,
        "component_contribution": 0.599,
        "component_value": 0.599,
        "component_weight": 1.0,
    }
    text = DOMINATES.describe(Facts("train", "contrastive", "firing", 42, 61, readings, {}, {}))
    assert all(part in text for part in ("contrastive", "99.98%", "train", "42", "larger weights"))


@pytest.mark.parametrize(("past", "said"), [(0.0, "exactly 0"), (6.6e-7, "ten times its weight of 1")])
def test_the_message_tells_a_small_component_from_one_that_was_never_there(past: float, said: str) -> None:
    readings = {
        "component_share_ratio": 1.1e-6,
        "component_contribution": past,
        "component_value": past,
        "component_weight": 1.0,
        "component_past": past,
    }
    text = INERT.describe(Facts("train", "identity", "firing", 42, 61, readings, {}, {}))
    assert "identity" in text
    assert said in text
