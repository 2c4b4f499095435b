from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from consumers.courses import Course, History, Restart
from losswatch.topics import PREDICTIONS, STEPS


def follow(history: History, first: int, length: int = 10, own: Course | None = None, **more: Any) -> list[Any]:
    """The steps that count, and where the job went back to."""
    steps = np.arange(first, first + length, dtype=np.int64)
    options: dict[str, Any] = {"topic": STEPS, "phase": "train", "may_turn": True} | more
    counts, restart = history.follow(steps=steps, time=0.0, own=own, **options)
    return [steps[counts].tolist(), restart.step if restart else None]


def test_a_new_session_goes_back_where_it_begins_at_a_step_that_was_passed() -> None:
    history = History()
    assert follow(history, 0, 100, Course())[1] is None
    assert follow(history, 100, 100, Course())[1] is None, "it goes on"
    assert follow(history, 50, 3, Course()) == [[50, 51, 52], 50]
    assert history.last == Restart(STEPS, "train", 50, 199, 0.0, ("train",), True)


def test_late_steps_of_a_session_are_left_out_and_take_nothing_back() -> None:
    history, own = History(), Course()
    follow(history, 0, 100, own)
    assert follow(history, 50, 7, own) == [[], None]
    assert follow(history, 99, 3, own) == [[100, 101], None]
    assert follow(history, 60, 7, own) == [[], None], "the count begins anew"


def test_eight_steps_in_a_row_below_its_newest_take_a_session_back() -> None:
    history, own = History(), Course()
    follow(history, 0, 100, own)
    assert follow(history, 50, 5, own) == [[], None]
    assert follow(history, 55, 5, own) == [[58, 59], 50]
    assert follow(history, 60, 5, own) == [[60, 61, 62, 63, 64], None]


def test_records_out_of_order_take_nothing_back() -> None:
    history, own = History(), Course()
    follow(history, 0, 100, own)
    assert follow(history, 20, 30, own, may_turn=False) == [[], None]


def test_without_a_session_eight_steps_in_a_row_take_a_run_back() -> None:
    history = History()
    follow(history, 0, 100)
    assert follow(history, 40, 3) == [[40, 41, 42], None]
    assert follow(history, 43, 6) == [[48], 40]


def test_two_sessions_that_take_turns_do_not_take_each_other_back_every_time() -> None:
    history = History()
    follow(history, 0, 100, Course())
    found = [follow(history, 10, 1, Course())[1] for _ in range(20)]
    assert found.count(10) <= 3


def test_where_training_goes_back_all_phases_do_once() -> None:
    history, own = History(), Course()
    follow(history, 0, 700, Course())
    follow(history, 690, 1, Course(), phase="val")
    follow(history, 90, 1, Course(), phase="test")
    follow(history, 501, 20, own)
    assert history.last is not None
    assert history.last.phases == ("train", "val")
    assert follow(history, 510, 1, own, phase="val")[1] is None


def test_an_evaluation_that_goes_back_leaves_training_alone() -> None:
    history = History()
    follow(history, 0, 700, Course())
    follow(history, 5, 1, Course(), phase="val")
    assert follow(history, 3, 1, Course(), phase="val")[1] == 3
    assert (history.restarts, history.course.newest["train"]) == (0, 699)


@pytest.mark.parametrize(("topic", "back"), [(STEPS, 99), (PREDICTIONS, None)])
def test_an_evaluation_of_one_step_may_come_from_several_processes(topic: str, back: int | None) -> None:
    history = History()
    follow(history, 90, 10, Course(), topic=topic)
    assert follow(history, 99, 1, Course(), topic=topic)[1] == back


def test_a_history_comes_back_from_its_dump() -> None:
    history, own = History(), Course()
    follow(history, 0, 100, own)
    follow(history, 50, 9, own)
    assert history.restarts == 1
    assert History.load(history.dump()) == history
