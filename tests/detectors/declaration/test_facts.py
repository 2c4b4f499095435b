"""What is wrong before the first step."""

from __future__ import annotations

from math import isnan, nan

import pytest
import torch

from detectors.cell import BAD, GOOD, UNKNOWN, Block
from detectors.declaration.facts import Declaration, overlap
from detectors.streams import VALUES
from tests.detectors.blocks import fresh, run


def verdict(kind: str, **values: float) -> int:
    numbers = dict.fromkeys(VALUES["declaration"].row, nan) | values
    columns = {name: torch.tensor([[value]], dtype=torch.float64) for name, value in numbers.items()}
    block = Block(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool(), columns)
    return int(run(Declaration(), fresh(Declaration(), block), [block]).verdicts[kind].item())


@pytest.mark.parametrize(
    ("kind", "values", "want"),
    [
        ("split_leakage", {"overlap": 0.0}, GOOD),
        ("split_leakage", {"overlap": 0.01}, BAD),
        ("split_leakage", {}, UNKNOWN),
        ("over_capacity", {"parameters": 22.5e6, "samples": 1e4}, BAD),
        ("over_capacity", {"parameters": 11.2e6, "samples": 5e4}, GOOD),
        ("over_capacity", {"parameters": 22.5e6}, UNKNOWN),
        ("precision_mismatch", {"precision_differs": 1.0}, BAD),
        ("precision_mismatch", {"precision_differs": 0.0}, GOOD),
        ("precision_mismatch", {}, UNKNOWN),
    ],
)
def test_a_declaration_is_judged_at_once(kind: str, values: dict[str, float], want: int) -> None:
    assert verdict(kind, **values) == want


@pytest.mark.parametrize(
    ("part", "training", "want"),
    [
        ((10, 20), (0, 9), 0.0),
        ((10, 20), (0, 10), 0.0),
        ((10, 20), (0, 15), 0.5),
        ((10, 20), (0, 30), 1.0),
        ((20, 10), (30, 0), 1.0),
        ((5, 5), (0, 9), 1.0),
        ((5, 5), (6, 9), 0.0),
    ],
)
def test_the_overlap_is_a_share_of_the_part(
    part: tuple[float, float], training: tuple[float, float], want: float
) -> None:
    assert overlap(part, training) == want


@pytest.mark.parametrize("end", [float("nan"), float("inf"), float("-inf")])
def test_a_range_without_an_end_overlaps_nothing_that_is_known(end: float) -> None:
    assert isnan(overlap((5, end), (0, 10)))
    assert isnan(overlap((5, 9), (end, 10)))
