"""Weights of the components, by form of the objective."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.aggregation.formulas import declared_weights, kendall_weights

CASE_B = [
    ("casualty", 45.0, 1.4, 6.26),
    ("regime", 2.5, 1.05, 0.96),
    ("transition", 0.3, 1.4, 0.74),
    ("anomaly", 1.2, 1.4, 0.85),
    ("forecast", 12.0, 1.9, 1.85),
    ("daily_forecast", 2.0, 1.4, 0.95),
]
"""Task, loss, log variance (two digits) and published contribution, which includes s / 2."""


@pytest.mark.parametrize(("loss", "log_var", "published"), [row[1:] for row in CASE_B], ids=[row[0] for row in CASE_B])
def test_case_b_contributions_are_those_of_the_half_variant(loss: float, log_var: float, published: float) -> None:
    weight = kendall_weights(np.array([log_var]), "half", 1.0)[0]
    assert weight * loss + log_var / 2 == pytest.approx(published, abs=0.015)


@pytest.mark.parametrize(("variant", "factor"), [("half", 0.5), ("full", 1.0), ("half_log", 1.0)])
def test_each_variant_weighs_a_zero_log_variance_by_its_factor(variant: str, factor: float) -> None:
    assert kendall_weights(np.zeros(2), variant, 3.0).tolist() == [3.0 * factor] * 2


def test_weights_that_are_not_declared_are_one_and_the_scale_multiplies_all() -> None:
    assert declared_weights("weighted_sum", {"b": 0.5}, 2.0, ["a", "b"]).tolist() == [2.0, 1.0]


def test_a_mean_weighs_by_the_number_of_components_and_none_is_no_error() -> None:
    assert declared_weights("mean", {}, 1.0, ["a", "b"]).tolist() == [0.5, 0.5]
    assert declared_weights("mean", {}, 1.0, []).tolist() == []


@pytest.mark.parametrize("log_var", [-1e308, 1e308, float("nan")])
def test_an_absurd_log_variance_raises_nothing(log_var: float) -> None:
    with np.errstate(over="ignore"):
        assert kendall_weights(np.array([log_var]), "half", 1.0).shape == (1,)
