"""What every detector must keep, one check each. A check fails with an AssertionError.

``CHECKS`` is crossed with the whole catalog by test_conformance.py; test_the_checks.py shows that each
check rejects a detector that breaks the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detectors.catalog import THRESHOLDS
from detectors.cell import BAD, GOOD, UNKNOWN, Block, Cell, Output, State
from detectors.kinds import Facts
from tests.detectors import blocks
from tests.detectors.blocks import F32, F64, cuts_of, defaults, fresh, make, row, run
from tests.detectors.comparing import FLOAT32, FLOAT32_VERDICTS, identical, only, same, same_where, spread
from tests.detectors.values import SLOTS

Check = Callable[[Cell], None]
EXAMPLES: Final = settings(max_examples=20, deadline=None, database=None, derandomize=True)

JUDGE_AT_ONCE: Final[Mapping[str, str]] = {
    "non_finite": "a single NaN is proof",
    "aggregation_mismatch": "the formulas it compares were confirmed before",
    "expectation_missed": "the job declared what it expects; confirming takes three",
    "diversity_collapse": "one record of enough samples is a measurement; confirming takes five",
    "weak_proxy": "a record of enough samples is a measurement with an error of its own",
    "sparse_coverage": "distances are measured, not estimated over time",
    "split_leakage": "a declaration is a fact",
    "over_capacity": "a declaration is a fact",
    "precision_mismatch": "a declaration is a fact",
}
"""Kinds without warm-up, and why."""
GARBAGE: Final = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 0.0, -0.0, 3e38, 1.0)
STEPS: Final = (0, -1, 2**62, -(2**62), 2**63 - 1, -(2**63), 5, 5)
"""Step numbers of all kinds, backwards and twice the same."""


def check_batched_equals_one_by_one(cell: Cell) -> None:
    """R rows at once give what each row alone gives."""
    block = make(cell.stream, rows=6, spoiled=0.03, ragged=True)
    together = run(cell, fresh(cell, block), [block])
    for r in range(6):
        alone = row(block, r)
        if alone.mask.shape[1]:
            same(run(cell, fresh(cell, alone), [alone]), only(together, r, alone.mask.shape[1]))


def check_any_split_gives_the_same(cell: Cell) -> None:
    """However a row's steps are cut into blocks, one step each included."""

    @EXAMPLES
    @given(st.integers(0, 99), st.lists(st.integers(0, 59), max_size=60), st.booleans())
    def holds(seed: int, cuts: list[int], ragged: bool) -> None:
        block = make(cell.stream, seed=seed, spoiled=0.03, ragged=ragged)
        whole = run(cell, fresh(cell, block), [block])
        same_where(block.mask, run(cell, fresh(cell, block), cuts_of(block, cuts)), whole)

    holds()
    block = make(cell.stream, steps=150)
    whole = run(cell, fresh(cell, block), [block])
    same_where(block.mask, run(cell, fresh(cell, block), cuts_of(block, range(150))), whole)


def check_padding_is_irrelevant(cell: Cell) -> None:
    """What stands in the padding changes nothing, its verdict is UNKNOWN, and an all-padding row keeps its state."""
    block = make(cell.stream, rows=6, ragged=True)
    state = run(cell, fresh(cell, block), [make(cell.stream, seed=1, rows=6)]).state
    plain = run(cell, state, [block])
    for junk in (0.0, 1e308, float("nan"), -float("inf")):
        same_where(block.mask, run(cell, state, [blocks.refilled(block, junk)]), plain)
    for name, verdict in plain.verdicts.items():
        assert (spread(verdict, ~block.mask) == UNKNOWN).all(), f"{name} judges the padding"
    empty = replace(block, mask=torch.zeros_like(block.mask))
    for name, value in run(cell, state, [empty]).state.items():
        assert torch.equal(value.nan_to_num(), state[name].nan_to_num()), f"padding changes the state {name!r}"


