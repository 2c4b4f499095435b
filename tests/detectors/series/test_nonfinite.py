"""NaN and infinities."""

from __future__ import annotations

import math

import pytest
import torch

from detectors.cell import Block
from detectors.kinds import Facts
from detectors.series.nonfinite import NON_FINITE, NonFinite
from detectors.streams import Role
from tests.detectors.lifecycles import statuses


def block_of(values: list[float]) -> Block:
    """One series."""
    value = torch.tensor([values], dtype=torch.float64)
    return Block(torch.arange(len(values))[None], torch.ones_like(value, dtype=torch.bool), {"value": value})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_it_fires_at_once_and_is_resolved_after_ten_finite_values(bad: float) -> None:
    status = statuses(NonFinite(), block_of([1.0, bad, *[2.0] * 12]))["non_finite"][0]
    assert status == ["idle", *["firing"] * 10, *["idle"] * 3]


def test_a_huge_or_tiny_value_is_finite() -> None:
    assert set(statuses(NonFinite(), block_of([1e308, -1e308, 5e-324, 0.0]))["non_finite"][0]) == {"idle"}


def test_a_series_that_begins_with_nan_fires_at_its_first_step() -> None:
    assert statuses(NonFinite(), block_of([math.nan]))["non_finite"][0] == ["firing"]


def test_the_message_names_series_phase_value_and_step() -> None:
    text = NON_FINITE.describe(Facts("train", "entropy", "firing", 17, 17, {"value": math.nan}, {}, {}))
    assert all(part in text for part in ("entropy", "train", "nan", "17"))


@pytest.mark.parametrize(
    ("role", "subject", "said"),
    [
        ("total", "total", "every weight that a non-finite loss"),
        ("component", "entropy", "every weight that a non-finite loss"),
        ("metric", "mae", "this is a metric, the weights may be sound"),
        ("slice", "exp-7/mae", "this is a metric, the weights may be sound"),
        ("reading", "class_entropy_ratio", "Predictions of phase val are not finite at step 3"),
        ("reading", "embedding_cosine_ratio", "Embeddings of phase val are not finite at step 3"),
    ],
)
def test_the_message_says_what_it_is_about(role: Role, subject: str, said: str) -> None:
    text = NON_FINITE.describe(Facts("val", subject, "firing", 3, 3, {"value": math.nan}, {}, {}, role=role))
    assert said in text
    assert ("loss was propagated" in text) is (role in {"total", "component"})
