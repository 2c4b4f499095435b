"""Which formula the audit takes a total for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.detectors.aggregation.totals import (
    Declared,
    Floats,
    audit,
    declaration,
    in_dtype,
    kendall,
    log_vars,
    losses,
    objective,
    significant,
)

X, S = losses(), log_vars()
WEIGHTS = np.array([0.1, 1.0, 2.0, 0.5, 0.05, 0.0])


def test_a_sum_and_a_mean_are_told_at_the_first_step_in_full_precision() -> None:
    assert audit(objective(X.sum(0), X)).reading("total_form") == [1.0] * 200
    assert audit(objective(X.mean(0), X)).reading("total_form") == [2.0] * 200


@pytest.mark.parametrize("decimals", [2, 3, 4, 5, 6])
def test_a_rounded_sum_is_told_within_eight_steps(decimals: int) -> None:
    found = audit(objective(np.round(X.sum(0), decimals), np.round(X, decimals)))
    assert found.forms() == {1}
    assert found.reading("total_form")[8] == 1


def test_a_mean_of_four_significant_digits_is_told() -> None:
    assert audit(objective(significant(X.mean(0), 4), significant(X, 4))).forms() == {2}


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_sum_that_was_made_in_low_precision_is_told(name: str) -> None:
    import torch

    cast = in_dtype(getattr(torch, name))
    assert audit(objective(cast(cast(X).sum(0)), cast(X))).forms() == {1}


def test_known_weights_are_told() -> None:
    found = audit(objective(np.round(WEIGHTS @ X, 4), np.round(X, 4), weight=WEIGHTS[:, None]))
    assert found.forms() == {4}


def test_weights_that_change_with_the_step_are_followed_where_they_are_reported() -> None:
    weight = WEIGHTS[:, None] * np.linspace(1, 3, 200)
    assert audit(objective((weight * X).sum(0), X, weight=weight)).forms() == {4}


def test_weights_that_nobody_told_are_fitted_with_their_uncertainty() -> None:
    found = audit(objective(np.round(WEIGHTS @ X, 4), np.round(X, 4)))
    assert found.forms() == {1024}
    weight = found.output.readings["component_weight_fitted"][0, :, -1].numpy()
    error = found.output.readings["component_weight_fitted_error"][0, :, -1].numpy()
    assert (np.abs(weight - WEIGHTS) < 5 * error).all()
    assert (error < 0.01).all()


def test_collinear_components_have_no_weights_of_their_own() -> None:
    twins = np.vstack([X[0], 2 * X[0], X[1]])
    found = audit(objective(np.array([0.3, 0.7, 0.1]) @ twins, twins))
    assert not {1024, 2048} & found.forms()
    assert np.isnan(found.output.readings["component_weight_fitted"].numpy()).all()


def test_too_few_steps_have_no_fitted_weights() -> None:
    assert audit(objective((WEIGHTS @ X)[:20], X[:, :20])).forms() == set()


@pytest.mark.parametrize(("variant", "code"), [("half", 8), ("full", 16), ("half_log", 32)])
def test_each_variant_of_uncertainty_weighting_is_told(variant: str, code: int) -> None:
    found = audit(objective(kendall(X, S, variant), X, log_var=S))
    assert found.forms() == {code}
    assert found.last("total_form_count") == 1


@pytest.mark.parametrize(("variant", "code"), [("half", 64), ("full", 128), ("half_log", 256)])
def test_a_regularizer_that_nobody_told_is_found(variant: str, code: int) -> None:
    total = np.round(kendall(X, S, variant, regularizer=0.01), 4)
    assert audit(objective(total, np.round(X, 4), log_var=np.round(S, 4))).last("total_form") == code


@pytest.mark.parametrize(("variant", "code"), [("half", 8), ("full", 16), ("half_log", 32)])
def test_constant_log_variances_that_nobody_reported_are_recognised_in_the_fitted_weights(
    variant: str, code: int
) -> None:
    assert audit(objective(kendall(X, S[:, -1:], variant), X)).forms() == {code}


@pytest.mark.parametrize("order", [[1, 2], [2, 1]])
def test_a_product_of_two_is_told_in_either_order(order: list[int]) -> None:
    assert audit(objective(X[1] * (1 + X[2]), X[order])).forms() == {512}


@pytest.mark.parametrize(
    ("declared", "total", "code"),
    [
        (declaration("sum", scale=0.25), 0.25 * X.sum(0), 1),
        (declaration("weighted_sum", declared=list(WEIGHTS)), WEIGHTS @ X, 4),
        (declaration("kendall", variant="half", regularizer=0.01), kendall(X, S, "half", 0.01), 64),
        (declaration("kendall", variant="full"), kendall(X, S, "full"), 16),
        (declaration("ratio", base=1.0, factor=2.0), X[1] * (1 + X[2]), 512),
    ],
    ids=["sum / 4", "weighted", "half with regularizer", "full", "ratio"],
)
def test_a_declared_formula_that_holds_is_told_from_the_first_step(
    declared: Declared, total: Floats, code: int
) -> None:
    found = audit(objective(total, X, log_var=S, declared=declared))
    assert found.reading("total_form") == [float(code)] * 200
    assert 1 not in found.verdicts()


def test_a_constant_factor_is_told() -> None:
    found = audit(objective(np.round(X.sum(0) / 4, 4), np.round(X, 4)))
    assert found.forms() == {1}
    assert found.last("total_scale") == pytest.approx(0.25, rel=1e-4)


def test_what_the_job_says_it_divided_by_is_no_factor() -> None:
    found = audit(objective(X.sum(0) / 4, X, divided_by=4))
    assert (found.last("total_form"), found.last("total_scale")) == (1, 1)


def test_a_constant_that_no_component_explains_is_told_by_its_share() -> None:
    found = audit(objective(X.sum(0) + 3, X))
    assert found.forms() == {1}
    assert found.last("total_remainder_ratio") == pytest.approx(3 / (X.sum(0)[-1] + 3))


@pytest.mark.parametrize(("variant", "codes"), [("half", 64 | 128), ("full", 64 | 128), ("half_log", 256)])
def test_a_factor_and_a_regularizer_that_nobody_told_are_found_together(variant: str, codes: int) -> None:
    found = audit(objective(kendall(X, S, variant, 0.01) / 4, X, log_var=S))
    assert found.last("total_form") == codes
    assert found.last("total_scale") in (pytest.approx(0.25, rel=1e-3), pytest.approx(0.5, rel=1e-3))
    assert found.forms() <= {codes}


def test_a_product_may_have_a_factor_or_a_remainder() -> None:
    total = X[0] * (1 + X[1])
    assert audit(objective(total / 8, X[:2])).last("total_scale") == pytest.approx(1 / 8)
    found = audit(objective(total + 5, X[:2]))
    assert found.last("total_form") == 512
    assert found.last("total_remainder_ratio") == pytest.approx(5 / (total[-1] + 5), rel=0.5)


@pytest.mark.parametrize("lag", [1, -1])
def test_totals_of_a_neighbouring_step_are_told_with_their_lag(lag: int) -> None:
    total = np.roll(X.sum(0), lag)
    found = audit(objective(total, X))
    assert found.last("total_form") == 1
    assert found.last("total_lag_steps") == lag


def test_one_component_may_be_a_sum_or_a_mean() -> None:
    found = audit(objective(X[0], X[:1]))
    assert found.forms() == {3}
    assert found.last("total_form_count") == 2


def test_series_that_do_not_move_do_not_tell_a_factor_from_a_remainder() -> None:
    still = np.array([[1.037], [2.041]]) * np.ones(200)
    found = audit(objective(np.full(200, 5.1234), still))
    assert found.last("total_scale") != found.last("total_scale") or found.last("total_form_count") > 1


@pytest.mark.parametrize("seed", range(5))
def test_a_total_that_has_nothing_to_do_with_its_components_is_not_explained(seed: int) -> None:
    total = np.random.default_rng(seed).lognormal(0, 1, 200)
    for decimals in (2, 4, 12):
        assert audit(objective(np.round(total, decimals), np.round(X, decimals))).forms() == set()


def test_a_term_that_varies_and_is_not_logged_leaves_the_total_unexplained() -> None:
    assert audit(objective(X.sum(0), X[:5])).forms() == set()


def test_the_training_phases_declaration_is_recognised_in_another_phase() -> None:
    trained = declaration("weighted_sum", train=True, declared=list(WEIGHTS))
    assert audit(objective(WEIGHTS @ X, X, declared=trained)).reading("total_form") == [4.0] * 200


def test_negative_totals_and_zero_components_are_nothing_special() -> None:
    signed = np.random.default_rng(0).normal(0, 1, (4, 200))
    assert audit(objective(signed.sum(0), signed)).forms() == {1}
    assert audit(objective(X[0], np.vstack([X[:1], 0 * X[:2]]))).forms() == {1}


def test_medians_over_many_steps_are_told_where_they_are_said_to_be() -> None:
    raw = np.random.default_rng(0).lognormal(0, 0.3, (4, 20, 200)) * X[:4, None]
    total, parts = np.median(raw.sum(0), 0), np.median(raw, 1)
    assert audit(objective(total, parts, measured="median")).forms() == {1}
    assert audit(objective(total, parts)).forms() == set()
