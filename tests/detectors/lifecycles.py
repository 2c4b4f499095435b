"""From a block to what becomes of its findings."""

from __future__ import annotations

from typing import Final

from detectors import lifecycle
from detectors.cell import Block, Cell
from tests.detectors.blocks import F64, cuts_of, fresh, run

NAMES: Final = ("idle", "pending", "firing")


def statuses(cell: Cell, block: Block, slots: int | None = None) -> dict[str, list[list[str]]]:
    """By kind, the status of every row (and slot: rows times slots) at every step, of blocks of 64 steps.

    ``slots`` are as many as the block has components unless given.
    """
    steps = block.mask.shape[1]
    start = fresh(cell, block) if slots is None else cell.init(block.mask.shape[0], slots, F64)
    verdicts = run(cell, start, cuts_of(block, range(0, steps, 64))).verdicts
    found = {}
    for kind in cell.kinds:
        verdict = verdicts[kind.name]
        idle = lifecycle.idle(tuple(verdict.shape[:-1]), "cpu")
        status = lifecycle.advance(idle, verdict, block.step, kind.confirm, kind.release)[1]
        found[kind.name] = [[NAMES[value] for value in row] for row in status.flatten(0, -2).tolist()]
    return found
