"""A component that rises against a falling total."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.cell import BAD, UNKNOWN, Block
from detectors.components.balance import Balance
from detectors.components.conflict import CONFLICT
from detectors.kinds import Facts
from tests.detectors.blocks import F64, run
from tests.detectors.components.objectives import Floats, noise_of, objective
from tests.detectors.lifecycles import statuses


def three(first: Floats, second: Floats, third: Floats | None = None) -> Floats:
    """One row of three components, as many as the made-up fleet has slots."""
    return np.stack([first, second, np.zeros_like(first) if third is None else third])[None]


def case_a(noise: float = 0.0) -> Block:
    """150 steps between the published numbers of step 0 and step 149."""
    rng = np.random.default_rng(0)
    factor = 1 + noise * rng.standard_normal((2, 150))
    components = three(np.linspace(0.3085, 0.0105, 150) * factor[0], np.linspace(0.0416, 0.1212, 150) * factor[1])
    return objective(components, (1.0, 0.1, 1.0))


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_case_a_fires_for_the_diversity_term_and_for_no_other(noise: float) -> None:
    entropy, diversity, unused = statuses(Balance(), case_a(noise))["component_conflict"]
    assert "firing" in diversity[:100]
    assert diversity[-1] == "firing"
    assert set(entropy) | set(unused) == {"idle"}


@pytest.mark.parametrize(
    ("noise", "level"),
    [("white", 0.05), ("white", 0.3), ("t3", 0.05), ("t3", 0.3), ("ar0.5", 0.05), ("ar0.5", 0.3), ("ar0.9", 0.05)],
)
def test_healthy_decaying_runs_stay_silent(noise: str, level: float) -> None:
    decay = 0.2 + np.exp(-np.arange(2000) / 300)
    components = np.array([1.0, 0.3, 0.1])[:, None] * decay * (1 + level * noise_of(noise, (200, 3, 2000)))
    found = statuses(Balance(), objective(components, (1.0, 1.0, 1.0)))["component_conflict"]
    assert not any("firing" in slot for slot in found)


def test_strong_noise_with_a_long_memory_fires_less_than_once_in_100_000_steps() -> None:
    decay = 0.2 + np.exp(-np.arange(2000) / 300)
    components = np.array([1.0, 0.3, 0.1])[:, None] * decay * (1 + 0.3 * noise_of("ar0.9", (200, 3, 2000)))
    block = objective(components, (1.0, 1.0, 1.0))
    bad = run(Balance(), Balance().init(200, 3, F64), [block]).verdicts["component_conflict"] == BAD
    confirmed = bad.unfold(-1, 5, 1).all(-1).any(-1)  # (R, K)
    assert confirmed.sum() <= 200 * 2000 / 100_000


def test_a_slow_rise_is_found_through_strong_noise_that_remembers() -> None:
    since = np.maximum(np.arange(720) - 400.0, 0.0)
    main, other = np.exp(-since / 100), 0.2 * (1 + 1.5 * np.minimum(since / 150, 1.0))
    noise = 1 + 0.15 * noise_of("ar0.9", (20, 3, 720))
    components = np.stack([main, other, np.zeros(720)]) * noise
    found = statuses(Balance(), objective(components, (1.0, 1.0, 1.0)))["component_conflict"][1::3]
    assert sum("firing" in line[400:] for line in found) >= 18
    assert not any("firing" in line[:400] for line in found)


def test_a_rise_with_a_rising_total_is_no_conflict() -> None:
    rise = np.linspace(1.0, 3.0, 150)
    found = statuses(Balance(), objective(three(rise, rise), (1.0, 1.0, 1.0)))["component_conflict"]
    assert not any("firing" in slot for slot in found)


def test_a_component_whose_share_does_not_matter_is_no_conflict() -> None:
    components = three(np.linspace(1.0, 0.5, 150), np.linspace(0.01, 0.03, 150))
    silent = statuses(Balance(), objective(components, (1.0, 0.1, 1.0)))["component_conflict"]
    firing = statuses(Balance(), objective(components, (1.0, 2.0, 1.0)))["component_conflict"]
    assert "firing" not in silent[1]
    assert "firing" in firing[1]


def test_constant_series_are_no_conflict_whatever_rounding_makes_of_them() -> None:
    constant = np.full(500, 1 / 3)
    found = statuses(Balance(), objective(three(constant, 0.1 * constant, 1e-9 * constant), (1.0, 1.0, 1.0)))
    assert {status for slot in found["component_conflict"] for status in slot} == {"idle"}


def test_the_first_steps_are_unknown() -> None:
    block = case_a()
    verdict = run(Balance(), Balance().init(1, 3, F64), [block]).verdicts["component_conflict"]
    assert (verdict[..., :23] == UNKNOWN).all()
    assert (verdict[0, 1, 23:] != UNKNOWN).all()


def test_it_is_unknown_while_the_component_is_not_reported() -> None:
    block = case_a()
    block.values["component"][0, 1, 100:110] = torch.nan
    block.reported["component"][0, 1, 100:110] = False
    verdict = run(Balance(), Balance().init(1, 3, F64), [block]).verdicts["component_conflict"][0, 1]
    assert (verdict[100:110] == UNKNOWN).all()
    assert (verdict[110:] != UNKNOWN).all()


def test_the_message_has_the_numbers_and_the_component() -> None:
    readings = {
        "conflict_rise_ratio": 1.91,
        "conflict_fall_ratio": 0.93,
        "component_share_ratio": 0.536,
        "component_contribution": 0.0121,
    }
    facts = Facts("test", "diversity", "firing", 42, 46, readings, {}, {})
    text = CONFLICT.describe(facts)
    assert all(part in text for part in ("test", "diversity", "93%", "191%", "54%", "42"))