def check_snapshot_continues(cell: Cell) -> None:
    """A state that was copied, or written to bytes and read again, goes on as if nothing had happened."""

    @EXAMPLES
    @given(st.integers(0, 99), st.integers(1, 59))
    def holds(seed: int, at: int) -> None:
        block = make(cell.stream, seed=seed, spoiled=0.03)
        first = run(cell, fresh(cell, block), [blocks.part(block, 0, at)]).state
        rest = blocks.part(block, at, 60)
        want = run(cell, first, [rest])
        for restored in (_copied(first), _through_bytes(first)):
            identical(run(cell, restored, [rest]), want)

    holds()


def check_inputs_are_not_mutated(cell: Cell) -> None:
    """Neither the state nor the block nor the thresholds; init makes tensors of its own."""
    block = make(cell.stream, ragged=True, spoiled=0.1)
    state = run(cell, fresh(cell, block), [make(cell.stream, seed=1)]).state
    thresholds = defaults(cell, 4)
    given_values = (
        state,
        block.values,
        block.reported,
        thresholds,
        {"step": block.step, "mask": block.mask},
        block.facts,
    )
    before = [_copied(tensors) for tensors in given_values]
    cell.update(state, block, thresholds)
    for tensors, kept in zip(given_values, before, strict=True):
        assert tensors.keys() == kept.keys()
        for name, value in tensors.items():
            assert torch.equal(value.nan_to_num(), kept[name].nan_to_num()), f"{name!r} was changed in place"
            assert torch.equal(value.isnan(), kept[name].isnan()), f"{name!r} was changed in place"


def check_any_float_is_survived(cell: Cell) -> None:
    """Garbage gives verdicts, not exceptions; after 500 clean steps all is known again that a fresh row knows."""

    @EXAMPLES
    @given(st.integers(0, 99), st.sampled_from((F64, F32)))
    def holds(seed: int, like: Tensor) -> None:
        dirty, clean = _garbage(cell, seed, like), make(cell.stream, seed=seed, steps=500, like=like, first_step=10)
        clean = replace(clean, reported={k: torch.ones_like(v) for k, v in clean.reported.items()})
        clean = blocks.mapped(clean, lambda x: x.nan_to_num() if x.is_floating_point() else x)
        after = run(cell, fresh(cell, dirty, like), [dirty], like)
        _verdicts_are_legal(after)
        recovered = run(cell, after.state, cuts_of(clean, range(0, 500, 50)), like)
        known = run(cell, fresh(cell, clean, like), cuts_of(clean, range(0, 500, 50)), like)
        _verdicts_are_legal(recovered)
        for name, verdict in recovered.verdicts.items():
            lost = (verdict[..., -1] == UNKNOWN) & (known.verdicts[name][..., -1] != UNKNOWN)
            assert not lost.any(), f"{name} stays unknown after garbage"
        for reading in cell.readings:
            here, there = recovered.readings[reading.name][..., -1], known.readings[reading.name][..., -1]
            if reading.name not in _conditional(cell):
                assert (here.isfinite() | ~there.isfinite()).all(), f"{reading.name} is lost after garbage"

    holds()


def check_warm_up_is_unknown(cell: Cell) -> None:
    """The first verdict is UNKNOWN, except of kinds that are listed with a reason."""
    block = make(cell.stream)
    for name, verdict in run(cell, fresh(cell, block), [block]).verdicts.items():
        if name not in JUDGE_AT_ONCE:
            assert (verdict[..., 0] == UNKNOWN).all(), (
                f"{name} judges its first step: list it with a reason, or warm up"
            )
        assert (verdict != UNKNOWN).any(), f"{name} never knows anything"


def check_missing_input_is_unknown(cell: Cell) -> None:
    """A warm row whose values are all missing is not healthy; of a series, NaN is itself the value."""
    if cell.stream == "series":
        return
    block, blank = make(cell.stream), make(cell.stream, seed=1)
    blank = blocks.mapped(blank, lambda x: torch.full_like(x, torch.nan) if x.is_floating_point() else x)
    blank = replace(blank, reported={k: torch.zeros_like(v) for k, v in blank.reported.items()})
    for name, verdict in run(cell, run(cell, fresh(cell, block), [block]).state, [blank]).verdicts.items():
        assert (verdict == UNKNOWN).all(), f"{name} takes missing input for a verdict"


