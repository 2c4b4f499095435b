"""Each conformance check accepts an honest detector and rejects one that breaks its rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from detectors.catalog import CELLS
from detectors.cell import BAD, GOOD, UNKNOWN, Block, Cell, Output, State
from detectors.kinds import Advice, Facts, Kind, Reading, Threshold
from detectors.streams import Stream
from tests.detectors import conformance
from tests.detectors.blocks import fresh, make, run
from tests.detectors.conformance import CHECKS, Check, name_of

LIMIT = Threshold("limit", 2.0, "Mean above which it is bad.")


def _describe(facts: Facts) -> str:
    return f"The mean ({facts.phase}) is high."


HIGH = Kind("high", "info", "mean", LIMIT.name, 2, 2, _describe)


@dataclass(frozen=True)
class Mean:
    """Honest: the running mean of the finite values of a series, known from the fourth step."""

    name: str = "mean"
    stream: Stream = "series"
    thresholds: tuple[Threshold, ...] = (LIMIT,)
    readings: tuple[Reading, ...] = (Reading("mean", "Running mean."),)
    kinds: tuple[Kind, ...] = (HIGH,)

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        del slots
        return {"sum": like.new_zeros(rows), "seen": like.new_zeros(rows)}

    def valid(self, block: Block) -> Tensor:
        return block.mask & block.values["value"].isfinite()

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        valid = self.valid(block)
        most = math.sqrt(torch.finfo(block.values["value"].dtype).max)
        value = torch.where(valid, block.values["value"].clamp(-most, most), 0.0)
        total = state["sum"][:, None] + value.cumsum(1)
        seen = state["seen"][:, None] + valid.to(total.dtype).cumsum(1)
        mean = total / seen
        verdict = torch.where(mean > thresholds[LIMIT.name][:, None], BAD, GOOD)
        verdict = torch.where(block.mask & (seen > 3), verdict, UNKNOWN).to(torch.int8)
        return Output({"sum": total[:, -1], "seen": seen[:, -1]}, {"mean": mean}, {"high": verdict})


class SeesOtherRows(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, readings={"mean": out.readings["mean"] - out.readings["mean"].nanmean()})


class ForgetsBetweenBlocks(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        return super().update({name: torch.zeros_like(value) for name, value in state.items()}, block, thresholds)


class ReadsThePadding(Mean):
    def valid(self, block: Block) -> Tensor:
        return block.values["value"].isfinite()


class JudgesThePadding(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, verdicts={"high": torch.where(block.mask, out.verdicts["high"], GOOD).to(torch.int8)})


class KeepsStateElsewhere(Mean):
    """Counts its updates in itself, where no snapshot finds it."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "updates", 0)

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        object.__setattr__(self, "updates", vars(self)["updates"] + 1)
        out = super().update(state, block, thresholds)
        return replace(out, readings={"mean": out.readings["mean"] + vars(self)["updates"]})


