"""The recurrence of level and scale, against itself on another array library and against numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.series.reference import FIRST, LEVEL_TAU, PATIENCE, REACH, Reference, follow


def arrays(rows: int, steps: int) -> list[torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    values = torch.randn(steps, rows, dtype=torch.float64, generator=noise)
    values[steps // 4 : steps // 2] *= 30  # beyond reach, some of them often enough to be the new level
    kept = torch.zeros(3, steps + 1, rows, dtype=torch.float64)
    kept[1, 0] = REACH
    paces = torch.full((steps, rows), 1 / 32, dtype=torch.float64)
    return [*kept, values, 1 - paces, paces * REACH]


def test_numpy_and_torch_follow_a_series_alike() -> None:
    ours, theirs = arrays(5, 200), arrays(5, 200)
    follow(torch, 1e-12, *ours)
    follow(np, 1e-12, *(array.numpy() for array in theirs))
    assert (ours[2] >= PATIENCE).any(), "nothing was ever the new level"
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_value_moves_the_level_by_its_reach_and_a_lasting_one_is_the_new_level(dtype: torch.dtype) -> None:
    x = torch.tensor([[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0] + [1.0, 2.0] * 20 + [1e6] * 60], dtype=dtype)
    number = torch.arange(1, x.shape[1] + 1, dtype=dtype)[None]
    cell = Reference()
    _, referred = cell.update(cell.init(1, x), x, number, x[:, :FIRST], torch.tensor([x.shape[1]]))
    jump = FIRST + 40
    moved = referred.level[0, jump + 1] - referred.level[0, jump]
    assert float(moved) == pytest.approx(REACH * float(referred.scale[0, jump]) / LEVEL_TAU, rel=1e-3)
    assert float(referred.within[0, jump]) < 10
    assert float(referred.level[0, jump + int(PATIENCE) - 1]) < 100
    assert float(referred.level[0, -1]) == pytest.approx(1e6, rel=1e-2)
    assert referred.level.dtype == referred.within.dtype == dtype
