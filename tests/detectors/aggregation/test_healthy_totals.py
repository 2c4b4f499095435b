"""Totals that are plain sums or means, however they are logged: nothing may be said against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from detectors.cell import BAD
from tests.detectors.aggregation.test_mismatch import verdict
from tests.detectors.aggregation.totals import Floats, audit, declaration, in_dtype, objective, rounded, significant

STEPS = 192
WRITTEN: dict[str, Callable[[Floats], Floats]] = {
    "in full": lambda x: x,
    "float32": in_dtype(torch.float32),
    "bfloat16": in_dtype(torch.bfloat16),
    **{f"{decimals} decimals": partial(rounded, decimals=decimals) for decimals in range(2, 7)},
    **{f"{digits} digits": partial(significant, digits=digits) for digits in range(3, 7)},
}


def falling(rng: np.random.Generator, tasks: int) -> Floats:
    return np.exp(-np.arange(STEPS) / rng.uniform(30, 1000)) * rng.lognormal(0, 0.1, (tasks, STEPS))


def white(rng: np.random.Generator, tasks: int) -> Floats:
    return 1 + 0.3 * rng.standard_normal((tasks, STEPS))


def heavy(rng: np.random.Generator, tasks: int) -> Floats:
    return 1 + 0.3 * rng.standard_t(3, (tasks, STEPS))


def wandering(rng: np.random.Generator, tasks: int) -> Floats:
    x = rng.standard_normal((tasks, STEPS))
    for t in range(1, STEPS):
        x[:, t] += 0.9 * x[:, t - 1]
    return 3 + x


def smoothed(rng: np.random.Generator, tasks: int) -> Floats:
    return np.stack([np.convolve(one, np.ones(20) / 20, "same") for one in falling(rng, tasks)])


FAMILIES = (falling, white, heavy, wandering, smoothed)


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: str(f.__name__))
def test_no_plain_total_is_ever_inconsistent_or_taken_for_another_formula(
    family: Callable[[np.random.Generator, int], Floats], written: Callable[[Floats], Floats]
) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        parts = family(rng, 2 + seed * 2) * rng.lognormal(0, 1.5, (2 + seed * 2, 1))
        for form, total, code in (("sum", parts.sum(0), 1), ("mean", parts.mean(0), 2)):
            for declared in ({}, declaration(form)):
                found = audit(objective(written(total), written(parts), declared=declared))
                assert BAD not in found.verdicts(), (seed, form, declared)
                assert all(told & code for told in found.forms()), (seed, form, declared, found.forms())
                assert all(verdict(code, told) != BAD for told in found.forms())


def test_medians_of_a_plain_sum_are_never_inconsistent_declared_or_not() -> None:
    rng = np.random.default_rng(0)
    raw = falling(rng, 5)[:, None] * rng.lognormal(0, 0.3, (5, 20, STEPS))
    total, parts = np.median(raw.sum(0), 0), np.median(raw, 1)
    assert BAD not in audit(objective(total, parts)).verdicts()
    assert BAD not in audit(objective(total, parts, measured="median", declared=declaration("sum"))).verdicts()


def test_a_total_that_is_said_to_be_divided_for_gradient_accumulation_is_a_plain_sum() -> None:
    parts = falling(np.random.default_rng(0), 4)
    found = audit(
        objective(np.round(parts.sum(0) / 8, 5), np.round(parts, 5), divided_by=8, declared=declaration("sum"))
    )
    assert BAD not in found.verdicts()
    assert verdict(1, found.last("total_form"), 1.0, found.last("total_scale")) == 0
