"""Two phases whose totals are made differently."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from detectors.aggregation.formulas import words_of
from detectors.aggregation.mismatch import MISMATCH, Mismatch
from detectors.cell import BAD, GOOD, UNKNOWN, Block
from detectors.kinds import Facts
from tests.detectors.aggregation.totals import audit, declaration, kendall, log_vars, losses, objective
from tests.detectors.blocks import F64, defaults


def verdict(
    reference: float,
    judged: float,
    reference_scale: float = 1.0,
    judged_scale: float = 1.0,
    reported: bool = True,
    unlike: float = 0.0,
) -> int:
    values = {
        "reference": reference,
        "judged": judged,
        "reference_scale": reference_scale,
        "judged_scale": judged_scale,
    }
    mask = torch.ones(1, 1, dtype=torch.bool)
    block = Block(
        torch.zeros(1, 1, dtype=torch.int64),
        mask,
        {name: torch.tensor([[value]], dtype=torch.float64) for name, value in values.items()},
        {"judged": mask & reported, "reference": mask},
        {"unlike": torch.tensor([unlike], dtype=torch.float64)},
    )
    cell = Mismatch()
    return int(cell.update({}, block, defaults(cell, 1, F64)).verdicts["aggregation_mismatch"].item())


@pytest.mark.parametrize(
    ("reference", "judged", "want"),
    [
        (1, 1, GOOD),
        (8, 2, BAD),
        (3, 2, GOOD),
        (3, 8, BAD),
        (4, 1024, UNKNOWN),
        (2048, 64, UNKNOWN),
        (1024, 1, BAD),
        (math.nan, 1, UNKNOWN),
        (1, math.inf, UNKNOWN),
        (1e308, 1, UNKNOWN),
    ],
)
def test_totals_differ_only_if_no_formula_explains_both(reference: float, judged: float, want: int) -> None:
    assert verdict(reference, judged) == want


@pytest.mark.parametrize(
    ("scales", "want"), [((1, 0.25), BAD), ((0.25, 0.25), GOOD), ((1, 1.02), GOOD), ((1, math.nan), UNKNOWN)]
)
def test_the_same_formula_with_another_factor_is_another_total(scales: tuple[float, float], want: int) -> None:
    assert verdict(1, 1, *scales) == want


def test_the_same_form_that_is_declared_with_other_numbers_is_another_formula() -> None:
    assert verdict(64, 64, unlike=1.0) == BAD
    assert verdict(64, math.nan, unlike=1.0) == UNKNOWN
    now = dict.fromkeys(MISMATCH.evidence, 1.0) | {"formula_judged": 64.0, "formula_reference": 64.0}
    said = MISMATCH.describe(Facts("val", "total", "firing", 30, 30, now, {}, {}))
    assert "with a regularizer, but are declared with other weights, factors or regularizers" in said


def test_steps_of_the_training_phase_judge_nothing() -> None:
    assert verdict(8, 2, reported=False) == UNKNOWN


def test_55_85_against_6_20_is_uncertainty_weighting_against_a_mean() -> None:
    """Case B: the losses of the table, scaled up until the two totals are the published ones."""
    s = log_vars(40)
    validation = losses(40, noise=0.05)
    validation *= (55.85 - 0.5 * s.sum(0)) / (0.5 * np.exp(-s) * validation).sum(0)
    test = losses(40, seed=1, noise=0.05)
    test *= 6.20 / test.mean(0)
    trained = declaration("kendall", train=True, variant="half")
    here = audit(objective(np.round(kendall(validation, s), 2), np.round(validation, 2), log_var=np.round(s, 4)))
    there = audit(objective(np.round(test.mean(0), 2), np.round(test, 2), log_var=np.round(s, 4), declared=trained))
    assert set(objective(np.round(kendall(validation, s), 2), validation).values["total"][0].tolist()) == {55.85}
    assert here.last("total_form") == 8
    assert there.last("total_form") == 2
    assert verdict(here.last("total_form"), there.last("total_form")) == BAD
    readings = {
        "formula_reference": here.last("total_form"),
        "formula_judged": there.last("total_form"),
        "formula_reference_scale": 1.0,
        "formula_judged_scale": 1.0,
        "formula_unlike": 0.0,
    }
    text = MISMATCH.describe(Facts("test", "total", "firing", 40, 40, readings, {}, {}, "train total"))
    assert words_of(8) in text
    assert words_of(2) in text
    assert "losswatch_total_simple" in text
