"""From a block to what becomes of its findings."""

from __future__ import annotations

from typing import Final

from detectors import lifecycle
from detectors.cell import Block, Cell
from tests.detectors.blocks import cuts_of, fresh, run

NAMES: Final = ("idle", "pending", "firing")


def statuses(cell: Cell, block: Block) -> dict[str, list[list[str]]]:
    """By kind, the status of every row (and slot: rows times slots) at every step, of blocks of 64 steps."""
    steps = block.mask.shape[1]
    verdicts = run(cell, fresh(cell, block), cuts_of(block, range(0, steps, 64))).verdicts
    found = {}
    for kind in cell.kinds:
        verdict = verdicts[kind.name]
        start = lifecycle.idle(tuple(verdict.shape[:-1]), "cpu")
        status = lifecycle.advance(start, verdict, block.step, kind.confirm, kind.release)[1]
        found[kind.name] = [[NAMES[value] for value in row] for row in status.flatten(0, -2).tolist()]
    return found
