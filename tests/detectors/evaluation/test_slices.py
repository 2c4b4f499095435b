"""A part of the data that gets worse while the whole gets better."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.evaluation.slices import DIVERGENCE, Slices
from detectors.kinds import Facts
from tests.detectors.blocks import fresh, run
from tests.detectors.evaluation.pairs import Floats, falling, pair
from tests.detectors.lifecycles import statuses


def fires(whole: Floats, part: Floats) -> int | None:
    """The position at which the finding fires."""
    course = statuses(Slices(), pair(whole, part))["slice_divergence"][0]
    return next((t for t, status in enumerate(course) if status == "firing"), None)


def test_case_d_the_better_checkpoint_on_average_costs_the_experiment_81_percent() -> None:
    whole = np.array([0.0095, 0.008386, 0.0082, 0.008040])
    part = np.array([4.0e-4, 2.1e-4, 3.0e-4, 3.8e-4])
    block = pair(whole, part, steps=np.array([20.0, 40.0, 60.0, 80.0]))
    now = {name: value[0, -1].item() for name, value in run(Slices(), fresh(Slices(), block), [block]).readings.items()}
    assert now["slice_best"] == 2.1e-4
    assert now["slice_best_step"] == 40
    assert now["whole_best_step"] == 80
    assert round(now["slice_cost_ratio"], 2) == 0.81


def test_a_slice_that_turns_while_the_whole_improves_diverges() -> None:
    part = np.interp(np.arange(60), [0, 20, 59], [1.0, 0.4, 0.8])
    assert fires(falling(60), part) is not None
    assert fires(part, part) is None, "both turn"
    assert fires(falling(60), falling(60, 0.2)) is None


def test_a_slow_turn_is_found_while_the_whole_gains_a_tenth() -> None:
    t = np.arange(100)
    whole = np.where(t < 40, 1.0, 1.0 - 0.16 * (t - 40) / 60)
    part = np.where(t < 40, 1.0, 1.0 + 0.09 * (t - 40) / 60)
    assert fires(whole, part) is not None
    assert fires(np.ones(100), part) is None


def test_the_best_of_the_whole_is_looked_up_where_the_slice_was_last_reported() -> None:
    whole = np.array([3.0, 2.0, np.nan, 1.0])
    part = np.array([0.5, np.nan, 0.8, np.nan])
    now = run(Slices(), fresh(Slices(), block := pair(whole, part)), [block]).readings
    assert now["slice_cost_ratio"][0, -1].item() == pytest.approx(0.6)


def test_the_message_names_the_checkpoint_and_the_cost() -> None:
    now = dict.fromkeys((DIVERGENCE.value, *DIVERGENCE.evidence), 0.81) | {"slice_best_step": 41.0}
    facts = Facts("val", "exp-7/mae", "firing", 44, 50, now, {}, {}, "val mae", {40: "epoch-40.pt", 50: "epoch-50.pt"})
    assert "Best for it: epoch-40.pt; the best of the whole costs it 81%." in DIVERGENCE.describe(facts)
