"""When a total is inconsistent, and the totals that can be compared."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from detectors.aggregation.audit import INCONSISTENT, Audit
from detectors.cell import BAD, GOOD, UNKNOWN
from detectors.kinds import Facts
from tests.detectors.aggregation.totals import (
    LEVELS,
    Declared,
    Floats,
    audit,
    declaration,
    kendall,
    log_vars,
    losses,
    objective,
    status,
    with_facts,
)

X, S = losses(), log_vars()
CASE_B = -np.log([0.247, 0.350, 0.247, 0.247, 0.150, 0.247])
"""The log variances of its table, from the weights of its table."""
KENDALL = declaration("kendall", variant="half", regularizer=0.01)


def told(found: dict[str, float], state: Literal["firing", "resolved"] = "firing") -> str:
    return INCONSISTENT.describe(Facts("test", None, state, 30, 40, found, {}, {}))


def test_case_b_has_the_published_mean_and_contributions_to_the_digit() -> None:
    level, s = LEVELS[:, None], CASE_B[:, None]
    assert s.round(2).flatten().tolist() == [1.4, 1.05, 1.4, 1.4, 1.9, 1.4]
    declared = declaration("kendall", variant="half")
    found = audit(objective(kendall(level, s), level, log_var=s, declared=declared))
    assert found.reading("total_simple") == pytest.approx([10.5])
    one_by_one = [
        audit(objective([0.0], level[[task]], log_var=s[[task]], declared=declared)).last("total_weighted")
        for task in range(6)
    ]
    assert [round(contribution, 2) for contribution in one_by_one] == [6.26, 0.96, 0.74, 0.85, 1.85, 0.95]
    assert found.last("total_weighted") == pytest.approx(sum(one_by_one))


def test_the_weighted_total_of_every_phase_is_by_the_training_formula() -> None:
    trained = declaration("kendall", train=True, variant="half", regularizer=0.01) | declaration("mean")
    found = audit(objective(X.mean(0), X, log_var=S, declared=trained))
    assert found.reading("total_weighted") == pytest.approx(kendall(X, S, "half", 0.01))
    assert found.reading("total_simple") == pytest.approx(X.mean(0))


def test_totals_that_can_be_compared_need_all_components() -> None:
    gaps = X.copy()
    gaps[2, ::2] = np.nan
    found = audit(objective(X.sum(0), gaps))
    assert np.isnan(found.reading("total_simple")[::2]).all()
    assert np.isfinite(found.reading("total_simple")[1::2]).all()


def test_a_mean_that_is_declared_as_uncertainty_weighting_is_inconsistent_and_both_are_named() -> None:
    block = objective(X.mean(0), X, log_var=S, declared=KENDALL)
    found = audit(block)
    assert found.verdicts() == [UNKNOWN] * 4 + [BAD] * 196
    assert found.last("total_form") == 2
    assert status(block)[8:] == ["firing"] * 192
    text = told({name: found.last(name) for name in INCONSISTENT.evidence})
    assert "uncertainty weighting, sum of e^-s L / 2 + s / 2, with a regularizer" in text
    assert "what it fits is the mean of the components" in text


@pytest.mark.parametrize(
    ("declared", "total"),
    [
        (declaration("sum"), X.sum(0)),
        (declaration("mean"), X.mean(0)),
        (KENDALL, kendall(X, S, "half", 0.01)),
        (declaration("ratio", base=1.0, factor=2.0), X[1] * (1 + X[2])),
    ],
    ids=["sum", "mean", "kendall", "ratio"],
)
@pytest.mark.parametrize("decimals", [2, 3, 4, 6, 12])
def test_a_declared_total_is_consistent_however_it_is_rounded(
    declared: Declared, total: np.ndarray[tuple[int], np.dtype[np.float64]], decimals: int
) -> None:
    rounded = objective(
        np.round(total, decimals), np.round(X, decimals), log_var=np.round(S, max(decimals, 3)), declared=declared
    )
    assert set(audit(rounded).verdicts()[4:]) == {GOOD}


def test_a_term_that_is_left_out_of_the_log_is_told_by_how_much() -> None:
    found = audit(objective(X.sum(0), X[:5], declared=declaration("sum")))
    assert set(found.verdicts()[4:]) == {BAD}
    assert found.last("total_residual_ratio") == pytest.approx(X[5, -1] / X[:5, -1].sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("total", "said"),
    [
        (X.sum(0) / 4, "0.25 times that: say so with divided_by"),
        (X.sum(0) + 3, "constant, as a term that is not"),
    ],
)
def test_the_message_says_by_what_factor_or_constant_it_is_off(total: Floats, said: str) -> None:
    found = audit(objective(total, X, declared=declaration("sum")))
    assert said in told({name: found.last(name) for name in INCONSISTENT.evidence})


def test_without_a_declaration_the_weighted_total_of_log_variances_is_that_of_case_b() -> None:
    found = audit(objective(X.mean(0), X, log_var=S))
    assert found.reading("total_weighted") == pytest.approx(kendall(X, S, "half"))


def test_a_difference_below_the_threshold_is_none_of_its_business() -> None:
    assert set(audit(objective(1.0005 * X.sum(0), X, declared=declaration("sum"))).verdicts()[4:]) == {GOOD}


def test_terms_that_cancel_are_measured_by_their_size_and_not_by_the_total() -> None:
    parts = np.vstack([X[0], -X[0] + 1e-9])
    found = audit(objective(np.full(200, 1e-4), parts, declared=declaration("sum")))
    assert BAD not in found.verdicts()


def test_an_undeclared_total_that_was_a_sum_and_becomes_a_mean_is_told_until_it_is_known_as_a_mean() -> None:
    total = np.where(np.arange(200) < 100, X.sum(0), X.mean(0))
    course = status(objective(total, X))
    assert course[:100] == ["idle"] * 100
    assert "firing" not in course
    assert audit(objective(total, X)).last("total_form") == 2


def test_an_undeclared_total_that_nothing_explains_any_more_is_inconsistent() -> None:
    total = X.sum(0)
    total[100:] *= 1 + 0.1 * np.random.default_rng(0).standard_normal(100)
    course = status(objective(total, X))
    assert course[:100] == ["idle"] * 100
    assert course[106:] == ["firing"] * 94


def test_a_total_that_nothing_ever_explained_is_not_known() -> None:
    total = np.random.default_rng(0).lognormal(0, 1, 200)
    assert set(audit(objective(total, X)).verdicts()) == {UNKNOWN}


def test_totals_of_the_step_before_are_inconsistent_with_a_declaration_and_told_as_such() -> None:
    found = audit(objective(np.roll(X.sum(0), 1), X, declared=declaration("sum")))
    assert set(found.verdicts()[20:]) == {BAD}
    assert "it fits the components of the step before" in told({n: found.last(n) for n in INCONSISTENT.evidence})


def test_a_component_that_is_logged_now_and_then_makes_no_step_bad() -> None:
    gaps = X.copy()
    gaps[2, np.arange(200) % 10 != 0] = np.nan
    verdicts = audit(objective(X.sum(0), gaps, declared=declaration("sum"))).verdicts()
    assert set(verdicts) == {GOOD, UNKNOWN}
    assert verdicts.count(GOOD) >= 19


def test_totals_per_epoch_beside_components_per_step_are_judged_where_they_meet() -> None:
    total = np.where(np.arange(200) % 20 == 19, X.sum(0), np.nan)
    verdicts = audit(objective(total, X, declared=declaration("sum"))).verdicts()
    assert [step for step, verdict in enumerate(verdicts) if verdict == GOOD] == list(range(19, 200, 20))
    assert BAD not in verdicts


def test_a_step_that_is_not_a_number_is_not_judged() -> None:
    spoiled = X.copy()
    spoiled[1, 50:60] = np.nan
    block = objective(spoiled.sum(0), X, declared=declaration("sum"))
    block.reported["total"][:] = True
    verdicts = audit(block).verdicts()
    assert set(verdicts[50:60]) == {UNKNOWN}
    assert set(verdicts[60:]) == {GOOD}


def test_what_was_expected_of_a_total_is_forgotten_when_a_component_is_added() -> None:
    cell = Audit()
    few = objective(X[0], np.vstack([X[:1], np.nan * X[1:2]]))
    few.facts["components"].fill_(1)
    state = audit(few).output.state
    both = objective(X[0], X[:2])
    verdict = cell.update(state, both, {"total_residual": both.values["total"].new_full((1,), 1e-3)}).verdicts
    assert BAD not in verdict["total_inconsistent"]


@pytest.mark.parametrize("measured", ["mean_since_last", "running_mean", "epoch_mean"])
def test_means_of_uncertainty_weighted_losses_are_consistent(measured: str) -> None:
    rng = np.random.default_rng(0)
    raw = X[:, None] * rng.lognormal(0, 0.3, (6, 20, 200))
    s = S[:, None] + np.linspace(-0.02, 0.02, 20)[:, None]
    total = (0.5 * np.exp(-s) * raw + 0.5 * s).sum(0).mean(0)
    declared = declaration("kendall", variant="half")
    block = objective(total, raw.mean(1), log_var=s.mean(1), declared=declared, measured=measured)
    assert set(audit(block).verdicts()[4:]) == {GOOD}


def test_medians_are_consistent_with_a_declared_sum_where_they_are_said_to_be_medians() -> None:
    raw = X[:4, None] * np.random.default_rng(0).lognormal(0, 0.3, (4, 20, 200))
    block = objective(np.median(raw.sum(0), 0), np.median(raw, 1), measured="median", declared=declaration("sum"))
    assert set(audit(block).verdicts()[4:]) == {GOOD}


def test_a_last_batch_beside_means_of_its_parts_is_not_judged() -> None:
    total = X.sum(0) * np.random.default_rng(0).lognormal(0, 1, 200)
    assert set(audit(objective(total, X, measured="mixed", declared=declaration("sum"))).verdicts()) == {UNKNOWN}


def test_a_declaration_that_cannot_be_computed_is_not_known() -> None:
    block = with_facts(objective(X.sum(0), X), declaration("ratio", base=-1.0, factor=2.0))
    assert set(audit(block).verdicts()) == {UNKNOWN}


@pytest.mark.parametrize("declared", [KENDALL, declaration("kendall", train=True, variant="half", regularizer=0.01)])
def test_log_variances_that_are_clamped_in_the_total_and_reported_without_are_consistent(declared: Declared) -> None:
    s = S + np.linspace(0, 2.5, 200)
    block = objective(kendall(X, np.clip(s, -2, 2), "half", 0.01), X, log_var=s, declared=declared)
    found = audit(block)
    assert BAD not in found.verdicts()
    assert found.last("total_form") == 64
    assert set(audit(objective(X.mean(0), X, log_var=s, declared=KENDALL)).verdicts()[4:]) == {BAD}
    other = audit(objective(kendall(X, np.clip(s, -1, 1), "half", 0.01), X, log_var=s, declared=KENDALL))
    assert set(other.verdicts()[100:]) == {BAD}, "another clamp than that of case B is another formula"
