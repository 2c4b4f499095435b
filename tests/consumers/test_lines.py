from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumers.lines import NO_LINE, Given, Lines, by_pool, joined, sheets
from consumers.pieces import SeriesPiece, pack
from consumers.points import Kept
from consumers.pools import Pool
from consumers.runs import StreamRow
from detectors import catalog

LIKE = torch.zeros((), dtype=torch.float64)
BATCHES = st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), min_size=1, max_size=90), max_size=5)


def a_pool(slots: int = 4) -> Pool:
    pool = Pool("predictions", slots, catalog.CELLS, {}, LIKE)
    for row in range(5):
        pool.add(row)
    return pool


def lines_of(pool: Pool, batch: Sequence[tuple[int, int]]) -> Lines:
    row, step = np.array(batch).T
    return Lines(pool, row, np.arange(len(batch)), step, torch.zeros(len(batch), 1))


Blocks = list[tuple[dict[int, list[int]], list[Kept]]]


@given(batches=BATCHES, most=st.sampled_from([1, 4, 64]))
def test_lines_are_packed_as_pieces_of_one_step_each_are(batches: list[list[tuple[int, int]]], most: int) -> None:
    by_line, by_piece = a_pool(), a_pool()
    for batch in batches:
        found: Blocks = []
        for sheet in sheets(lines_of(by_line, batch), most):
            taken = {row: at[at != NO_LINE].tolist() for row, at in zip(sheet.rows, sheet.line, strict=True)}
            found.append((taken, sorted(sheet.kept)))
        pieces = [SeriesPiece(row, at, 0.0, np.array([step]), np.zeros(1)) for at, (row, step) in enumerate(batch)]
        expected: Blocks = []
        for work in pack(pieces, most, by_piece.points):
            by_row: dict[int, list[int]] = {}
            for _, _, piece in work.placed:
                by_row.setdefault(piece.row, []).append(piece.owner)
            expected.append((by_row, sorted(work.kept)))
        assert found == expected
    states = [[points.pack([row])[0] for row in range(5)] for points in (by_line.points, by_piece.points)]
    assert states[0] == states[1]


def test_lines_of_one_pool_go_together_whatever_their_width() -> None:
    narrow, wide = a_pool(4), a_pool(16)
    rows = [StreamRow(narrow, 0), StreamRow(wide, 1), StreamRow(narrow, 2)]
    first = Given(rows, [0, 1, 2], torch.arange(3.0)[:, None], torch.ones(3, 2, 3))
    second = Given(rows[:1], [3], torch.tensor([[9.0]]), torch.ones(1, 2, 4))
    found = {lines.pool.slots: lines for lines in by_pool([first, second], np.array([5, 6, 7, 8]))}
    assert found[4].row.tolist() == [0, 2, 0]
    assert found[4].of.tolist() == [0, 2, 3]
    assert found[4].values[:, 0].tolist() == [0.0, 2.0, 9.0]
    assert found[4].slots is not None
    assert found[4].slots[:, 0].tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert found[4].step.tolist() == [5, 7, 8]
    assert found[16].row.tolist() == [1]
    assert joined([found[16]]) is found[16]
