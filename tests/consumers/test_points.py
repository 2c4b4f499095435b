from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from consumers.points import MOST_SLOTS, Points
from consumers.pools import Pool
from detectors import catalog

LIKE = torch.zeros((), dtype=torch.float64)


def points_of(rows: int = 1) -> Points:
    points = Points(
        {"x": torch.zeros(1, dtype=torch.float64), "y": torch.zeros((1, 3), dtype=torch.int64)}, narrow=True
    )
    points.grow(rows)
    return points


def follow(points: Points, steps: list[int], saved: tuple[int, ...] = (), row: int = 0) -> list[int]:
    """Take steps one by one, each its own state; at which of them points were taken."""
    taken = []
    for step in steps:
        if kept := points.advance(row, 1, step, step in saved):
            state = {"x": torch.full((row + 1,), float(step), dtype=torch.float64)}
            points.keep(state | {"y": torch.full((row + 1, 3), step)}, [kept])
            taken.append(step)
    return taken


def back(points: Points, step: int, row: int = 0) -> float:
    """What the row knows after going back; -1 where it stays."""
    rows = points.behind([row], step)
    return points.rewind(rows, step)["x"].item() if rows else -1.0


def test_points_are_at_powers_of_two_of_the_steps_of_a_row() -> None:
    assert follow(points_of(), list(range(1, 200))) == [8, 16, 32, 64, 128]


def test_checkpoints_become_points_unless_they_are_next_to_each_other() -> None:
    assert follow(points_of(), list(range(1, 64)), saved=(20, 21, 40, 50, 60)) == [8, 16, 32, 50]


@given(reached=st.integers(8, 3000), step=st.integers(1, 3000))
def test_whoever_goes_back_by_less_than_half_finds_a_point_from_before(reached: int, step: int) -> None:
    points = points_of()
    follow(points, list(range(1, reached + 1)))
    found = back(points, step)
    assert (found == -1) == (step > reached)
    if reached // 2 + 8 < step <= reached:
        assert step / 2 <= found + 1 <= step
    assert found < step


def test_a_checkpoint_is_met_exactly_and_later_points_are_forgotten() -> None:
    points = points_of()
    follow(points, list(range(1, 700)), saved=(500, 600))
    assert back(points, 501) == 500.0
    assert back(points, 501) == -1.0, "nothing was learned since"
    assert follow(points, list(range(501, 520))) == [512]
    assert back(points, 505) == 500.0


def test_without_a_point_from_before_the_row_is_as_new() -> None:
    points = points_of()
    follow(points, list(range(1, 700)))
    assert back(points, 100) == 0.0
    assert follow(points, list(range(100, 109))) == [107]


def test_points_come_back_from_their_bytes_in_single_precision() -> None:
    points, other = points_of(2), points_of(3)
    follow(points, list(range(1, 100)), row=1)
    follow(points, [2**53 - 1], row=0)
    for row, data in enumerate(points.pack([0, 1])):
        other.unpack(row + 1, data)
    assert [back(other, 50, 2), back(other, 1, 1)] == [back(points, 50, 1), back(points, 1, 0)] == [32.0, 0.0]


def test_rows_of_very_many_classes_have_no_points() -> None:
    sizes = [len(Pool("labels", slots, catalog.CELLS, {}, LIKE).points.layout()) for slots in (MOST_SLOTS, 256)]
    assert sizes[0] > 0
    assert sizes[1] == 0