def check_memory_is_bounded(cell: Cell) -> None:
    """The state's first dimension is the row, and 10,000 steps leave its size as it was."""
    for rows in (1, 5):
        start = cell.init(rows, SLOTS, F64)
        for name, value in start.items():
            assert value.shape[:1] == (rows,), f"the first dimension of {name!r} is not the row"
    block = make(cell.stream, rows=2, steps=200)
    start = state = fresh(cell, block)
    for _ in range(50):
        state = cell.update(state, block, defaults(cell, 2)).state
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in start.items()}, (
            "the state's layout changes"
        )


def check_float32_agrees(cell: Cell) -> None:
    """float32 gives what float64 gives, within FLOAT32 of the largest reading and FLOAT32_VERDICTS of the verdicts."""
    for seed in range(5):
        narrow = make(cell.stream, seed=seed, rows=8, steps=120, like=F32)
        wide = blocks.mapped(narrow, lambda x: x.double() if x.is_floating_point() else x)
        got = run(cell, fresh(cell, narrow, F32), cuts_of(narrow, (17, 64)), F32)
        want = run(cell, fresh(cell, wide), cuts_of(wide, (17, 64)))
        for name, reading in want.readings.items():
            both = reading.isfinite() & got.readings[name].isfinite()
            if not both.any():
                continue  # these blocks give no reason for it
            error = (got.readings[name].double() - reading)[both].abs()
            scale = (
                reading[both].abs().clamp(min=1e-3)
                if name == "class_entropy_steps_to_floor"
                else reading[both].abs().max()
            )
            assert (error <= FLOAT32.get(name, 1e-6) * scale).all(), f"{name} in float32 is off by {error.max()}"
            unlike = (reading.isfinite() != got.readings[name].isfinite()).double().mean()
            assert unlike <= FLOAT32_VERDICTS, f"{name} is known at other steps in float32"
        for name, verdict in want.verdicts.items():
            assert (verdict != got.verdicts[name]).double().mean() <= FLOAT32_VERDICTS, f"{name} differs in float32"


def check_dtypes_follow_the_state(cell: Cell) -> None:
    """Readings have the dtype of ``like``, verdicts are int8, and the state keeps the dtypes that ``init`` gave it."""
    for like in (F32, F64):
        block = make(cell.stream, like=like)
        state = fresh(cell, block, like)
        output = run(cell, state, [block], like)
        assert {k: v.dtype for k, v in output.state.items()} == {k: v.dtype for k, v in state.items()}
        assert {v.dtype for v in output.readings.values()} <= {like.dtype}, "a reading has another dtype than the state"
        assert {v.dtype for v in output.verdicts.values()} <= {torch.int8}


def check_device_follows_the_state(cell: Cell) -> None:
    """On the meta device: any tensor that was left on the CPU, and any look at a value, is an error there."""
    like = torch.zeros((), dtype=torch.float64, device="meta")
    block = blocks.mapped(make(cell.stream), lambda x: x.to("meta"))
    block = replace(block, facts={name: value.to("meta") for name, value in block.facts.items()})
    try:
        output = cell.update(fresh(cell, block, like), block, defaults(cell, 4, like))
    except (RuntimeError, NotImplementedError) as error:
        raise AssertionError(f"not all on the state's device: {error}") from error
    for tensors in (output.state, output.readings, output.verdicts):
        for name, value in tensors.items():
            assert value.device.type == "meta", f"{name} is made on {value.device}"


def check_everything_declared_is_returned(cell: Cell) -> None:
    """Every reading with its declared shape, every kind with a verdict of the shape of its value, and nothing else."""
    block = make(cell.stream, rows=5, steps=7)
    output = run(cell, fresh(cell, block), [block])
    shapes = {"row": (5, 7), "slot": (5, SLOTS, 7)}
    assert {k: tuple(v.shape) for k, v in output.readings.items()} == {r.name: shapes[r.per] for r in cell.readings}
    per = {reading.name: reading.per for reading in cell.readings}
    assert {k: tuple(v.shape) for k, v in output.verdicts.items()} == {k.name: shapes[per[k.value]] for k in cell.kinds}
    own = {threshold.name for threshold in cell.thresholds}
    assert all(kind.threshold is None or kind.threshold in own for kind in cell.kinds), (
        "a kind's threshold is not declared"
    )
    assert output.state.keys() == fresh(cell, block).keys()


