"""Ranking scores against scikit-learn, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from detectors.cell import Block
from detectors.labels.ranking import Ranking, areas
from tests.detectors.blocks import defaults


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_areas_are_those_of_scikit_learn_ties_included(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    positive = rng.random((20, 300)) < 0.2
    score = np.round(rng.random((20, 300)) + 0.4 * positive, decimals)
    roc, pr, _ = areas(torch.from_numpy(score), torch.from_numpy(positive).double(), torch.full((20,), 20.0))
    for row in range(20):
        assert roc[row].item() == pytest.approx(roc_auc_score(positive[row], score[row]), abs=1e-6)
        assert pr[row].item() == pytest.approx(average_precision_score(positive[row], score[row]), abs=1e-6)


def test_the_window_holds_the_newest_samples_of_records_of_any_size() -> None:
    rng = np.random.default_rng(0)
    score, positive = (torch.full((1, 100, 12), torch.nan, dtype=torch.float64) for _ in range(2))
    told: list[tuple[float, float]] = []
    for t in range(12):
        size = int(rng.integers(1, 101))
        truth = (rng.random(size) < 0.3).astype(float)
        value = rng.random(size) + 0.3 * truth
        score[0, :size, t], positive[0, :size, t] = torch.from_numpy(value), torch.from_numpy(truth)
        told += zip(value, truth, strict=True)
    block = Block(torch.arange(12)[None], torch.ones(1, 12).bool(), {"score": score, "positive": positive})
    cell = Ranking()
    found = cell.update(cell.init(1, 100, score), block, defaults(cell, 1)).readings
    newest = np.array(told[-100:])
    assert found["roc_auc_ratio"][0, -1].item() == pytest.approx(roc_auc_score(newest[:, 1], newest[:, 0]), abs=1e-9)


def test_precision_at_k_counts_the_highest_scores() -> None:
    score = torch.tensor([0.9, 0.8, 0.7, 0.7, 0.1])
    positive = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])
    for k, want in ((1, 1.0), (2, 0.5), (3, (1 + 0.5) / 3), (4, 0.5), (100, 0.6)):
        assert areas(score, positive, torch.tensor(float(k)))[2].item() == pytest.approx(want)


def test_nothing_is_known_without_both_sorts() -> None:
    for positive in (torch.zeros(5), torch.ones(5)):
        assert all(x.isnan() for x in areas(torch.rand(5), positive, torch.tensor(2.0)))


def test_what_is_read_later_is_what_an_update_reads() -> None:
    rng = np.random.default_rng(1)
    score, positive = (torch.from_numpy(rng.random((3, 50, 4)).round(1)) for _ in range(2))
    mask = torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]])
    block = Block(torch.arange(4).expand(3, 4), mask, {"score": score, "positive": positive.round()})
    cell = Ranking()
    state = cell.init(3, 50, score)
    whole, later = cell.update(state, block, defaults(cell, 3)), cell.advance(state, block)
    for name, value in whole.state.items():
        torch.testing.assert_close(later[name], value, rtol=0.0, atol=0.0, equal_nan=True)
    newest = mask.sum(1) - 1
    for name, value in cell.read(later, defaults(cell, 3)).items():
        assert value.isfinite().all()
        assert torch.equal(value, whole.readings[name].gather(1, newest[:, None])[:, 0])
