"""What a block reports about totals, in the segments' columns. Letters: R rows, K components, S segments, C columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detectors.aggregation.candidates import Parts
from detectors.aggregation.precision import FORGET, quantum, resolved
from detectors.aggregation.segments import LENGTH, Segments, split, spread
from detectors.cell import Block, State
from detectors.streams import MEASURED


@dataclass(frozen=True, slots=True)
class Told:
    """All (R, C)."""

    total: Tensor
    """Times what the job had divided it by; NaN where none was reported."""
    quantum: Tensor
    """How precisely it was reported."""
    measured: Tensor
    """int64: the place in `detectors.streams.MEASURED`."""
    judged: Tensor
    """bool: a finite total and a component were reported, and mean the same steps."""
    whole: Tensor
    """bool: all components were reported."""
    logs: Tensor
    """bool: a log variance is known."""


def fresh_digits(rows: int, slots: int, like: Tensor) -> State:
    """No digits seen, of the total and the components: in closed segments, and in the open one."""
    return {name: like.new_zeros(rows, 1 + slots, 3) for name in ("digits", "digits_open")}


def read(state: State, block: Block, segments: Segments) -> tuple[State, Told, Parts]:
    """The new digits, and the block in columns. Digits that a segment showed count from the next one on, for the steps'
    own sake each step's own count at once: so the cuts do not matter."""
    values = block.values
    given = segments.take(block.reported["component"]) & segments.valid[:, None]
    total, component = segments.take(values["total"]), segments.take(values["component"])
    weight = segments.take(values["weight"])
    # A single number, expanded, is how a block says that nobody reported a log variance.
    log_var = segments.take(values["log_var"]) if any(values["log_var"].stride()) else None
    divided = segments.take(values["divided_by"])
    series = torch.cat([total[:, None], component], 1)  # (R, 1 + K, C)
    told = torch.cat([(segments.take(block.reported["total"]) & segments.valid)[:, None], given], 1)
    series = series.masked_fill(~told, torch.nan)
    own_digits, magnitude = resolved(series)
    state, seen = _seen(state, own_digits, segments)
    steps = quantum(series, seen, magnitude)  # (R, 1 + K, C)
    own = steps[:, :1]
    zeros = torch.where(steps[:, 1:] == 0, own, steps[:, 1:])  # always 0.0000: rounded as finely as the total
    parts = Parts(
        component=component.masked_fill(~given, 0.0),
        weight=weight.masked_fill(~given, 0.0),
        log_var=None if log_var is None else log_var.masked_fill(~given, 0.0),
        quantum=zeros.masked_fill(~given, 0.0),
        reported=given,
        total_quantum=own[:, 0] * divided.abs(),
    )
    total = series[:, 0] * divided
    measured = segments.take(values["measured"]).nan_to_num(0.0).clamp(0, len(MEASURED) - 1).long()
    comparable = measured != MEASURED.index("mixed")
    return (
        state,
        Told(
            total=total,
            quantum=parts.total_quantum,
            measured=measured,
            judged=total.isfinite() & given.any(1) & comparable,
            whole=(parts.count() >= block.facts["components"][:, None]) & given.any(1),
            logs=torch.zeros_like(comparable) if log_var is None else (log_var.isfinite() & given).any(1),
        ),
        parts,
    )


def _seen(state: State, own: Tensor, segments: Segments) -> tuple[State, Tensor]:
    """The digits that count at each step, (R, 1 + K, 3, C)."""
    most = split(own, LENGTH).amax(-1)  # (R, 1 + K, 3, S)
    starts = segments.starts(LENGTH)
    closed, running = state["digits"], state["digits_open"]
    before = []
    for at in range(most.shape[-1]):
        begins = starts[:, at, None, None]
        closed = torch.where(begins, torch.maximum(closed - FORGET, running), closed)
        running = torch.maximum(torch.where(begins, 0.0, running), most[..., at])
        before.append(closed)
    known = spread(torch.stack(before, -1), LENGTH)
    return {"digits": closed, "digits_open": running}, torch.maximum(own, known)
