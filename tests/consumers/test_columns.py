from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumers.columns import objective_block, series_block, series_of, tensor
from consumers.pieces import STEPS, ObjectivePiece, SeriesPiece, pack
from losswatch.arrays import NOT_REPORTED, reported

LIKE = torch.zeros((), dtype=torch.float64)

lengths = st.lists(st.tuples(st.integers(0, 5), st.integers(1, STEPS)), min_size=1, max_size=40)


def pieces_of(chosen: list[tuple[int, int]]) -> list[SeriesPiece]:
    """Pieces of (row, length) whose values and steps say where they come from."""
    pieces, at = [], dict.fromkeys(range(6), 0)
    for row, length in chosen:
        step = np.arange(at[row], at[row] + length)
        at[row] += length
        pieces.append(SeriesPiece(row, f"owner-{row}", float(at[row]), step, (step + 1000.0 * row).astype(np.float64)))
    return pieces


@given(lengths)
def test_packing_keeps_every_row_in_order_and_every_round_short(chosen: list[tuple[int, int]]) -> None:
    pieces = pieces_of(chosen)
    seen: dict[int, list[float]] = {}
    for work in pack(pieces):
        rows, time = work.shape
        assert time <= STEPS
        assert len(set(work.rows)) == rows
        block = series_block(work, {}, LIKE)
        for place, row in enumerate(work.rows):
            mask = block.mask[place]
            length = int(mask.sum())
            assert mask[:length].all(), "padded on the right"
            assert block.values["value"][place, ~mask].isnan().all()
            seen.setdefault(row, []).extend(block.values["value"][place, mask].tolist())
            assert block.step[place, mask].tolist() == [value - 1000.0 * row for value in seen[row][-length:]]
    for row, values in seen.items():
        assert values == [value for piece in pieces if piece.row == row for value in piece.value]


@given(lengths)
def test_every_step_is_traced_back_to_the_piece_that_brought_it(chosen: list[tuple[int, int]]) -> None:
    for work in pack(pieces_of(chosen)):
        block = series_block(work, {}, LIKE)
        for place, row in enumerate(work.rows):
            for offset in range(int(block.mask[place].sum())):
                piece = work.piece_at(place, offset)
                assert piece.row == row
                assert int(block.step[place, offset]) in piece.step


@st.composite
def objectives(draw: st.DrawFn) -> list[ObjectivePiece]:
    """Pieces of three rows with two components each, of which anything may be missing."""
    pieces = []
    for row in draw(st.lists(st.integers(0, 2), min_size=1, max_size=6)):
        length = draw(st.integers(1, 6))
        number = st.one_of(st.none(), st.just(float("nan")), st.floats(-1e6, 1e6))
        column = st.lists(number, min_size=length, max_size=length).map(_column)
        pieces.append(
            ObjectivePiece(
                row=row,
                owner=row,
                time=0.0,
                step=np.arange(length),
                total=draw(st.none() | column),
                components=[(slot, draw(column)) for slot in draw(st.sets(st.integers(0, 1)))],
                declared=np.array([1.0, 0.5]),
                weights=[(slot, draw(column)) for slot in draw(st.sets(st.integers(0, 1)))],
                series=np.array([10 * row, 10 * row + 1, -1]),
            )
        )
    return pieces


def _column(values: list[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    out = np.zeros(len(values))
    for i, value in enumerate(values):
        out[i] = NOT_REPORTED if value is None else value
    return out


@given(objectives())
def test_the_block_of_objectives_is_what_a_loop_over_single_values_makes(pieces: list[ObjectivePiece]) -> None:
    for work in pack(pieces):
        block, values = objective_block(work, 2, LIKE)
        for place, start, piece in work.placed:
            for t in range(len(piece.step)):
                at = start + t
                expected = {0: piece.total} | {1 + slot: column for slot, column in piece.components}
                for height in range(3):
                    column = expected.get(height)
                    given_here = column is not None and bool(reported(column)[t])
                    found = float(values[place, height, at])
                    assert bool(reported(values)[place, height, at]) == given_here
                    if given_here and column is not None:
                        assert np.array_equal(found, column[t], equal_nan=True)
                weights = dict(piece.weights)
                for slot in range(2):
                    own = slot in weights and bool(reported(weights[slot])[t])
                    expected_weight = weights[slot][t] if own else piece.declared[slot]
                    found = float(block.values["weight"][place, slot, at])
                    assert np.array_equal(found, expected_weight, equal_nan=True)


@given(objectives())
def test_single_series_hold_the_reported_values_in_order_and_nothing_else(pieces: list[ObjectivePiece]) -> None:
    for work in pack(pieces):
        block, values = objective_block(work, 2, LIKE)
        expected: dict[int, list[tuple[int, float]]] = {}
        for _, _, piece in work.placed:
            heights = [(0, piece.total), *((1 + slot, column) for slot, column in piece.components)]
            for height, column in heights:
                row = int(piece.series[height])
                if column is None or row < 0:
                    continue
                for t in np.flatnonzero(reported(column)):
                    expected.setdefault(row, []).append((int(piece.step[t]), float(column[t])))
        found = series_of(work, values, block, {}, LIKE)
        assert (found is None) == (not expected)
        if found is None:
            continue
        rows, origin, offset, series = found
        assert sorted(rows) == sorted(expected)
        for i, row in enumerate(rows):
            assert work.rows[origin[i]] == row // 10
            mask = series.mask[i]
            pairs = list(zip(series.step[i, mask].tolist(), series.values["value"][i, mask].tolist(), strict=True))
            assert [step for step, _ in pairs] == [step for step, _ in expected[row]]
            assert [int(block.step[origin[i], at]) for at in offset[i, : len(pairs)]] == [step for step, _ in pairs]
            assert np.array_equal([v for _, v in pairs], [v for _, v in expected[row]], equal_nan=True)


def test_what_is_finite_stays_finite_in_a_narrower_dtype() -> None:
    found = tensor(np.array([1e300, -1e300, np.inf, np.nan, 1.0]), LIKE.float())
    assert found.dtype == torch.float32
    assert found.isfinite().tolist() == [True, True, False, False, True]
