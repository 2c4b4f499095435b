"""From pieces of single runs to rectangular blocks over many.

Pieces of a row are packed one behind the other into rounds of at most `STEPS` steps; a round holds each
row at most once and goes through the detectors as one block. Letters: R rows, K slots, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from detectors.cell import Block
from losswatch.arrays import NOT_REPORTED, Floats, Ints, reported

STEPS: Final = 64
"""Most steps of a row in one block; the products of `detectors.recurrence` grow with its square."""


@dataclass(frozen=True, slots=True)
class ObjectivePiece:
    """Consecutive steps of one phase of one run, as columns."""

    row: int
    owner: Any
    """Who it belongs to: returned with what the detectors find."""
    time: float
    """When its record was made, Unix seconds."""
    step: Ints
    total: Floats | None
    components: Sequence[tuple[int, Floats]]
    """By slot."""
    declared: npt.NDArray[np.float64]
    """(K) weights."""
    weights: Sequence[tuple[int, Floats]]
    """By slot, where they were reported with the step."""
    series: npt.NDArray[np.int64]
    """(1 + K) series rows of the total and the slots; -1 where there is none."""


@dataclass(frozen=True, slots=True)
class SeriesPiece:
    """Consecutive reported values of one series."""

    row: int
    owner: Any
    time: float
    step: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class PredictionPiece:
    """One step of one prediction stream, already reduced."""

    row: int
    owner: Any
    time: float
    step: Ints
    values: npt.NDArray[np.float64]
    """(6, 1), in the order of `PREDICTION_VALUES`."""


PREDICTION_VALUES: Final = (
    "samples",
    "classes",
    "class_entropy",
    "sample_entropy",
    "max_class_probability",
    "unique_classes",
)

Piece = TypeVar("Piece", ObjectivePiece, SeriesPiece, PredictionPiece)


@dataclass(slots=True)
class Round(Generic[Piece]):
    """Pieces that go into one block, each with its row of the block and its offset in time."""

    rows: list[int] = field(default_factory=list)
    placed: list[tuple[int, int, Piece]] = field(default_factory=list)
    fill: list[int] = field(default_factory=list)
    """Steps taken, by row of the block."""

    @property
    def shape(self) -> tuple[int, int]:
        """(R, T)."""
        return len(self.rows), max(self.fill)

    def piece_at(self, row: int, offset: int) -> Piece:
        """The piece that brought a step."""
        return max((p for p in self.placed if p[0] == row and p[1] <= offset), key=lambda p: p[1])[2]


def pack(pieces: Sequence[Piece]) -> Iterator[Round[Piece]]:
    """Pack pieces (each of at most `STEPS` steps) into rounds, keeping the order within each row."""
    rounds: list[Round[Piece]] = []
    at: dict[int, tuple[int, int]] = {}
    """By row: its newest round and its place there."""
    for piece in pieces:
        number, place = at.get(piece.row, (-1, 0))
        length = len(piece.step)
        if number >= 0 and rounds[number].fill[place] + length <= STEPS:
            target = rounds[number]
        else:
            number += 1
            if number == len(rounds):
                rounds.append(Round())
            target = rounds[number]
            place = len(target.rows)
            target.rows.append(piece.row)
            target.fill.append(0)
            at[piece.row] = (number, place)
        target.placed.append((place, target.fill[place], piece))
        target.fill[place] += length
    yield from rounds


def objective_block(work: Round[ObjectivePiece], slots: int, like: torch.Tensor) -> tuple[Block, Floats]:
    """The block of a round of objectives, and the raw totals and components (R, 1 + K, T) it was made of."""
    rows, time = work.shape
    step = np.zeros((rows, time), dtype=np.int64)
    mask = np.zeros((rows, time), dtype=np.bool_)
    values = np.full((rows, 1 + slots, time), NOT_REPORTED)
    weights = np.ones((rows, slots, time))
    for row, start, piece in work.placed:
        stop = start + len(piece.step)
        step[row, start:stop] = piece.step
        mask[row, start:stop] = True
        if piece.total is not None:
            values[row, 0, start:stop] = piece.total
        for slot, column in piece.components:
            values[row, 1 + slot, start:stop] = column
        weights[row, :, start:stop] = piece.declared[:, None]
        for slot, column in piece.weights:
            weights[row, slot, start:stop] = np.where(reported(column), column, piece.declared[slot])
    given = reported(values)
    tensors = tensor(values, like)
    block = Block(
        step=torch.from_numpy(step).to(like.device),
        mask=torch.from_numpy(mask).to(like.device),
        values={"total": tensors[:, 0], "component": tensors[:, 1:], "weight": tensor(weights, like)},
        reported=_split(torch.from_numpy(given).to(like.device)),
    )
    return block, values


def _split(given: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"total": given[:, 0], "component": given[:, 1:]}


def series_of(
    work: Round[ObjectivePiece], values: Floats, block: Block, like: torch.Tensor
) -> tuple[list[int], list[int], Block] | None:
    """The same numbers as single series, without the steps at which a series was not reported.

    Returns the series rows, the row of the round each belongs to, and the block; None if there are none.
    """
    newest: dict[int, ObjectivePiece] = {row: piece for row, _, piece in work.placed}
    wanted = np.stack([newest[row].series for row in range(len(work.rows))])  # (R, 1 + K)
    present = reported(values)  # (R, 1 + K, T)
    chosen = (wanted >= 0) & present.any(-1)
    if not chosen.any():
        return None
    rows, origin = wanted[chosen], np.nonzero(chosen)[0]
    value, given = values[chosen], present[chosen]  # (S, T)
    step = block.step.cpu().numpy()[origin]
    count = given.sum(-1)
    if not (given == (np.arange(given.shape[1]) < count[:, None])).all():
        order = np.argsort(~given, axis=-1, kind="stable")
        value, step = np.take_along_axis(value, order, -1), np.take_along_axis(step, order, -1)
    most = int(count.max())
    mask = np.arange(most) < count[:, None]
    return (
        rows.tolist(),
        origin.tolist(),
        Block(
            step=torch.from_numpy(np.ascontiguousarray(step[:, :most])).to(like.device),
            mask=torch.from_numpy(mask).to(like.device),
            values={"value": tensor(value[:, :most], like)},
        ),
    )


def series_block(work: Round[SeriesPiece], like: torch.Tensor) -> Block:
    """The block of a round of single series."""
    return _stack(work, 1, lambda piece: piece.value[None], ("value",), like)


def prediction_block(work: Round[PredictionPiece], like: torch.Tensor) -> Block:
    """The block of a round of prediction streams."""
    return _stack(work, len(PREDICTION_VALUES), lambda piece: piece.values, PREDICTION_VALUES, like)


def _stack(
    work: Round[Piece], height: int, columns: Callable[[Piece], Floats], names: Sequence[str], like: torch.Tensor
) -> Block:
    rows, time = work.shape
    step = np.zeros((rows, time), dtype=np.int64)
    mask = np.zeros((rows, time), dtype=np.bool_)
    values = np.full((height, rows, time), np.nan)
    for row, start, piece in work.placed:
        stop = start + len(piece.step)
        step[row, start:stop] = piece.step
        mask[row, start:stop] = True
        values[:, row, start:stop] = columns(piece)
    return Block(
        step=torch.from_numpy(step).to(like.device),
        mask=torch.from_numpy(mask).to(like.device),
        values=dict(zip(names, tensor(values, like), strict=True)),
    )


def tensor(values: npt.NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    """As a tensor of the state's dtype and device; finite values stay finite in a narrower dtype."""
    wide = torch.from_numpy(np.ascontiguousarray(values))
    if like.dtype is not torch.float64:
        most = torch.finfo(like.dtype).max
        wide = torch.where(wide.isfinite(), wide.clamp(-most, most), wide)
    return wide.to(device=like.device, dtype=like.dtype)
