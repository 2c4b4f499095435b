"""Whether a reported total is what its components make, and by which formula. Letters as in `hypotheses`; T steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from detectors.aggregation import candidates, hypotheses, identify
from detectors.aggregation.candidates import DECLARED, HALF, MEAN, TRAINED, Predicted
from detectors.aggregation.formulas import words_of
from detectors.aggregation.hypotheses import EXACT
from detectors.aggregation.parameters import estimated, fresh_parameters
from detectors.aggregation.reports import Told, fresh_digits, read
from detectors.aggregation.segments import LOOK, Segments, spread
from detectors.cell import Block, Output, State, verdict_of
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.recurrence import held, last
from detectors.streams import MEASURED, Stream

RESIDUAL: Final = Threshold(
    "total_residual", 1e-3, "Difference of a total from its formula, beyond rounding, of the size of its terms."
)
ALLOWED: Final = {"step": 0.0, "mean_since_last": 0.02, "running_mean": 0.02, "epoch_mean": 0.02, "median": 0.25}
"""What is added to the threshold, by what the numbers are: means of products are not products of means, and the median
of a sum is not the sum of medians (20 iterations of a detector: usually 0.5 to 5 % off, 18 % at most)."""
WARM_UP: Final = 4
"""Steps."""


def _describe(facts: Facts) -> str:
    now = facts.readings
    expected = words_of(now["total_expected_form"])
    if facts.state == "resolved":
        return f"The {facts.phase} total is {expected} again, from step {facts.step} on."
    text = (
        f"The {facts.phase} total is {abs(now['total_residual_ratio']):.3%} off {expected}, by which it is declared or "
        f"was made before, since step {facts.began}"
    )
    if now["total_lag_steps"] in (-1, 1):
        text += "; it fits the components of the step " + ("before" if now["total_lag_steps"] == 1 else "after")
    elif now["total_form"] > 0 and now["total_form"] != now["total_expected_form"]:
        text += f"; what it fits is {words_of(now['total_form'])}"
    elif abs(now["total_scale"] - 1) > 0:  # False of NaN
        text += f"; what it fits is {now['total_scale']:.4g} times that: say so with divided_by or scale"
    elif abs(now["total_remainder_ratio"]) > 0:
        text += f"; {now['total_remainder_ratio']:.1%} of it is constant, as a term that is not logged would be"
    return text + ". Compare losswatch_total_simple or losswatch_total_weighted until the report is corrected."


INCONSISTENT: Final = Kind(
    "total_inconsistent",
    "warning",
    value="total_residual_ratio",
    threshold=RESIDUAL.name,
    confirm=5,
    release=20,
    describe=_describe,
    evidence=(
        "total_residual_ratio", "total_expected_form", "total_form", "total_scale", "total_remainder_ratio",
        "total_lag_steps", "total_simple", "total_weighted",
    ),
)  # fmt: skip

NONE: Final = -1
READINGS: Final = (
    Reading("total_simple", "Mean of the components: the same in all phases, however each makes its total."),
    Reading("total_weighted", "What the training phase's declared formula makes of this phase's components."),
    Reading("total_residual_ratio", "Reported total minus its formula, of the size of the terms; 0 within rounding."),
    Reading(
        "total_form",
        "Code of the formula that explains the totals; the sum of the codes if several do.",
        feeds="formulas",
    ),
    Reading("total_scale", "Constant factor of the total over its formula.", feeds="formulas"),
    Reading("total_remainder_ratio", "Constant part of the total that no component explains, of the total."),
    Reading("total_form_count", "How many formulas explain the totals equally well: above 1 is ambiguous."),
    Reading("total_lag_steps", "1 if totals fit the components of the step before, -1 of the step after, else 0."),
    Reading("total_expected_form", "Code of the formula that totals are measured against.", exported=False),
    Reading("component_weight_fitted", "Weight of a component that explains the totals, where it was fitted.", "slot"),
    Reading("component_weight_fitted_error", "Standard error of that weight.", "slot"),
)


@dataclass(frozen=True, slots=True)
class Audit:
    """Residual of every total against its formula, and which formula it is.

    A step at which not all components are reported may support a formula and contradicts none. Factors, constants and
    weights are fitted to the steps before a segment and tried on those of the segment. All of it goes by the row's own
    count of steps.
    """

    name: str = "audit"
    stream: Stream = "objective"
    thresholds: tuple[Threshold, ...] = (RESIDUAL,)
    kinds: tuple[Kind, ...] = (INCONSISTENT,)
    readings: tuple[Reading, ...] = READINGS

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Some 2 kB a row of 8 slots in double precision."""
        return {
            "count": torch.zeros(rows, dtype=torch.int64, device=like.device),
            "before": like.new_full((rows, 3), torch.nan),
            "expected": torch.full((rows,), NONE, dtype=torch.int64, device=like.device),
            "expected_components": like.new_zeros(rows),
            **fresh_digits(rows, slots, like),
            **fresh_parameters(rows, slots, like),
            **hypotheses.fresh_evidence(rows, like),
        }

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        facts, count = block.facts, block.mask.sum(-1)
        state = _renewed(state, state["expected_components"] == facts["components"])
        segments = Segments.of(state["count"], block.mask)
        digits, told, parts = read(state, block, segments)
        parts = candidates.as_clamped(parts, told.total, facts)
        weighted = candidates.with_weights(parts)
        bases = candidates.bases(parts, weighted, facts)
        parameters, fitted = estimated(state, segments, told, parts, bases)
        main = _main(bases, facts)
        hit, miss = identify.tried(told, parts, bases, fitted, main, state["before"], facts, segments)
        evidence, holds, sure = hypotheses.weigh(state, hit, miss, segments)
        found = identify.identified(told, bases, fitted, facts, holds, hit, segments)
        explained = hypotheses.any_fits(hit, holds)
        judge = _judge(state, holds & sure, segments)
        expected, form = _expected(judge, bases, facts)
        ratio, verdict = _verdict(told, expected, explained & (facts["form"] == 0)[:, None], segments, thresholds)
        readings = {
            **_totals(weighted, told, bases, facts),
            **found,
            "total_residual_ratio": ratio,
            "total_expected_form": form.masked_fill(ratio.isnan(), torch.nan),
        }
        ended = torch.stack([told.total, main.value, main.slack], 1)
        end = {
            **digits,
            **parameters,
            **evidence,
            "count": state["count"] + count,
            "before": last(segments.give(ended), count, state["before"]),
            "expected": last(segments.give(spread(judge, LOOK)), count, state["expected"]),
            "expected_components": torch.where(count > 0, facts["components"], state["expected_components"]),
        }
        return Output(
            {name: end[name] for name in state},
            {name: segments.give(value) for name, value in readings.items()},
            {INCONSISTENT.name: segments.give(verdict)},
        )