class ChangesTheState(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        state["sum"].copy_(out.state["sum"])
        return out


class ChangesTheBlock(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        block.values["value"].nan_to_num_(0.0)
        return super().update(state, block, thresholds)


class IsPoisonedByNan(Mean):
    def valid(self, block: Block) -> Tensor:
        return block.mask

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        known = out.readings["mean"].isfinite()
        return replace(out, verdicts={"high": torch.where(known, out.verdicts["high"], UNKNOWN).to(torch.int8)})


class RaisesOnNan(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        assert not block.values["value"].isnan().any(), "a value is NaN"
        return super().update(state, block, thresholds)


class GivesOtherVerdicts(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, verdicts={"high": out.verdicts["high"] * 3})


class NeedsNoWarmUp(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, verdicts={"high": out.verdicts["high"].clamp(min=GOOD)})


class NeverKnows(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, verdicts={"high": torch.full_like(out.verdicts["high"], UNKNOWN)})


@dataclass(frozen=True)
class TakesMissingForHealthy(Mean):
    stream: Stream = "predictions"

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        return super().update(state, replace(block, values={"value": block.values["class_entropy"]}), thresholds)


class RemembersEverything(Mean):
    def init(self, rows: int, slots: int, like: Tensor) -> State:
        return super().init(rows, slots, like) | {"past": like.new_zeros(rows, 0)}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, state=out.state | {"past": torch.cat([state["past"], block.values["value"]], 1)})


class SharesOneState(Mean):
    def init(self, rows: int, slots: int, like: Tensor) -> State:
        del rows
        return super().init(1, slots, like)


class CancelsDigits(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, readings={"mean": (out.readings["mean"] + 1e5) - 1e5})


class IsAlwaysDouble(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, readings={"mean": out.readings["mean"].double()})


class StaysOnTheCpu(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        out = super().update(state, block, thresholds)
        return replace(out, readings={"mean": out.readings["mean"] * torch.ones(block.mask.shape)})


class LooksAtValues(Mean):
    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        if bool(block.mask.all()):
            return super().update(state, block, thresholds)
        return super().update(state, block, thresholds)


@dataclass(frozen=True)
class DeclaresMore(Mean):
    readings: tuple[Reading, ...] = (Reading("mean", "Running mean."), Reading("variance", "Not there."))


@dataclass(frozen=True)
class HasTheWrongShape(Mean):
    readings: tuple[Reading, ...] = (Reading("mean", "Running mean.", "slot"),)


@dataclass(frozen=True)
class SaysNothing(Mean):
    kinds: tuple[Kind, ...] = (replace(HIGH, describe=lambda facts: f"{facts.readings['mean']}"),)


@dataclass(frozen=True)
class CannotTellNan(Mean):
    kinds: tuple[Kind, ...] = (replace(HIGH, describe=lambda facts: f"test: {int(facts.readings['mean'])}."),)


@dataclass(frozen=True)
class AdvisesWhenItIsOver(Mean):
    kinds: tuple[Kind, ...] = (replace(HIGH, advise=lambda facts: Advice("stop")),)


REJECTED: tuple[tuple[Check, Cell], ...] = (
    (conformance.check_batched_equals_one_by_one, SeesOtherRows()),
    (conformance.check_any_split_gives_the_same, ForgetsBetweenBlocks()),
    (conformance.check_padding_is_irrelevant, ReadsThePadding()),
    (conformance.check_padding_is_irrelevant, JudgesThePadding()),
    (conformance.check_snapshot_continues, KeepsStateElsewhere()),
    (conformance.check_inputs_are_not_mutated, ChangesTheState()),
    (conformance.check_inputs_are_not_mutated, ChangesTheBlock()),
    (conformance.check_any_float_is_survived, IsPoisonedByNan()),
    (conformance.check_any_float_is_survived, RaisesOnNan()),
    (conformance.check_any_float_is_survived, GivesOtherVerdicts()),
    (conformance.check_warm_up_is_unknown, NeedsNoWarmUp()),
    (conformance.check_warm_up_is_unknown, NeverKnows()),
    (conformance.check_missing_input_is_unknown, TakesMissingForHealthy()),
    (conformance.check_memory_is_bounded, RemembersEverything()),
    (conformance.check_memory_is_bounded, SharesOneState()),
    (conformance.check_float32_agrees, CancelsDigits()),
    (conformance.check_dtypes_follow_the_state, IsAlwaysDouble()),
    (conformance.check_device_follows_the_state, StaysOnTheCpu()),
    (conformance.check_device_follows_the_state, LooksAtValues()),
    (conformance.check_everything_declared_is_returned, DeclaresMore()),
    (conformance.check_everything_declared_is_returned, HasTheWrongShape()),
    (conformance.check_kinds_can_be_told, SaysNothing()),
    (conformance.check_kinds_can_be_told, CannotTellNan()),
    (conformance.check_kinds_can_be_told, AdvisesWhenItIsOver()),
)


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_an_honest_detector_passes(check: Check) -> None:
    check(Mean())


@pytest.mark.parametrize(
    ("check", "cell"), REJECTED, ids=lambda x: type(x).__name__ if isinstance(x, Mean) else name_of(x)
)
def test_a_broken_detector_is_rejected(check: Check, cell: Cell) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check(cell)


def test_every_check_is_itself_tested() -> None:
    assert {check for check, _ in REJECTED} == set(CHECKS)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.kinds], ids=lambda cell: str(cell.name))
def test_the_made_up_blocks_show_every_verdict(cell: Cell) -> None:
    seen: dict[str, set[int]] = {}
    for seed in range(5):
        block = make(cell.stream, seed=seed, steps=150, spoiled=0.03)
        for name, verdict in run(cell, fresh(cell, block), [block]).verdicts.items():
            seen.setdefault(name, set()).update(verdict.flatten().tolist())
    assert all({BAD, GOOD} <= verdicts for verdicts in seen.values()), seen
