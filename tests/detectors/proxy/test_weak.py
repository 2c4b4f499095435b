"""Correlations of errors against numpy, and the case's r = 0.412."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from detectors.cell import Block
from detectors.proxy.correlation import correlations
from detectors.proxy.weak import WeakProxy
from tests.detectors.lifecycles import statuses


def mean_ranks(x: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float]:
    """By counting."""
    return [float((x < value).sum() + (x <= value).sum() + 1) / 2 for value in x]


def test_correlations_are_those_of_numpy_ties_included() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.exponential(size=(5, 60)), 1)
    y = np.round(x + rng.exponential(size=(5, 60)), 1)
    count, pearson, spearman = correlations(torch.from_numpy(x), torch.from_numpy(y), torch.ones(5, 60).bool())
    assert count.tolist() == [60] * 5
    for row in range(5):
        assert pearson[row].item() == pytest.approx(np.corrcoef(x[row], y[row])[0, 1], abs=1e-6)
        assert spearman[row].item() == pytest.approx(
            np.corrcoef(mean_ranks(x[row]), mean_ranks(y[row]))[0, 1], abs=1e-6
        )


def test_a_constant_error_and_three_samples_have_no_correlation() -> None:
    ones = torch.ones(1, 10)
    assert correlations(ones, torch.rand(1, 10), ones.bool())[1].isnan()
    assert correlations(torch.rand(1, 3), torch.rand(1, 3), torch.ones(1, 3).bool())[1].isnan()


def stream(r: float, samples: int, records: int, rows: int = 1, seed: int = 0) -> Block:
    """Errors of a correlation of ``r``."""
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, rows * records, samples))
    y = r * x + np.sqrt(1 - r**2) * noise
    told = correlations(torch.from_numpy(x), torch.from_numpy(y), torch.ones(x.shape).bool())
    values = {
        name: value.view(rows, records) for name, value in zip(("samples", "pearson", "spearman"), told, strict=True)
    }
    steps = torch.arange(records).expand(rows, records)
    return Block(steps, torch.ones_like(steps, dtype=torch.bool), values)


def firing(block: Block) -> int:
    """How many rows fire."""
    return sum("firing" in row for row in statuses(WeakProxy(), block)["weak_proxy"])


def test_the_correlation_of_case_d_is_weak_with_enough_samples() -> None:
    assert firing(stream(0.412, 256, 20, rows=50)) == 50
    status = statuses(WeakProxy(), stream(0.412, 1024, 20))["weak_proxy"][0]
    assert status.index("firing") == 2


def test_a_good_proxy_never_is_weak_and_a_fair_one_hardly_ever() -> None:
    assert firing(stream(0.8, 64, 100, rows=100)) == 0
    assert firing(stream(0.8, 8, 100, rows=100)) == 0
    assert firing(stream(0.6, 64, 100, rows=100)) <= 1


def test_five_samples_say_nothing_whatever_their_correlation() -> None:
    assert firing(stream(-0.9, 5, 5, rows=200)) == 0


def test_errors_of_real_models_go_together_and_those_of_shuffled_samples_do_not() -> None:
    x, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    errors = [np.abs(LinearRegression().fit(x[:200, :k], y[:200]).predict(x[200:, :k]) - y[200:]) for k in (9, 10)]
    for other, expected in ((errors[1], 0), (rng.permutation(errors[1]), 1)):
        places = [rng.choice(len(other), 100, replace=False) for _ in range(20)]
        a, b = (torch.from_numpy(np.stack([error[place] for place in places])) for error in (errors[0], other))
        told = correlations(a, b, torch.ones(a.shape).bool())
        steps = torch.arange(20)[None]
        values = {n: v[None] for n, v in zip(("samples", "pearson", "spearman"), told, strict=True)}
        assert firing(Block(steps, torch.ones_like(steps, dtype=torch.bool), values)) == expected
