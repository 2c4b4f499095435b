"""The score of the temporal cell, for many series at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from bench.temporal_runs import Floats, Labelled
from detectors.cell import Block
from detectors.temporal.anomaly import RUN_LENGTH, TemporalAnomaly

BLOCK: Final = 64
BATCH: Final = 256


def own(runs: Sequence[Labelled], reading: str = "anomaly_score") -> list[Floats]:
    """The cell, a few hundred series at once."""
    order = sorted(range(len(runs)), key=lambda i: len(runs[i].values))
    found: dict[int, Floats] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        scores = own_batch([runs[i].values for i in batch], [runs[i].direction for i in batch], reading)
        found |= dict(zip(batch, scores, strict=True))
    return [found[i] for i in range(len(runs))]


def own_batch(
    values: Sequence[Floats],
    directions: Sequence[int],
    reading: str = "anomaly_score",
    cell: TemporalAnomaly | None = None,
) -> list[Floats]:
    """A reading of the cell at every step of every series."""
    lengths, cell = torch.tensor([len(x) for x in values]), cell or TemporalAnomaly()
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(x) for x in values], batch_first=True)
    facts = {"direction": torch.tensor(directions, dtype=torch.float64)}
    limits = {RUN_LENGTH.name: padded.new_full((len(values),), RUN_LENGTH.default)}
    state, pieces = cell.init(len(values), 0, padded), []
    for start in range(0, padded.shape[1], BLOCK):
        piece = padded[:, start : start + BLOCK]
        step = torch.arange(start, start + piece.shape[1]).expand(piece.shape)
        output = cell.update(state, Block(step, step < lengths[:, None], {"value": piece}, {}, facts), limits)
        state = output.state
        pieces.append(output.readings[reading].nan_to_num(0.0))
    whole = torch.cat(pieces, dim=1).double().numpy()
    return [whole[r, : len(x)] for r, x in enumerate(values)]
