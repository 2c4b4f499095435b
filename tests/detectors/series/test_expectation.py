"""Declared bands."""

from __future__ import annotations

import math

import pytest
import torch

from detectors.cell import Block
from detectors.kinds import Facts
from detectors.series.expectation import EXPECTATION_MISSED, Expectation
from tests.detectors.blocks import fresh, run
from tests.detectors.lifecycles import statuses


def block_of(values: list[float], low: list[float], high: list[float]) -> Block:
    """One series with its band."""
    value, lower, upper = (torch.tensor([numbers], dtype=torch.float64) for numbers in (values, low, high))
    mask = torch.ones_like(value, dtype=torch.bool)
    return Block(torch.arange(len(values))[None], mask, {"value": value, "low": lower, "high": upper})


def case_c(contrastive: list[float]) -> Block:
    """The trajectory of case C: 2.0 to 1.2 by epoch 3, 0.6 by 10, 0.3 by 15."""
    high = [
        2.0 if epoch < 3 else 1.2 if epoch < 10 else 0.6 if epoch < 15 else 0.3 for epoch in range(len(contrastive))
    ]
    return block_of(contrastive, [math.nan] * len(contrastive), high)


def test_case_c_is_told_by_how_much_it_missed() -> None:
    block = case_c([2.0, 1.6, 1.3, 1.1, 0.9, 0.8, 0.7, 0.65, 0.62, 0.61, *[0.599] * 8])
    assert statuses(Expectation(), block)["expectation_missed"][0][-4:] == ["idle", "pending", "pending", "firing"]
    excess = run(Expectation(), fresh(Expectation(), block), [block]).readings["expectation_excess"][0]
    assert excess[-1].item() == pytest.approx(0.299)
    assert excess[5].item() == 0.0


def test_a_run_that_keeps_to_its_band_is_silent() -> None:
    block = case_c([2.0 * math.exp(-epoch / 5) for epoch in range(18)])
    assert set(statuses(Expectation(), block)["expectation_missed"][0]) == {"idle"}


def test_below_the_band_is_negative_and_without_a_band_it_is_unknown() -> None:
    block = block_of([0.1, 0.1, 0.1, math.nan], [0.4, math.nan, math.nan, 0.4], [0.7, math.nan, 0.05, 0.7])
    output = run(Expectation(), fresh(Expectation(), block), [block])
    assert output.readings["expectation_excess"][0, :3].tolist() == pytest.approx([-0.3, math.nan, 0.05], nan_ok=True)
    assert output.verdicts["expectation_missed"][0].tolist() == [1, -1, 1, -1]


def test_the_message_says_by_how_much_and_on_which_side() -> None:
    readings = {"value": 0.599, "expectation_excess": 0.299, "expectation_low": math.nan, "expectation_high": 0.3}
    text = EXPECTATION_MISSED.describe(Facts("train", "contrastive", "firing", 15, 17, readings, {}, {}))
    assert all(part in text for part in ("contrastive (train)", "0.599", "0.299 above the 0.3", "step 15"))
    below = readings | {"expectation_excess": -0.1, "expectation_low": 0.4}
    assert "0.1 below the 0.4" in EXPECTATION_MISSED.describe(Facts("val", "movement", "firing", 1, 3, below, {}, {}))
