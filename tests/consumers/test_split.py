from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.pieces import STEPS
from consumers.runs import Run
from consumers.split import parts_of
from losswatch.schema import Objective, RunStart, Steps
from tests.consumers.builders import make_steps


def a_run(*sessions: str) -> Run:
    run = Run("r", 0, started=0.0, seen=0.0)
    for session in sessions:
        run.sessions.hear(session)
    return run


def steps_of(run: Run, record: Steps) -> tuple[list[int], int]:
    parts, late, _ = parts_of(run, record)
    assert all(1 <= len(part.step) <= STEPS for part in parts)
    return [int(step) for part in parts for step in part.step], late


def test_steps_that_the_session_has_passed_are_late() -> None:
    run = a_run("a")
    assert steps_of(run, make_steps("r", 0, 10, seq=0, session="a")) == (list(range(10)), 0)
    assert steps_of(run, make_steps("r", 5, 10, seq=1, session="a")) == (list(range(10, 15)), 5)


def test_a_record_of_only_late_steps_leaves_nothing() -> None:
    run = a_run("a")
    parts_of(run, make_steps("r", 50, 1, seq=0, session="a"))
    assert steps_of(run, make_steps("r", 0, 10, seq=1, session="a")) == ([], 10)


def test_steps_out_of_order_within_a_record_are_late() -> None:
    record = Steps(run="r", time=0.0, session="a", seq=0, step=[3, 1, 4, 4, 9], total=[1.0, 2.0, 3.0, 4.0, 5.0])
    (part,), late, _ = parts_of(a_run("a"), record)
    assert part.total is not None
    assert (part.step.tolist(), part.total.tolist(), late) == ([3, 4, 9], [1.0, 3.0, 5.0], 2)


def test_phases_do_not_make_each_other_late() -> None:
    run = a_run("a")
    parts_of(run, make_steps("r", 50, 1, seq=0, session="a", phase="train"))
    assert steps_of(run, make_steps("r", 0, 3, seq=1, session="a", phase="val")) == ([0, 1, 2], 0)


def test_a_new_session_may_go_back() -> None:
    run = a_run("a", "b")
    parts_of(run, make_steps("r", 50, 10, seq=0, session="a"))
    assert steps_of(run, make_steps("r", 20, 3, seq=0, session="b")) == ([20, 21, 22], 0)


@pytest.mark.parametrize("sent", [{"session": None}, {"session": "a", "seq": None}, {"session": "a"}])
def test_without_session_and_number_no_step_is_late(sent: dict[str, str | None]) -> None:
    run = a_run()
    for _ in range(2):
        assert steps_of(run, make_steps("r", 5, 3, **sent)) == ([5, 6, 7], 0)  # type: ignore[arg-type]  # from a table


@given(st.integers(1, 4096))
def test_a_long_record_is_cut_into_short_parts_in_order(length: int) -> None:
    record = make_steps("r", 7, length, seq=0, session="a", slices={"exp": {"mae": np.arange(length) * 1.0}})
    parts, late, _ = parts_of(a_run("a"), record)
    assert (len(parts), late) == (-(-length // STEPS), 0)
    for name in ("c0", "c1"):
        assert np.array_equal(np.concatenate([part.components[name] for part in parts]), record.components[name])
    slices = [part.series["slice", "mae", "exp"] for part in parts]
    assert np.array_equal(np.concatenate(slices), np.arange(length))
    assert np.array_equal(np.concatenate([part.step for part in parts]), record.step)


def test_the_largest_step_number_is_a_step_like_any_other() -> None:
    record = Steps(run="r", time=0.0, session="a", seq=0, step=[0, 2**53 - 1], total=[1.0, 2.0])
    assert steps_of(a_run("a"), record) == ([0, 2**53 - 1], 0)


def a_kendall_run() -> Run:
    run = a_run()
    run.declared = RunStart(run="r", time=0.0, objective={"train": Objective(form="kendall", variant="full")})
    return run


def test_log_variances_make_the_weights_of_a_kendall_objective() -> None:
    record = make_steps("r", 0, 2, session=None, log_vars={"c0": [0.0, 1.0]}, weights={"c1": [3.0, 4.0]})
    (part,), _, _ = parts_of(a_kendall_run(), record)
    assert part.weights["c0"].tolist() == pytest.approx([1.0, np.exp(-1.0)])
    assert part.weights["c1"].tolist() == [3.0, 4.0]


def test_log_variances_mean_nothing_for_a_plain_sum() -> None:
    record = make_steps("r", 0, 2, session=None, log_vars={"c0": [0.0, 1.0]})
    (part,), _, _ = parts_of(a_run(), record)
    assert part.weights == {}


def test_absurd_log_variances_make_absurd_weights_and_no_error() -> None:
    record = make_steps("r", 0, 4, session=None, log_vars={"c0": [-1e6, 1e6, float("nan"), float("-inf")]})
    (part,), _, _ = parts_of(a_kendall_run(), record)
    assert part.weights["c0"].tolist() == pytest.approx([np.inf, 0.0, np.nan, np.inf], nan_ok=True)
