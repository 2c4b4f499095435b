"""Records looked at together are refused as if each had been looked at alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consumers.validity import invalid, places_of
from losswatch.schema import Predictions


def record(values: object, kind: str = "probabilities", dtype: str = "f8") -> Predictions:
    return Predictions(run="r", time=0.0, step=0, kind=kind, values=np.array(values, dtype=dtype))


RIGHT = record([[0.25, 0.75], [0.5, 0.5]])
UNKNOWN = record([[np.nan, 0.5]])
BELOW = record([[-0.5, 1.5]])
TOO_MUCH = record([[0.7, 0.7]])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_record_that_is_no_distribution_does_not_take_others_with_it(dtype: str) -> None:
    records = [record(each.values, dtype=dtype) for each in (RIGHT, BELOW, UNKNOWN, TOO_MUCH, RIGHT)]
    assert sorted(invalid(records)) == [1, 3]
    assert [bool(invalid([each])) for each in records] == [False, True, False, True, False]


def test_what_is_wrong_is_said() -> None:
    found = invalid([BELOW, TOO_MUCH])
    assert found[0] == "probabilities must lie between 0 and 1; for unnormalised scores send kind 'logits'"
    assert found[1] == "probabilities of a sample sum to 1 only within 0.4; for scores send kind 'logits'"


def test_logits_may_be_anything() -> None:
    assert invalid([record([[-9.0, 1e6]], kind="logits")]) == {}


def test_half_precision_over_many_classes_is_a_distribution() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(50_000), 4)
    assert invalid([record(p, dtype="f2")]) == {}


def test_the_mean_of_a_summary_must_be_a_distribution() -> None:
    def summary(mean: list[float]) -> Predictions:
        return Predictions(run="r", time=0.0, step=0, kind="summary", n=5, mean=mean, counts=[5, 0])

    assert list(invalid([summary([0.5, 0.5]), summary([0.5, 0.9]), summary([-1.0, 2.0])])) == [1, 2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_place_of_the_largest_value_leaves_nan_aside(dtype: type[np.floating[Any]]) -> None:
    values = np.array([[0.1, 0.7, 0.2], [np.nan, 0.2, 0.6], [0.5, 0.5, 0.0]], dtype=dtype)
    assert places_of(values).tolist() == [1, 2, 0]
