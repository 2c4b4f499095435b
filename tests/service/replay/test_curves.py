from __future__ import annotations

import numpy as np
import pytest

from detectors.components.contributions import shares
from losswatch.arrays import NOT_REPORTED
from service.replay.curves import BUCKETS, Curve, CurveKey, Curves
from tests.consumers.builders import a_fleet, decoded, make_start, make_steps


@pytest.mark.parametrize("block", [1, 7, 64, 5000])
def test_a_curve_does_not_depend_on_how_it_came(block: int) -> None:
    rng = np.random.default_rng(0)
    steps, values = np.arange(5000), rng.standard_normal(5000)
    values[[17, 4711]] = np.nan
    whole, parts = Curve(), Curve()
    whole.add(steps, values)
    for first in range(0, 5000, block):
        parts.add(steps[first : first + block], values[first : first + block])
    np.testing.assert_array_equal(parts.points(), whole.points())


def test_outliers_and_gaps_survive_any_length() -> None:
    steps = np.arange(100_000)
    values = np.sin(steps / 1000.0)
    values[123], values[77_777], values[50_000] = 9.0, -9.0, np.nan
    curve = Curve()
    curve.add(steps, values)
    at, kept = curve.points()
    assert len(at) <= 3 * BUCKETS
    assert (kept[at == 123], kept[at == 77_777]) == (9.0, -9.0)
    assert np.isnan(kept[at == 50_000])
    assert (np.diff(at) > 0).all()


def test_few_values_are_kept_as_they_are() -> None:
    curve = Curve()
    curve.add(np.array([3, 4, 1, 2]), np.array([1.0, np.inf, 5.0, 4.0]))
    np.testing.assert_array_equal(curve.points()[0], [3, 4, 1, 2])
    np.testing.assert_array_equal(curve.points()[1], [1.0, np.nan, 5.0, 4.0])


def test_shares_are_those_of_the_detectors() -> None:
    fleet, curves = a_fleet(), Curves()
    start = make_start("a", objective={"train": {"form": "weighted_sum", "weights": {"c0": 0.5, "c1": -2.0}}})
    weight = np.array([NOT_REPORTED, 3.0, NOT_REPORTED, 0.0])
    record = make_steps("a", 0, 4, seq=1, weights={"c0": weight})
    fleet.take(decoded([start, record]))
    curves.add(fleet.runs["a"], record)
    import torch

    weights = np.array([[0.5, 3.0, 0.5, 0.0], [-2.0] * 4])
    expected = shares(torch.from_numpy(weights * np.stack([record.components["c0"], record.components["c1"]]))[None])[0]
    for name, share in zip(("c0", "c1"), expected, strict=True):
        np.testing.assert_allclose(curves.by_key[CurveKey("train", "share", name)].points()[1], share.numpy())
