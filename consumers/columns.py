"""From rounds of pieces to rectangular blocks. Letters: R rows, K slots, T steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import isnan

import numpy as np
import numpy.typing as npt
import torch

from consumers.lines import NO_LINE, Lines, Sheet, widened
from consumers.pieces import (
    Bands,
    ObjectivePiece,
    PairPiece,
    Piece,
    Round,
    SeriesPiece,
)
from detectors.cell import Block
from detectors.streams import VALUES
from losswatch.arrays import NOT_REPORTED, Bools, Floats, Ints, reported


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
    given = torch.from_numpy(reported(values)).to(like.device)
    tensors = tensor(values, like)
    log_var, log_var_given = _log_vars(work, slots, like)
    made = {name: tensor(column, like) for name, column in _origins(work).items()}
    block = Block(
        step=torch.from_numpy(step).to(like.device),
        mask=torch.from_numpy(mask).to(like.device),
        values={
            "total": tensors[:, 0],
            "component": tensors[:, 1:],
            "weight": tensor(weights, like),
            "log_var": log_var,
            **made,
        },
        reported={"total": given[:, 0], "component": given[:, 1:], "log_var": log_var_given},
    )
    return block, values


def _log_vars(work: Round[ObjectivePiece], slots: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(R, K, T) log variances and which of them were reported; most rounds have none and spend no memory on it."""
    rows, time = work.shape
    shape = (rows, slots, time)
    if not any(piece.log_vars for _, _, piece in work.placed):
        none = torch.zeros((), dtype=torch.bool, device=like.device)
        return like.new_full((), torch.nan).expand(shape), none.expand(shape)
    values, given = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    for row, start, piece in work.placed:
        stop = start + len(piece.step)
        for slot, column, told in piece.log_vars:
            values[row, slot, start:stop], given[row, slot, start:stop] = column, told
    return tensor(values, like), torch.from_numpy(given).to(like.device)


def _origins(work: Round[ObjectivePiece]) -> dict[str, Floats]:
    """(R, T) ``measured`` and ``divided_by``: how the numbers of a step came about."""
    measured, divided_by = np.zeros(work.shape), np.ones(work.shape)
    for row, start, piece in work.placed:
        if piece.measured or piece.divided_by != 1:
            stop = start + len(piece.step)
            measured[row, start:stop], divided_by[row, start:stop] = piece.measured, piece.divided_by
    return {"measured": measured, "divided_by": divided_by}


