"""From verdicts to findings: pending, firing, resolved, with hysteresis, for all rows at once.

A finding is *pending* from the first bad verdict, *fires* after ``confirm`` bad ones in a row and is
*resolved* after ``release`` good ones in a row (a pending one after a single good one). Unknown
verdicts neither confirm nor release. Every count is a difference of running maxima, so that the
recurrence needs no loop over time. Letters: R rows, K slots, T steps.

>>> import torch
>>> verdicts = torch.tensor([[0, 1, 1, 1, 0, 0]], dtype=torch.int8)
>>> state, status, began, confirmed = advance(idle((1,), "cpu"), verdicts, torch.arange(6)[None], 2, 2)
>>> status
tensor([[0, 1, 2, 2, 2, 0]])
>>> began[0, 2].item(), confirmed[0, 2].item()
(1, 2)
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from detectors.cell import BAD, GOOD, State

STATE: Final = {
    "status": torch.int8, "bad": torch.int16, "good": torch.int16, "began": torch.int64, "confirmed": torch.int64,
}  # fmt: skip
"""Every series has it for every kind, and most never need it: counts end at `MOST`."""
MOST: Final = torch.iinfo(torch.int16).max
"""Above every ``confirm`` and ``release``."""
IDLE: Final = 0
PENDING: Final = 1
FIRING: Final = 2


def idle(shape: tuple[int, ...], device: torch.device | str) -> State:
    """The state of rows (R) or slots (R, K) with nothing to report."""
    return {name: torch.zeros(shape, dtype=dtype, device=device) for name, dtype in STATE.items()}


def advance(
    state: State, verdicts: Tensor, step: Tensor, confirm: int, release: int
) -> tuple[State, Tensor, Tensor, Tensor]:
    """Take T verdicts of each row.

    Parameters: ``state`` from `idle` (R[, K]), ``verdicts`` int8 (R[, K], T), ``step`` int64 (R, T).
    Returns the new state and, at every step, the status, the step the finding began and the step
    it was confirmed, all int64 (R[, K], T).
    """
    bad, good = verdicts == BAD, verdicts == GOOD
    known = (bad | good).cumsum(-1)  # (R, K, T) known verdicts so far, from 1
    bad_run = known - _newest(known, good, -state["bad"])
    good_run = known - _newest(known, bad, -state["good"])
    fired = bad & (bad_run >= confirm)
    released = good & (good_run >= release)
    was_firing = (state["status"] == FIRING).long()
    firing = _newest(known, fired, was_firing - 1) > _newest(known, released, torch.zeros_like(was_firing) - 1)
    status = torch.where(firing, FIRING, torch.where(bad_run > 0, PENDING, IDLE))
    before = torch.cat([state["status"][..., None], status[..., :-1]], dim=-1)
    steps = step if step.dim() == status.dim() else step[:, None].expand_as(status)
    began = _step_of(steps, (status > IDLE) & (before == IDLE), state["began"])
    confirmed = _step_of(steps, (status == FIRING) & (before != FIRING), state["confirmed"])
    newest = {
        "status": status[..., -1],
        "bad": torch.where(status[..., -1] > IDLE, bad_run[..., -1], 0).clamp(max=MOST),
        "good": torch.where(firing[..., -1], good_run[..., -1], 0).clamp(max=MOST),
        "began": began[..., -1],
        "confirmed": confirmed[..., -1],
    }
    return {name: value.to(STATE[name]) for name, value in newest.items()}, status, began, confirmed


def quiet(state: State, verdicts: Tensor) -> Tensor:
    """(R) bool: rows that are idle and have no bad verdict, whose state `advance` would not change."""
    busy = (verdicts == BAD).any(-1) | (state["status"] > IDLE)
    return ~busy.flatten(1).any(1) if busy.dim() > 1 else ~busy


def rewind(state: State, step: int) -> tuple[State, Tensor]:
    """The state after the job took back ``step`` and all later ones, and what had begun in those (R[, K]) bool.

    A finding that began earlier goes on, one bad verdict behind it: which of them were taken back is not known.
    """
    gone = (state["status"] > IDLE) & (state["began"] >= step)
    stays = (state["status"] > IDLE) & ~gone
    status = torch.where(gone, IDLE, state["status"])
    counts = {"status": status, "bad": stays, "good": torch.zeros_like(gone)}
    return state | {name: value.to(STATE[name]) for name, value in counts.items()}, gone


def _newest(known: Tensor, event: Tensor, before: Tensor) -> Tensor:
    """The count of known verdicts at the newest event so far, ``before`` until the first."""
    marks = torch.where(event, known, before[..., None])
    return torch.maximum(marks.cummax(-1).values, before[..., None])


def _step_of(steps: Tensor, event: Tensor, before: Tensor) -> Tensor:
    """The step of the newest event so far, ``before`` until the first."""
    position = torch.arange(1, steps.shape[-1] + 1, device=steps.device)
    newest = torch.where(event, position, 0).cummax(-1).values
    return torch.cat([before[..., None], steps.expand_as(newest)], dim=-1).gather(-1, newest)
