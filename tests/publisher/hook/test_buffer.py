"""The bounded stores: what is kept, what goes first, and that every loss is counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from losswatch.blocks import (
    BLOCK_SECONDS,
    BLOCK_STEPS,
    BLOCK_VALUES,
    CHUNK_ROWS,
    PER_STEP,
    STEP,
    Blocks,
    Fields,
    Measure,
    Row,
)
from losswatch.buffer import Buffer, Kind, Outgoing
from losswatch.intake import Lane


def outgoing(kind: Kind, seq: int, size: int = 1, calls: int = 1) -> Outgoing:
    return Outgoing(kind, "topic", b"r", seq, b"x" * size, [], calls)


@given(st.lists(st.integers(1, 50), max_size=200))
def test_a_lane_keeps_the_newest_items_within_its_limit_and_counts_the_rest(costs: list[int]) -> None:
    lane: Lane[int] = Lane(100)
    for i, cost in enumerate(costs):
        lane.put(i, cost)
        assert len(lane) == 1 or (len(lane) - 1) * cost <= 100
    kept = lane.take(1000)
    assert kept == list(range(len(costs)))[len(costs) - len(kept) :]
    assert lane.dropped() == len(costs) - len(kept)


def test_a_lane_takes_from_many_threads_without_losing_count() -> None:
    lane: Lane[int] = Lane(10**9)

    def put() -> None:
        for _ in range(5000):
            lane.put(1, 1)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads) or len(lane):
        taken += len(lane.take(64))
    assert (taken, lane.dropped()) == (20_000, 0)


@given(st.lists(st.tuples(st.sampled_from(["control", "steps", "predictions"]), st.integers(1, 40)), max_size=80))
def test_the_outbox_stays_within_its_limits_and_in_order(records: list[tuple[Kind, int]]) -> None:
    outbox = Buffer(Counter(), {"control": 2**62, "steps": 100, "predictions": 60})
    for seq, (kind, size) in enumerate(records):
        outbox.add(outgoing(kind, seq, size))
    given_control = sum(kind == "control" for kind, _ in records)
    kept = []
    while (record := outbox.next()) is not None:
        kept.append(record)
    assert [record.seq for record in kept] == sorted(record.seq for record in kept)
    assert sum(record.kind == "control" for record in kept) == given_control
    assert sum(len(record.value) for record in kept if record.kind == "steps") <= 100
    assert sum(len(record.value) for record in kept if record.kind == "predictions") <= 60
    assert len(kept) + outbox.dropped.total() == len(records)
    assert (len(outbox), outbox.bytes) == (0, 0)


def test_the_oldest_steps_go_first_and_are_counted_by_call() -> None:
    outbox = Buffer(Counter(), {"control": 9, "steps": 3, "predictions": 9})
    for seq in range(5):
        outbox.add(outgoing("steps", seq, calls=64))
    assert outbox.dropped == {"steps_buffer_full": 128}
    first = outbox.next()
    assert first is not None
    assert (first.seq, outbox.calls) == (2, 128)


def test_what_is_put_back_comes_out_first_and_in_order() -> None:
    outbox = Buffer(Counter())
    kinds: list[Kind] = ["control", "steps", "predictions", "steps"]
    for seq, kind in enumerate(kinds):
        outbox.add(outgoing(kind, seq))
    taken = [record for _ in range(3) if (record := outbox.next())]
    outbox.put_back(taken)
    after = [record.seq for _ in range(4) if (record := outbox.next())]
    assert after == [0, 1, 2, 3]


def row(phase: str, step: int, measure: Measure = PER_STEP) -> Row:
    return (phase, step, 0.0, 1.0, None, None, None, None, None, None, measure)


def gathering() -> Blocks:
    """Blocks of which each part is told by the steps in it."""
    return Blocks(lambda rows: [{"steps": [each[STEP] for each in rows]}])


def steps_in(blocks: Sequence[Sequence[Fields]]) -> list[list[int]]:
    return [[step for part in block for step in part["steps"]] for block in blocks]


def test_a_phases_first_rows_are_due_at_once_and_later_ones_after_a_second() -> None:
    blocks = gathering()
    assert blocks.add([row("train", 0)], now=10.0) == []
    assert steps_in(blocks.due(10.0)) == [[0]]
    blocks.add([row("train", 1)], now=10.1)
    blocks.add([row("train", 2)], now=10.9)
    assert blocks.due(10.1 + 0.99 * BLOCK_SECONDS) == []
    assert steps_in(blocks.due(10.1 + BLOCK_SECONDS)) == [[1, 2]]
    assert len(blocks) == 0


def test_a_full_block_does_not_wait() -> None:
    blocks = gathering()
    full = [block for step in range(0, 10_000, 100) for block in blocks.add(rows(step, step + 100), now=0.0)]
    assert steps_in(full) == [list(range(BLOCK_STEPS)), list(range(BLOCK_STEPS, 2 * BLOCK_STEPS))]
    assert len(blocks) == 10_000 - 2 * BLOCK_STEPS
    assert max(len(part["steps"]) for block in full for part in block) < 2 * CHUNK_ROWS


def rows(first: int, end: int) -> list[Row]:
    return [row("train", step) for step in range(first, end)]


def test_a_block_of_wide_rows_is_full_with_fewer_of_them() -> None:
    blocks = gathering()
    wide: list[Row] = [
        ("train", step, 0.0, 1.0, dict.fromkeys(map(str, range(997)), 0.5), None, None, None, None, None, PER_STEP)
        for step in range(70)
    ]
    assert [len(steps) for steps in steps_in(blocks.add(wide, now=0.0))] == [BLOCK_VALUES // 1000] * 2


def test_a_job_that_makes_up_phases_keeps_no_memory_of_them() -> None:
    blocks = gathering()
    for step in range(10_000):
        blocks.add([row(f"phase-{step}", step)], now=float(step))
        blocks.due(float(step))
    assert len(blocks) <= 2


def test_a_block_holds_only_what_was_measured_in_one_way() -> None:
    blocks = gathering()
    means = ("running_mean", 1)
    assert steps_in(blocks.add([row("train", 0), row("train", 1, means)], now=0.0)) == [[0]]
    assert blocks.add([row("train", 2, means)], now=0.0) == []
    assert steps_in(blocks.due(float("inf"))) == [[1, 2]]
