"""Contributions and shares."""

from __future__ import annotations

import math

import pytest
import torch

from detectors.cell import Block
from detectors.components.contributions import contributions


def read(component: list[float], weight: list[float], reported: list[bool] | None = None) -> dict[str, torch.Tensor]:
    """One step of one objective."""
    value = torch.tensor(component, dtype=torch.float64)[None, :, None]
    block = Block(
        torch.zeros(1, 1, dtype=torch.int64),
        torch.ones(1, 1, dtype=torch.bool),
        {
            "total": torch.tensor([[0.3127]], dtype=torch.float64),
            "component": value,
            "weight": torch.tensor(weight, dtype=torch.float64)[None, :, None],
        },
        {
            "total": torch.ones(1, 1, dtype=torch.bool),
            "component": torch.tensor(reported or [True] * len(component))[None, :, None],
        },
    )
    return contributions(block)


@pytest.mark.parametrize(
    ("entropy", "diversity", "percent"), [(0.3085, 0.0416, 1.3), (0.0105, 0.1212, 53.6)], ids=["step 0", "step 149"]
)
def test_case_a_has_the_published_shares(entropy: float, diversity: float, percent: float) -> None:
    share = read([entropy, diversity], [1.0, 0.1])["component_share_ratio"]
    assert round(100 * share[0, 1, 0].item(), 1) == percent


def test_case_a_total_is_the_sum_of_the_contributions() -> None:
    contribution = read([0.3085, 0.0416], [1.0, 0.1])["component_contribution"]
    assert contribution.sum().item() == pytest.approx(0.3127, abs=5e-5)


def test_shares_of_negative_contributions_are_by_size() -> None:
    assert read([3.0, -1.0], [1.0, 1.0])["component_share_ratio"].flatten().tolist() == [0.75, 0.25]


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
def test_a_component_that_is_not_finite_has_no_share_and_takes_none(lost: float) -> None:
    share = read([3.0, lost, 1.0], [1.0, 1.0, 1.0])["component_share_ratio"].flatten()
    assert share[[0, 2]].tolist() == [0.75, 0.25]
    assert share[1].isnan()


def test_nothing_has_a_share_of_nothing() -> None:
    assert read([0.0, 0.0], [1.0, 1.0])["component_share_ratio"].isnan().all()


def test_the_weight_of_a_component_that_was_not_reported_is_not_known() -> None:
    weight = read([3.0, math.nan], [1.0, 0.1], [True, False])["component_weight"].flatten()
    assert weight[0] == 1.0
    assert weight[1].isnan()