def check_kinds_can_be_told(cell: Cell) -> None:
    """Text and advice exist for every state, whatever is known."""
    thresholds = {name: t.default for name, t in THRESHOLDS.items()} | {t.name: t.default for t in cell.thresholds}
    for kind in cell.kinds:
        assert kind.confirm >= 1
        assert kind.release >= 1
        for known in (float("nan"), float("inf"), 0.5):
            for weights in ({}, {"entropy": 1.0, "diversity": 0.1}):
                for subject in (None, "entropy"):
                    for state in ("pending", "firing", "resolved"):
                        readings = dict.fromkeys((kind.value, *kind.evidence), known)
                        facts = Facts(
                            "test", subject, state, 3, 9, readings, thresholds, weights, "train total", {2: "a.pt"}
                        )
                        text = kind.describe(facts)
                        assert "test" in text, f"{kind.name} does not name the phase"
                        assert "\n" not in text
                        assert text.endswith("."), f"{kind.name} is not told in sentences"
                        advice = kind.advise(facts)
                        if state == "resolved":
                            assert advice is None, f"{kind.name} gives advice when it is over"
                        elif advice is not None and advice.action == "set_weight":
                            assert advice.component in weights
                            assert advice.value is not None


CHECKS: Final[tuple[Check, ...]] = (
    check_batched_equals_one_by_one,
    check_any_split_gives_the_same,
    check_padding_is_irrelevant,
    check_snapshot_continues,
    check_inputs_are_not_mutated,
    check_any_float_is_survived,
    check_warm_up_is_unknown,
    check_missing_input_is_unknown,
    check_memory_is_bounded,
    check_float32_agrees,
    check_dtypes_follow_the_state,
    check_device_follows_the_state,
    check_everything_declared_is_returned,
    check_kinds_can_be_told,
)


def name_of(check: Check) -> str:
    """``check_any_split_gives_the_same`` to ``any_split_gives_the_same``."""
    return check.__name__.removeprefix("check_")


def _copied(tensors: Mapping[str, Tensor]) -> State:
    return {name: value.clone() for name, value in tensors.items()}


def _through_bytes(state: State) -> State:
    """As a snapshot does it."""
    return {
        name: torch.frombuffer(bytearray(value.numpy().tobytes()), dtype=value.dtype).view(value.shape)
        if value.numel()
        else value
        for name, value in state.items()
    }


def _verdicts_are_legal(output: Output) -> None:
    for name, verdict in output.verdicts.items():
        legal = (verdict == BAD) | (verdict == GOOD) | (verdict == UNKNOWN)
        assert legal.all(), f"{name} gives verdicts other than -1, 0 and 1"


def _garbage(cell: Cell, seed: int, like: Tensor) -> Block:
    """A block of the cell's stream in which any value may be any float, and any step any number."""
    generator = torch.Generator().manual_seed(seed)
    block = make(cell.stream, seed=seed, ragged=True, like=like)
    most = torch.finfo(like.dtype).max
    pool = torch.tensor(GARBAGE, dtype=torch.float64)
    pool = torch.where(pool.isfinite(), pool.clamp(-most, most), pool).to(like.dtype)

    def spoil(x: Tensor) -> Tensor:
        junk = pool[torch.randint(len(pool), x.shape, generator=generator)]
        return torch.where(torch.rand(x.shape, generator=generator) < 0.5, junk, x)

    steps = torch.tensor(STEPS)[torch.randint(len(STEPS), block.step.shape, generator=generator)]
    values = {name: spoil(value) for name, value in block.values.items()}
    numbers = {"scale", "regularizer", "declared"}  # any float may be declared; the other facts are places in lists
    facts = {name: spoil(value) if name in numbers else value for name, value in block.facts.items()}
    return replace(block, step=steps, values=values, facts=facts)


def _conditional(cell: Cell) -> set[str]:
    """Readings that exist only while a verdict says so: they cannot be lost."""
    return {"class_entropy_steps_to_floor"} & {reading.name for reading in cell.readings}
