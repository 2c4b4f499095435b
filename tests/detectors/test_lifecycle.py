"""The lifecycle against a state machine in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detectors.cell import BAD, GOOD, UNKNOWN, State
from detectors.lifecycle import FIRING, IDLE, MOST, PENDING, STATE, advance, idle, quiet


@dataclass
class Machine:
    """One finding, a verdict at a time."""

    confirm: int
    release: int
    status: int = IDLE
    bad: int = 0
    good: int = 0
    began: int = 0
    confirmed: int = 0

    def take(self, verdict: int, step: int) -> tuple[int, int, int]:
        before = self.status
        if verdict == BAD:
            self.bad, self.good = self.bad + 1, 0
            if self.bad >= self.confirm:
                self.status = FIRING
            elif before == IDLE:
                self.status = PENDING
        elif verdict == GOOD:
            self.bad, self.good = 0, self.good + 1
            if before == PENDING or (before == FIRING and self.good >= self.release):
                self.status = IDLE
        if before == IDLE and self.status != IDLE:
            self.began = step
        if before != FIRING and self.status == FIRING:
            self.confirmed = step
        return self.status, self.began, self.confirmed


def advanced(
    state: State, verdicts: Tensor, step: Tensor, counts: tuple[int, int], cuts: list[int]
) -> tuple[State, list[Tensor]]:
    """`advance` over the verdicts cut into blocks: status, began and confirmed of every step."""
    length = verdicts.shape[-1]
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start, stop in pairwise([0, *sorted({cut % length for cut in cuts} - {0}), length]):
        state, *rest = advance(state, verdicts[..., start:stop], step[:, start:stop], *counts)
        found.append((rest[0], rest[1], rest[2]))
    return state, [torch.cat(parts, -1) for parts in zip(*found, strict=True)]


verdict = st.sampled_from((BAD, BAD, GOOD, UNKNOWN))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(verdict, verdict, verdict), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.integers(0, 59), max_size=20),
    st.booleans(),
)
def test_it_does_what_the_plain_machine_does(
    rows: list[tuple[int, int, int]], confirm: int, release: int, cuts: list[int], slots: bool
) -> None:
    verdicts = torch.tensor(rows, dtype=torch.int8).T  # (3, T)
    step = torch.arange(0, 10 * len(rows), 10).expand(1 if slots else 3, -1)
    shape = (1, 3) if slots else (3,)
    _, found = advanced(idle(shape, "cpu"), verdicts.view(*shape, -1), step, (confirm, release), cuts)
    for i in range(3):
        machine = Machine(confirm, release)
        want = [machine.take(row[i], 10 * t) for t, row in enumerate(rows)]
        got = list(zip(*(x.view(3, -1)[i].tolist() for x in found), strict=True))
        # The step of a finding that has never been is not defined; the machine says 0 as `idle` does.
        assert got == want


@settings(max_examples=100, deadline=None)
@given(st.lists(verdict, min_size=1, max_size=40), st.lists(verdict, min_size=1, max_size=10))
def test_a_row_that_is_quiet_is_left_as_it_is(past: list[int], now: list[int]) -> None:
    state = advance(idle((1,), "cpu"), torch.tensor([past], dtype=torch.int8), torch.arange(len(past))[None], 2, 3)[0]
    verdicts = torch.tensor([now], dtype=torch.int8)
    if quiet(state, verdicts)[0]:
        after = advance(state, verdicts, torch.arange(len(now))[None], 2, 3)[0]
        assert {name: value.tolist() for name, value in after.items()} == {n: v.tolist() for n, v in state.items()}


def test_a_finding_fires_at_the_confirming_step_and_not_before() -> None:
    bad = torch.full((1, 6), BAD, dtype=torch.int8)
    status = advance(idle((1,), "cpu"), bad, torch.arange(6)[None], 5, 10)[1]
    assert status.tolist() == [[PENDING] * 4 + [FIRING] * 2]


def test_a_firing_finding_is_not_resolved_one_good_verdict_early() -> None:
    verdicts = torch.tensor([[BAD, *[GOOD] * 9, BAD, *[GOOD] * 10]], dtype=torch.int8)
    status = advance(idle((1,), "cpu"), verdicts, torch.arange(21)[None], 1, 10)[1]
    assert status.tolist() == [[FIRING] * 20 + [IDLE]]


def test_unknown_verdicts_neither_confirm_nor_release() -> None:
    verdicts = torch.tensor([[BAD, *[UNKNOWN] * 50, BAD, *[UNKNOWN] * 50, GOOD]], dtype=torch.int8)
    status = advance(idle((1,), "cpu"), verdicts, torch.arange(103)[None], 2, 1)[1]
    assert status.tolist() == [[*[PENDING] * 51, *[FIRING] * 51, IDLE]]


def test_a_finding_that_never_ends_does_not_outgrow_its_counts() -> None:
    verdicts = torch.full((1, 40_000), BAD, dtype=torch.int8)
    state = idle((1,), "cpu")
    for start in (0, 40_000):
        state, status, *_ = advance(state, verdicts, torch.arange(start, start + 40_000)[None], 3, 3)
    assert {name: value.dtype for name, value in state.items()} == STATE
    assert (int(state["status"]), int(state["bad"]), int(state["began"])) == (FIRING, MOST, 0)
    state, status, *_ = advance(state, torch.zeros((1, 3), dtype=torch.int8), torch.arange(3)[None], 3, 3)
    assert status.tolist() == [[FIRING, FIRING, IDLE]]
