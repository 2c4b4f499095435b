from __future__ import annotations

import numpy as np
import pytest

from service.replay.plot import HEIGHT, WIDTH, Mark, plot


def test_a_first_value_far_away_does_not_flatten_the_rest() -> None:
    values = np.append(1e13, np.linspace(2.0, 1.0, 500))
    drawn = plot([(np.arange(501.0), values)])
    assert drawn is not None
    assert drawn.high is not None
    assert drawn.high < 4
    assert drawn.beyond == 1


def test_a_spike_of_a_few_times_the_span_is_shown_whole() -> None:
    values = np.append(np.linspace(2.0, 1.0, 500), 6.0)
    drawn = plot([(np.arange(501.0), values)])
    assert drawn is not None
    assert (drawn.high, drawn.beyond) == (6.0, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e308])
def test_any_series_can_be_drawn(value: float) -> None:
    drawn = plot([(np.arange(5.0), np.array([1.0, value, -1e308, value, 2.0]))])
    assert drawn is not None
    assert "nan" not in drawn.lines[0]
    assert "inf" not in drawn.lines[0]


def test_no_step_is_no_plot() -> None:
    assert plot([(np.empty(0), np.empty(0))]) is None


def test_marks_outside_of_the_steps_are_left_out() -> None:
    marks = [Mark(step, "warning", "began", "") for step in (-1.0, 0.0, 9.0, 10.0)]
    drawn = plot([(np.arange(10.0), np.arange(10.0))], marks)
    assert drawn is not None
    assert [mark.x for mark in drawn.marks] == [4.0, WIDTH - 4.0]
    assert HEIGHT > 0