def series_of(
    work: Round[ObjectivePiece], values: Floats, block: Block, bands: Mapping[int, Bands], like: torch.Tensor
) -> tuple[list[int], list[int], Ints, Block] | None:
    """The same numbers as single series, without the steps at which a series was not reported.

    Returns the series rows, the row of the round each belongs to, where in the round (S, T) each step was, and the
    block; None if there are none.
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
    offset = np.broadcast_to(np.arange(given.shape[1]), given.shape)
    count = given.sum(-1)
    if not (given == (np.arange(given.shape[1]) < count[:, None])).all():
        offset = np.argsort(~given, axis=-1, kind="stable")
        value, step = np.take_along_axis(value, offset, -1), np.take_along_axis(step, offset, -1)
    most = int(count.max())
    mask = np.arange(most) < count[:, None]
    named: list[int] = rows.tolist()
    found = Block(
        step=torch.from_numpy(np.ascontiguousarray(step[:, :most])).to(like.device),
        mask=torch.from_numpy(mask).to(like.device),
        values={"value": tensor(value[:, :most], like)},
    )
    return named, origin.tolist(), offset, expecting(found, named, bands, like)


def series_block(work: Round[SeriesPiece], bands: Mapping[int, Bands], like: torch.Tensor) -> Block:
    """The block of a round of single series. ``bands`` are what is expected of them, by series row."""
    block = _stack(work, 1, lambda piece: piece.value[None], ("value",), like)
    return expecting(block, work.rows, bands, like)


def expecting(block: Block, rows: Sequence[int], bands: Mapping[int, Bands], like: torch.Tensor) -> Block:
    """The block with the bands ``low`` and ``high`` (R, T), NaN where nothing is expected."""
    chosen = [place for place, row in enumerate(rows) if row in bands] if bands else []
    if not chosen:
        nothing = like.new_full((), torch.nan).expand(block.mask.shape)
        return replace(block, values={**block.values, "low": nothing, "high": nothing})
    low, high = np.full(block.mask.shape, np.nan), np.full(block.mask.shape, np.nan)
    for place in chosen:
        band = bands[rows[place]]
        newest = np.searchsorted(band.from_step, block.step[place].cpu().numpy(), side="right") - 1  # (T)
        low[place] = np.where(newest < 0, np.nan, band.low[newest])
        high[place] = np.where(newest < 0, np.nan, band.high[newest])
    return replace(block, values={**block.values, "low": tensor(low, like), "high": tensor(high, like)})


def pair_block(work: Round[PairPiece], names: Sequence[str], like: torch.Tensor) -> Block:
    """The block of a round of pairs; ``names`` are the values it has."""
    missing = np.array([NOT_REPORTED])

    def columns(piece: PairPiece) -> Floats:
        given = (piece.values.get(name, missing) for name in names)
        return np.stack([np.broadcast_to(column, piece.step.shape) for column in given])

    rows = _filled(work, len(names), columns)
    given = torch.from_numpy(reported(rows[2])).to(like.device)
    block = _block_of(*rows, names, like)
    return replace(block, reported=dict(zip(names, given, strict=True)))


def lines_block(work: Sheet, lines: Lines) -> Block:
    """The block of a sheet of lines."""
    names = VALUES[lines.pool.stream]
    there = work.line != NO_LINE
    like, device = lines.pool.like, lines.pool.like.device
    mask, line = torch.from_numpy(there).to(device), torch.from_numpy(np.where(there, work.line, 0)).to(device)
    known = mask[..., None]
    values = fitting(torch.where(known, lines.values[line], torch.nan).permute(2, 0, 1).contiguous(), like)
    if lines.slots is None:
        wide = like.new_full((), torch.nan).expand(len(names.slot), len(work.rows), lines.pool.slots, there.shape[1])
    else:
        told = lines.slots[line]  # (R, T, V', K)
        if not isnan(names.elsewhere):
            told = widened(told, lines.pool.slots, names.elsewhere)
        told = told if there.all() else torch.where(known[..., None], told, torch.nan)
        wide = fitting(told.permute(2, 0, 3, 1).contiguous(), like)
    return Block(
        step=torch.from_numpy(np.where(there, lines.step[work.line], 0)).to(device),
        mask=mask,
        values={**dict(zip(names.row, values, strict=True)), **dict(zip(names.slot, wide, strict=True))},
    )


def _stack(
    work: Round[Piece], height: int, columns: Callable[[Piece], Floats], names: Sequence[str], like: torch.Tensor
) -> Block:
    return _block_of(*_filled(work, height, columns), names, like)


def _filled(work: Round[Piece], height: int, columns: Callable[[Piece], Floats]) -> tuple[Ints, Bools, Floats]:
    """Steps and mask (R, T), and values (``height``, R, T)."""
    rows, time = work.shape
    step = np.zeros((rows, time), dtype=np.int64)
    mask = np.zeros((rows, time), dtype=np.bool_)
    values = np.full((height, rows, time), NOT_REPORTED)
    for row, start, piece in work.placed:
        stop = start + len(piece.step)
        step[row, start:stop] = piece.step
        mask[row, start:stop] = True
        values[:, row, start:stop] = columns(piece)
    return step, mask, values


def _block_of(step: Ints, mask: Bools, values: Floats, names: Sequence[str], like: torch.Tensor) -> Block:
    return Block(
        step=torch.from_numpy(step).to(like.device),
        mask=torch.from_numpy(mask).to(like.device),
        values=dict(zip(names, tensor(values, like), strict=True)),
    )


def tensor(values: npt.NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    """As a tensor of the state's dtype and device."""
    return fitting(torch.from_numpy(np.ascontiguousarray(values)), like)


def fitting(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """In the state's dtype, on its device; finite values stay finite in a narrower dtype."""
    if torch.finfo(like.dtype).max < torch.finfo(values.dtype).max:
        most = torch.finfo(like.dtype).max
        values = torch.where(values.isfinite(), values.clamp(-most, most), values)
    return values.to(device=like.device, dtype=like.dtype)
