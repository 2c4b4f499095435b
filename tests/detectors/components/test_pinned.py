"""A component at its floor, a log variance at its clamp or beyond its limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.cell import GOOD, UNKNOWN
from detectors.components.pinned import AT_FLOOR, CLAMPED, Pinned
from detectors.kinds import Facts
from tests.detectors.blocks import F64, fresh, run
from tests.detectors.components.objectives import Floats, fired, noise_of, objective, recorded
from tests.detectors.components.trainings import two_tasks, uncertainty_weighting

CASE_B = {"casualty": 8.0, "regime": 1.0, "transition": 0.2}
"""Scales whose squares ask for log variances of 4.9, 0.7 and -2.5: outside the clamp, inside, outside."""
MILD = {"a": 1.0, "b": 1.5, "c": 0.8}


def falling(noise: str = "white", rows: int = 1, steps: int = 500) -> Floats:
    """Components that fall from 1 to 0.02."""
    return (0.02 + np.exp(-np.arange(steps) / 60)) * (1 + 0.1 * noise_of(noise, (rows, 2, steps)))


def with_log_vars(s: Floats) -> list[int | None]:
    """Where the finding fires for components with these log variances (K, T)."""
    component = 1 + 0.1 * noise_of("white", (1, *s.shape))
    return fired(Pinned(), objective(component, (1.0,) * len(s), s[None], form="kendall"), CLAMPED.name)


def test_a_component_that_is_cut_off_at_005_is_at_its_floor() -> None:
    component = falling()
    component[:, 0] = np.maximum(component[:, 0], 0.05)
    found = fired(Pinned(), objective(component, (1.0, 1.0)), AT_FLOOR.name)
    assert found[0] is not None
    assert found[1] is None


def test_a_real_training_with_a_loss_that_is_cut_off_finds_its_floor() -> None:
    history = two_tasks(floor=0.05)
    pinned = next(i for i in range(400) if set(history["position"][i:]) == {history["position"][-1]})
    found = fired(Pinned(), recorded(history), AT_FLOOR.name)
    assert found[0] is not None
    assert found[0] <= pinned + 24
    assert found[1] is None


def test_a_real_training_without_a_floor_has_none() -> None:
    assert fired(Pinned(), recorded(two_tasks()), AT_FLOOR.name) == [None, None]


@pytest.mark.parametrize("digits", [3, 4, 17])
@pytest.mark.parametrize("noise", ["white", "t3", "ar0.9"])
def test_a_healthy_component_has_no_floor_however_it_is_printed(noise: str, digits: int) -> None:
    block = objective(np.round(falling(noise, rows=100), digits), (1.0, 1.0))
    assert not any(fired(Pinned(), block, AT_FLOOR.name))


def test_a_component_that_is_satisfied_at_zero_is_not_at_a_floor() -> None:
    block = objective(np.maximum(falling() - 0.05, 0.0), (1.0, 1.0))
    assert fired(Pinned(), block, AT_FLOOR.name) == [None, None]


def test_it_is_over_when_the_component_leaves_its_floor() -> None:
    component = falling()
    component[:, 0] = np.maximum(component[:, 0], 0.05)
    component[:, 0, 400:] += 0.1
    block = objective(component, (1.0, 1.0))
    verdict = run(Pinned(), fresh(Pinned(), block), [block]).verdicts[AT_FLOOR.name]
    assert (verdict[0, 0, 400:] == GOOD).all()


def test_a_real_training_of_tasks_on_other_scales_drives_their_log_variances_into_the_clamp() -> None:
    losses, log_vars = uncertainty_weighting(CASE_B)
    casualty, regime, transition = fired(Pinned(), recorded(losses, log_vars), CLAMPED.name)
    assert casualty is not None
    assert transition is not None
    assert regime is None


def test_a_real_training_of_tasks_on_one_scale_is_silent() -> None:
    losses, log_vars = uncertainty_weighting(MILD)
    assert fired(Pinned(), recorded(losses, log_vars), CLAMPED.name) == [None] * 3


def test_a_clamp_that_nobody_declared_is_seen_by_its_standstill() -> None:
    losses, log_vars = uncertainty_weighting({"a": 8.0, "b": 1.0}, clamp=1.5)
    assert max(log_vars["a"]) == 1.5
    found = fired(Pinned(), recorded(losses, log_vars), CLAMPED.name)
    assert found[0] is not None
    assert found[1] is None


@pytest.mark.parametrize("s", [-2.0, 2.0, 3.5, -7.0])
def test_a_log_variance_at_or_beyond_the_limit_is_told_as_soon_as_it_is_warm(s: float) -> None:
    assert with_log_vars(np.array([[s] * 60, [1.4] * 60])) == [27, None]


def test_log_variances_that_are_fixed_converge_or_wander_are_not_clamped() -> None:
    t = np.arange(600)
    converging = 1.9 * (1 - np.exp(-t / 40))
    wandering = 0.3 * np.cumsum(noise_of("white", (1, 600))[0]) / 25
    assert with_log_vars(np.stack([np.full(600, 1.05), np.round(converging, 4), wandering])) == [None] * 3


def test_an_objective_without_log_variances_has_none_at_a_clamp() -> None:
    block = objective(falling(), (1.0, 1.0))
    verdict = run(Pinned(), fresh(Pinned(), block), [block]).verdicts[CLAMPED.name]
    assert (verdict[..., 24:] == GOOD).all()


def test_uncertainty_weighting_that_does_not_report_its_log_variances_is_unknown() -> None:
    block = objective(falling(), (1.0, 1.0), form="kendall")
    verdict = run(Pinned(), fresh(Pinned(), block), [block]).verdicts[CLAMPED.name]
    assert (verdict == UNKNOWN).all()


def test_what_another_phase_reported_is_not_this_ones() -> None:
    block = objective(falling(), (1.0, 1.0), np.full((1, 2, 500), 2.0))
    block.reported["log_var"][:] = False
    verdict = run(Pinned(), Pinned().init(1, 2, F64), [block]).verdicts[CLAMPED.name]
    assert (verdict[..., 24:] == GOOD).all()
    assert not torch.isfinite(run(Pinned(), Pinned().init(1, 2, F64), [block]).readings["component_log_variance"]).any()


@pytest.mark.parametrize(("s", "said"), [(2.0, "at its clamp"), (-3.0, "outside 0.135 to 7.39"), (1.5, "at its clamp")])
def test_the_message_tells_a_clamp_from_a_weight_out_of_range(s: float, said: str) -> None:
    readings = {"component_log_variance": s, "component_log_variance_steps": 40.0}
    facts = Facts("train", "casualty", "firing", 42, 46, readings, {"log_variance_limit": 2.0}, {})
    text = CLAMPED.describe(facts)
    assert said in text
    assert all(part in text for part in ("casualty", "train", f"{s:g}"))


def test_the_message_has_the_floor_and_how_long() -> None:
    readings = {"component_floor_steps": 24.0, "component_value": 0.05}
    text = AT_FLOOR.describe(Facts("val", "anomaly", "firing", 42, 46, readings, {}, {}))
    assert all(part in text for part in ("anomaly", "val", "0.05", "24 steps"))
