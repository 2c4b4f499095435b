from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch

from consumers import pools
from consumers.pools import Pool
from detectors import catalog
from detectors.cell import Block, Cell
from detectors.components.balance import Balance

LIKE = torch.zeros((), dtype=torch.float64)


def a_pool(slots: int = 4, cells: Sequence[Cell] = catalog.CELLS, like: torch.Tensor = LIKE) -> Pool:
    return Pool("objective", slots, cells, {}, like)


def a_block(rows: int, slots: int, time: int = 40, seed: int = 0) -> Block:
    values = torch.rand((rows, 1 + slots, time), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    given = torch.ones_like(values, dtype=torch.bool)
    return Block(
        step=torch.arange(time).expand(rows, time),
        mask=torch.ones((rows, time), dtype=torch.bool),
        values={
            "total": values[:, 0],
            "component": values[:, 1:],
            "weight": torch.ones_like(values[:, 1:]),
            "log_var": -values[:, 1:],
            "measured": torch.zeros_like(values[:, 0]),
            "divided_by": torch.ones_like(values[:, 0]),
        },
        reported={"total": given[:, 0], "component": given[:, 1:], "log_var": given[:, 1:]},
    )


def row_of(pool: Pool, row: int) -> dict[str, torch.Tensor]:
    return {name: value[row].clone() for name, value in pool.state.items()}


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value.nan_to_num(12345.0), two[name].nan_to_num(12345.0)), name


def test_a_dropped_row_is_given_out_again_as_good_as_new() -> None:
    pool = a_pool()
    rows = [pool.add(name) for name in "abc"]
    fresh = row_of(pool, rows[1])
    pool.update(rows, a_block(3, 4))
    pool.set_thresholds(rows[1], {"conflict_share": 0.5})
    pool.drop(rows[1])
    assert (len(pool), pool.keys[rows[1]]) == (2, None)
    assert pool.add("d") == rows[1]
    assert_same(row_of(pool, rows[1]), fresh)


def test_a_pool_grows_without_touching_the_rows_it_has() -> None:
    pool = a_pool()
    first = pool.add("first")
    pool.update([first], a_block(1, 4))
    before = row_of(pool, first)
    for number in range(1000):
        pool.add(number)
    assert len(pool) == 1001
    assert_same(row_of(pool, first), before)


def test_a_row_comes_back_bit_for_bit_from_its_bytes() -> None:
    pool, other = a_pool(), a_pool()
    rows = [pool.add(name) for name in "abc"]
    pool.update(rows, a_block(3, 4))
    there = [other.add(name) for name in "xyabc"][2:]
    for row, data in zip(there, pool.pack(rows), strict=True):
        other.unpack(row, data)
    for row, to in zip(rows, there, strict=True):
        assert_same(row_of(pool, row), row_of(other, to))


def test_bytes_that_are_too_short_are_refused() -> None:
    pool = a_pool()
    row = pool.add("a")
    with pytest.raises(ValueError, match="too short"):
        pool.unpack(row, pool.pack([row])[0][:-1])


def test_a_widened_row_goes_on_as_if_it_had_always_been_wide() -> None:
    narrow, wide, always = a_pool(4), a_pool(8), a_pool(8)
    block, more = a_block(1, 8), a_block(1, 8, seed=1)
    first = {name: value[:, :4] if value.dim() == 3 else value for name, value in block.values.items()}
    given = {name: value[:, :4] if value.dim() == 3 else value for name, value in block.reported.items()}
    for reported in (block.reported["component"], more.reported["component"]):
        reported[:, 4:] = False
    block.values["component"][:, 4:] = torch.nan
    more.values["component"][:, 4:] = torch.nan
    row, to, there = narrow.add("a"), wide.add("a"), always.add("a")
    narrow.update([row], Block(block.step, block.mask, first, given))
    always.update([there], block)
    narrow.widen(row, wide, to)
    for pool in (wide, always):
        pool.update([0], more)
    for name, value in always.state.items():
        assert torch.allclose(wide.state[name][to].double(), value[there].double(), equal_nan=True), name


def test_the_digest_changes_with_the_cells_their_parameters_the_slots_and_the_dtype() -> None:
    digests = [
        a_pool().digest,
        a_pool(8).digest,
        a_pool(cells=[Balance()]).digest,
        a_pool(cells=[Balance(warm_up=25)]).digest,
        a_pool(like=LIKE.float()).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_the_digest_is_the_same_in_every_process() -> None:
    program = "import torch; from consumers.pools import Pool; from detectors import catalog; "
    program += "print(Pool('objective', 4, catalog.CELLS, {}, torch.zeros((), dtype=torch.float64)).digest)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=child_env())
    assert done.stdout.strip() == a_pool().digest


def child_env() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path), "PYTHONHASHSEED": "123"}


def test_a_threshold_that_a_narrow_dtype_cannot_hold_is_infinite() -> None:
    pool = a_pool(like=LIKE.float())
    row = pool.add("a")
    pool.set_thresholds(row, {"conflict_share": 1e300, "no_such": 1.0})
    assert pool.state["threshold.conflict_share"][row].item() == float("inf")


def test_deferred_readings_are_those_of_the_newest_state_of_each_row() -> None:
    pool = Pool("scores", 8, catalog.CELLS, {}, LIKE)
    first, second = pool.add("a"), pool.add("b")
    score = torch.tensor([[0.1, 0.4, 0.35, 0.8], [0.9, 0.4, 0.35, 0.1]], dtype=torch.float64)[..., None]
    positive = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(2, 4)[..., None]
    mask = torch.ones((2, 1), dtype=torch.bool)
    pool.update([first, second], Block(torch.zeros((2, 1)).long(), mask, {"score": score, "positive": positive}))
    pool.drop(second)
    pool.read()
    assert pool.state["now.roc_auc_ratio"][first].item() == 0.75
    assert pool.state["now.roc_auc_ratio"][second].isnan()


def test_many_rows_are_judged_in_parts_as_they_would_be_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    block = a_block(7, 4, time=120)
    block.values["component"][2:6, 1] = 1e-9
    block.values["total"][4] = 0.0
    told = []
    for pool in (at_once := a_pool(), in_parts := a_pool()):
        rows = [pool.add(name) for name in "abcdefg"]
        told.append(pool.update(rows, block))
        monkeypatch.setattr(pools, "AT_ONCE", 0)
        monkeypatch.setattr(pools, "FEWEST", 3)
    assert {change.at for change in told[0].transitions} >= {2, 5}, "nothing to report"
    assert str(told[0].transitions) == str(told[1].transitions)
    assert_same(dict(told[0].fed), dict(told[1].fed))
    for name, value in at_once.state.items():
        torch.testing.assert_close(in_parts.state[name], value, equal_nan=True)


def test_rows_that_were_dropped_are_fresh_when_they_are_given_away_again() -> None:
    pool = a_pool()
    rows = [pool.add(name) for name in "abc"]
    pool.update(rows, a_block(3, 4))
    for row in rows[:2]:
        pool.drop(row)
    again = [pool.add(name) for name in "de"]
    other = a_pool()
    fresh = other.add("f")
    assert sorted(again) == sorted(rows[:2])
    assert pool.pack(again) == other.pack([fresh]) * 2
