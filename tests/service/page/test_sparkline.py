from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.page.sparkline import HEIGHT, WIDTH, sparkline

NUMBER = re.compile(r"-?[0-9.]+|nan|inf")


@given(arrays(np.float64, st.integers(0, 20), elements=st.floats()), st.none() | st.floats(-1e3, 1e3))
def test_any_series_is_drawn_inside_its_box(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], floor: float | None
) -> None:
    chart = sparkline(np.arange(len(values), dtype=np.float64), values, floor)
    if chart is None:
        assert len(values) == 0
        return
    drawn = [float(number) for number in NUMBER.findall(chart.line.replace("h0", ""))]
    assert all(0 <= number <= max(WIDTH, HEIGHT) for number in drawn)
    assert len(drawn) == 2 * np.isfinite(values).sum()
    assert len(chart.infinite) == np.isinf(values).sum()


def test_the_floor_is_part_of_the_scale() -> None:
    chart = sparkline(np.arange(3.0), np.array([0.9, 0.95, 0.96]), floor=0.85)
    assert chart is not None
    assert chart.floor == HEIGHT - 4
    assert (chart.low, chart.high) == (0.9, 0.96)


def test_only_steps_inside_the_series_are_marked() -> None:
    chart = sparkline(np.array([10.0, 20.0]), np.ones(2), marks=[5, 15, 25])
    assert chart is not None
    assert list(chart.marks) == pytest.approx([WIDTH / 2])
