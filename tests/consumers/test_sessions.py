from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.courses import Course
from consumers.sessions import MAX_REASONS, MAX_SESSIONS, WINDOW, Seen, Session, Sessions
from losswatch.topics import PREDICTIONS, STEPS


def test_a_number_is_new_once() -> None:
    seen = Seen(0)
    assert [seen.take(seq) for seq in (0, 1, 1, 3, 2, 2, 3)] == [False, True, False, True, True, False, False]


@given(st.permutations(range(WINDOW)))
def test_any_order_within_the_window_is_taken_once(order: list[int]) -> None:
    seen = Seen(order[0])
    assert [seen.take(seq) for seq in order[1:]] == [True] * (WINDOW - 1)
    assert not any(seen.take(seq) for seq in order)


def test_numbers_older_than_the_window_count_as_seen() -> None:
    seen = Seen(0)
    assert seen.take(WINDOW)
    assert not seen.take(0)
    assert seen.take(1)


def test_a_leap_forgets_what_is_behind_the_window_and_stays_small() -> None:
    seen = Seen(5)
    assert seen.take(2**53 - 1)
    assert seen.bits.bit_length() <= WINDOW
    assert not seen.take(5)


def test_a_number_is_told_apart_by_topic() -> None:
    session = Session()
    assert session.take(STEPS, 0, both_topics=True)
    assert session.take(PREDICTIONS, 0, both_topics=True)
    assert not session.take(PREDICTIONS, 0, both_topics=True)


IN_STEPS = [(0, True), (1, False), (3, False), (5, True)]
IN_PREDICTIONS = [(0, True), (2, False), (4, False), (5, True)]


@given(st.lists(st.booleans(), min_size=8, max_size=8))
def test_nothing_is_missing_once_both_topics_are_read_in_any_interleaving(turns: list[bool]) -> None:
    session = Session()
    left = {STEPS: IN_STEPS[::-1], PREDICTIONS: IN_PREDICTIONS[::-1]}
    for turn in turns:
        topic = STEPS if (turn and left[STEPS]) or not left[PREDICTIONS] else PREDICTIONS
        session.take(topic, *left[topic].pop())
    assert session.missing == 0


def test_records_that_never_come_are_missing_and_late_ones_no_longer() -> None:
    session = Session()
    for seq in (3, 4, 8):
        session.take(STEPS, seq, both_topics=False)
    assert session.missing == 3
    session.take(STEPS, 6, both_topics=False)
    assert session.missing == 2


def test_a_second_session_is_no_rival_of_one_that_fell_silent() -> None:
    sessions = Sessions()
    assert [sessions.hear(name)[1] for name in ("a", "a", "b", "b")] == [False] * 4


def test_two_sessions_that_take_turns_are_rivals() -> None:
    sessions = Sessions()
    assert [sessions.hear(name)[1] for name in ("a", "b", "a", "b")] == [False, False, True, True]


def test_a_session_that_ended_is_nobodys_rival() -> None:
    sessions = Sessions()
    sessions.hear("a")[0].ended = True
    assert [sessions.hear(name)[1] for name in ("b", "a")] == [False, False]


def test_only_so_many_sessions_are_remembered() -> None:
    sessions = Sessions()
    for number in range(3 * MAX_SESSIONS):
        sessions.hear(f"session-{number}")
    assert list(sessions.by_id) == [f"session-{number}" for number in range(2 * MAX_SESSIONS, 3 * MAX_SESSIONS)]


def test_drops_are_counted_by_what_is_new_of_them() -> None:
    session = Session()
    assert session.drop({"buffer_full": 3}) == {"buffer_full": 3}
    assert session.drop({"buffer_full": 5, "too_large": 1}) == {"buffer_full": 2, "too_large": 1}
    assert session.drop({"buffer_full": 4}) == {}
    assert session.dropped == {"buffer_full": 5, "too_large": 1}


def test_only_so_many_reasons_for_drops_are_remembered() -> None:
    session = Session()
    for number in range(3 * MAX_REASONS):
        session.drop({f"reason-{number}": 1})
    assert len(session.dropped) == MAX_REASONS


@given(st.lists(st.tuples(st.sampled_from([STEPS, PREDICTIONS]), st.integers(0, 600), st.booleans())))
def test_a_session_comes_back_from_its_dump(records: list[tuple[str, int, bool]]) -> None:
    session = Session(dropped={"too_large": 2}, courses={STEPS: Course({"train": 7}, {"train": (3, 5, 2)})})
    for record in records:
        session.take(*record)
    assert Session.load(msgpack.unpackb(msgpack.packb(session.dump()))) == session


@pytest.mark.parametrize("count", [1, 2])
def test_the_drops_of_all_sessions_are_added_up(count: int) -> None:
    sessions = Sessions()
    for number in range(count):
        sessions.hear(f"s{number}")[0].drop({"too_large": 2})
    assert sessions.dropped == {"too_large": 2 * count}