def _renewed(state: State, same: Tensor) -> State:
    """Without the evidence of rows that got more components: what is newly logged need not be part of the total."""
    none = torch.where(same, state["expected"], NONE)
    evidence = {name: state[name] * same[:, None] for name in hypotheses.EVIDENCE}
    return state | {"expected": none} | evidence


def _main(bases: Predicted, facts: Mapping[str, Tensor]) -> Predicted:
    """The declared formula, or the sum: (R, C)."""
    told = (facts["form"] > 0)[:, None]
    value, size, slack = (
        torch.where(told, x[:, DECLARED], x[:, candidates.SUM]) for x in (bases.value, bases.size, bases.slack)
    )
    return Predicted(value, size, slack)


def _judge(state: State, sure: Tensor, segments: Segments) -> Tensor:
    """(R, N) int64: which of `candidates.BASES` is beyond doubt or was the last to be; `NONE` until then."""
    known = sure[:, EXACT].clone()
    known[:, DECLARED] = False
    known[:, hypotheses.VARIANTS] = False  # a regularizer that nobody declared grows as the log variances do
    first = hypotheses.first_of(known)
    valid = (first < known.shape[1]) & segments.starts(LOOK)
    return held(first, valid, state["expected"])


def _expected(judge: Tensor, bases: Predicted, facts: Mapping[str, Tensor]) -> tuple[Predicted, Tensor]:
    """What totals are measured against, and its code (R, C)."""
    base = torch.where((facts["form"] > 0)[:, None], DECLARED, judge)
    index = spread(base.clamp(min=0), LOOK)[:, None]
    value, size, slack = (x.gather(1, index)[:, 0] for x in (bases.value, bases.size, bases.slack))
    codes = hypotheses.codes_of(facts)
    form = codes.gather(1, base.clamp(min=0)).to(value.dtype)
    return Predicted(value.masked_fill(spread(base, LOOK) < 0, torch.nan), size, slack), spread(form, LOOK)


def _verdict(
    told: Told, expected: Predicted, explained: Tensor, segments: Segments, thresholds: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    residual = told.total - expected.value
    size = torch.where(expected.size > 0, expected.size, told.total.abs())
    beyond = residual.abs() - expected.slack
    ratio = torch.where(beyond > 0, residual / size, 0.0)
    allowed = told.total.new_tensor([ALLOWED.get(name, 0.0) for name in MEASURED])[told.measured]
    wrong = (beyond > (thresholds[RESIDUAL.name][:, None] + allowed) * size) & ~explained
    known = told.judged & residual.isfinite() & expected.slack.isfinite() & (told.whole | ~wrong)
    judged = known & (segments.number >= WARM_UP)
    verdict = verdict_of(judged, wrong)
    return ratio.masked_fill(~known, torch.nan), verdict


def _totals(weighted: Predicted, told: Told, bases: Predicted, facts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    plain = torch.where(told.logs, bases.value[:, HALF], weighted.value)
    own = torch.where((facts["form"] > 0)[:, None], bases.value[:, DECLARED], plain)
    trained = torch.where((facts["train_form"] > 0)[:, None], bases.value[:, TRAINED], own)
    return {
        "total_simple": bases.value[:, MEAN].masked_fill(~told.whole, torch.nan),
        "total_weighted": trained.masked_fill(~told.whole, torch.nan),
    }
