"""Whether two phases of a run make their totals by different formulas. Letters: R rows (pairs of phases), T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.aggregation.formulas import FORMULAS, words_of
from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.streams import Stream

FACTOR: Final = Threshold(
    "aggregation_factor", 0.05, "Relative difference of two phases' constant factors that counts as another formula."
)

FITTED: Final = 1024 | 2048
WEIGHING: Final = 2 ** len(FORMULAS) - 1 - 1 - 2


def _describe(facts: Facts) -> str:
    now = facts.readings
    if facts.state == "resolved":
        return f"The {facts.phase} total is made as the training total again, from step {facts.step} on."
    judged, reference = now["formula_judged"], now["formula_reference"]
    if now["formula_unlike"] and _sets(judged) & _sets(reference):
        text = (
            f"The {facts.phase} total and the training total are both {words_of(judged)}, but are declared with other "
            "weights, factors or regularizers"
        )
    elif _sets(judged) & _sets(reference):
        text = (
            f"The {facts.phase} total is {now['formula_judged_scale']:.4g} times {words_of(judged)}, "
            f"the training total {now['formula_reference_scale']:.4g} times"
        )
    else:
        text = f"The {facts.phase} total is {words_of(judged)}, the training total is {words_of(reference)}"
    return (
        f"{text}, seen at step {facts.began}: do not compare the two. Compare losswatch_total_simple, the mean of the "
        "components, or losswatch_total_weighted, by the training formula, which are made alike in all phases."
    )


def _sets(code: float) -> int:
    return int(code) if 0 < code < 2 ** len(FORMULAS) else 0


MISMATCH: Final = Kind(
    "aggregation_mismatch",
    "warning",
    value="formula_judged",
    threshold=None,
    confirm=1,
    release=2,
    describe=_describe,
    evidence=(
        "formula_judged", "formula_reference", "formula_judged_scale", "formula_reference_scale", "formula_unlike",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Bad where no formula explains both totals, or where the same one does with another constant factor, or is
    declared with other numbers in it.

    A code stands for all formulas that explain a total equally well, so that what is ambiguous contradicts nothing.
    Where one of two totals has fitted weights, they may be the weights of the other: unknown. No state: `audit.Audit`
    has confirmed what it calls a formula.
    """

    name: str = "mismatch"
    stream: Stream = "formulas"
    thresholds: tuple[Threshold, ...] = (FACTOR,)
    kinds: tuple[Kind, ...] = (MISMATCH,)
    readings: tuple[Reading, ...] = (
        Reading("formula_judged", "Code of the formula of this phase's total.", exported=False),
        Reading("formula_reference", "Code of the formula of the training total.", exported=False),
        Reading("formula_judged_scale", "Constant factor of this phase's total.", exported=False),
        Reading("formula_reference_scale", "Constant factor of the training total.", exported=False),
        Reading("formula_unlike", "1 where both declare the same form with other numbers, else 0.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Nothing to remember."""
        del rows, slots, like
        return {}

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        judged, reference = block.values["judged"], block.values["reference"]
        scale, reference_scale = block.values["judged_scale"], block.values["reference_scale"]
        one, other = _codes(judged), _codes(reference)
        known = (one > 0) & (other > 0) & block.reported["judged"] & block.mask
        apart = (scale - reference_scale).abs()
        factor = apart > thresholds[FACTOR.name][:, None] * torch.maximum(scale.abs(), reference_scale.abs())
        common = (one & other) > 0
        unlike = block.facts["unlike"][:, None].expand_as(judged)
        wrong = ~common | factor | (unlike > 0)
        known &= torch.where(common, apart.isfinite(), (_widened(one) & _widened(other)) == 0)
        verdict = verdict_of(known, wrong)
        readings = {
            "formula_judged": judged,
            "formula_reference": reference,
            "formula_judged_scale": scale,
            "formula_reference_scale": reference_scale,
            "formula_unlike": unlike,
        }
        return Output(dict(state), readings, {MISMATCH.name: verdict})


def _codes(code: Tensor) -> Tensor:
    """Whole numbers from 0; 0 where a formula is not known."""
    most = 2 ** len(FORMULAS)
    legal = (code > 0) & (code < most)
    return torch.where(legal, code, 0.0).long()


def _widened(code: Tensor) -> Tensor:
    """Fitted weights may be those of any formula that has weights: all but the sum and the mean."""
    return code | torch.where((code & FITTED) > 0, WEIGHING, 0)
