"""The thinned past of a series."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.cell import Block, State
from detectors.series.trace import Trace
from tests.detectors.blocks import F64, cuts_of, run

POINTS = 8


def block_of(count: int) -> Block:
    """A series whose values are its numbers and whose steps are ten times those."""
    value = torch.arange(count, dtype=torch.float64)[None]
    return Block(10 * torch.arange(count)[None], torch.ones(1, count, dtype=torch.bool), {"value": value})


def kept(count: int, cuts: list[int]) -> tuple[State, list[float]]:
    """The state after so many values, and the values kept."""
    trace = Trace(points=POINTS)
    state = run(trace, trace.init(1, 0, F64), cuts_of(block_of(count), cuts)).state
    return state, [value for value in state["values"][0].tolist() if not math.isnan(value)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.lists(st.integers(0, 299), max_size=30))
def test_every_stride_th_value_is_kept_however_the_series_is_cut(count: int, cuts: list[int]) -> None:
    stride = 1
    while math.ceil(count / stride) > POINTS:
        stride *= 2
    state, values = kept(count, cuts)
    assert values == [float(number) for number in range(0, count, stride)]
    assert state["latest"].item() == count - 1
    assert {name: state[name].item() for name in ("count", "first", "newest")} == {
        "count": count,
        "first": 0,
        "newest": 10 * (count - 1),
    }


def test_once_full_it_holds_between_half_and_all_of_its_points() -> None:
    for count in range(POINTS, 400):
        assert POINTS // 2 < len(kept(count, [])[1]) <= POINTS


def test_values_that_are_not_finite_keep_their_place() -> None:
    block = block_of(4)
    block.values["value"][0, 1] = math.inf
    trace = Trace(points=POINTS)
    state = run(trace, trace.init(1, 0, F64), [block]).state
    assert state["values"][0, :4].tolist() == [0.0, math.inf, 2.0, 3.0]


def test_first_and_newest_step_are_those_of_values_and_not_of_padding() -> None:
    block = block_of(6)
    padded = Block(block.step, torch.tensor([[True] * 3 + [False] * 3]), block.values)
    trace = Trace(points=POINTS)
    empty = Block(block.step, torch.zeros_like(block.mask), block.values)
    state = run(trace, trace.init(1, 0, F64), [empty, padded, empty]).state
    assert (state["first"].item(), state["newest"].item(), state["count"].item()) == (0, 20, 3)
