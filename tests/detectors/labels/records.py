"""Blocks of labelled predictions, made of labels and predicted places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from detectors import lifecycle
from detectors.cell import Block, Cell
from detectors.labels.counts import class_counts
from detectors.streams import CODE_BITS
from tests.detectors.blocks import defaults
from tests.detectors.lifecycles import NAMES

Places = npt.NDArray[np.int64]


def block_of(
    labels: Places, predicted: Places, classes: int, *, training: bool = False, declared: Sequence[int] | None = None,
    judged: Places | None = None,
) -> Block:  # fmt: skip
    """One row of T records of N samples each, from places (T, N)."""
    counts = class_counts(torch.from_numpy(labels), torch.from_numpy(predicted), classes).double()  # (T, 17, K)
    names = ("labelled", "predicted", "hit", *(f"code_{bit}" for bit in range(CODE_BITS)))
    steps, size = labels.shape
    flags = torch.full((1, classes), torch.nan, dtype=torch.float64)
    if declared is not None:
        flags[0] = torch.tensor([float(place in declared) for place in range(classes)])
    return Block(
        torch.arange(steps)[None],
        torch.ones(1, steps, dtype=torch.bool),
        {
            "samples": torch.full((1, steps), float(size), dtype=torch.float64),
            "right": torch.from_numpy((labels == predicted).sum(1)).double()[None],
            "judged": torch.ones(1, steps, dtype=torch.float64)
            if judged is None
            else torch.from_numpy(judged).double()[None],
            **{name: counts[:, i].T[None] for i, name in enumerate(names)},
        },
        facts={"training": torch.tensor([float(training)]), "declared_class": flags},
    )


def readings(cell: Cell, block: Block) -> Mapping[str, torch.Tensor]:
    """All readings of a block."""
    slots = block.values["labelled"].shape[1]
    state = cell.init(1, slots, block.values["samples"])
    return cell.update(state, block, defaults(cell, 1)).readings


def fired(cell: Cell, block: Block, kind: str) -> list[int | None]:
    """The record at which the finding of the row, or of each class, fires first."""
    slots = block.values["labelled"].shape[1]
    verdict = cell.update(cell.init(1, slots, block.values["samples"]), block, defaults(cell, 1)).verdicts[kind]
    of = next(each for each in cell.kinds if each.name == kind)
    idle = lifecycle.idle(tuple(verdict.shape[:-1]), "cpu")
    status = lifecycle.advance(idle, verdict, block.step, of.confirm, of.release)[1].flatten(0, -2)
    return [next((t for t, value in enumerate(row.tolist()) if NAMES[value] == "firing"), None) for row in status]
