"""Validation against training: overfitting, and a validation that says little. Letters: R rows (pairs), T steps.

Case E of the requirements: training accuracy 100 % by epoch 2 and a training loss of 0.0331, while the validation
loss of 1.780 rose and its accuracy stood at 46.4 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from detectors.cell import Block, Output, State, joined, part_of, verdict_of
from detectors.evaluation.halves import Halves
from detectors.evaluation.since_best import Comparison, SinceBest
from detectors.kinds import Facts, Kind, Reading, Threshold
from detectors.streams import Stream

RISE = Threshold("overfitting_rise", 0.10, "Rise of a validation series above its best, relative, that is overfitting.")
FALL = Threshold("overfitting_train_fall", 0.05, "Fall of the training series meanwhile, relative, that is learning.")
SLOW_RISE = Threshold("overfitting_slow_rise", 0.04, "As overfitting_rise, where training learned a lot meanwhile.")
SLOW_FALL = Threshold("overfitting_slow_train_fall", 0.20, "Fall of the training series, relative, that is a lot.")
GAP = Threshold("overfitting_gap", 0.30, "Validation behind training, of a metric from 0 to 1, that is overfitting.")
PERFECT = Threshold("overfitting_perfect", 0.98, "A training metric from 0 to 1 at which there is no more to learn.")
BY_HEART = Threshold(
    "overfitting_by_heart", 3.0, "Validation loss over training loss that is overfitting, if it has doubled."
)
ERRATIC = Threshold("erratic_validation_noise", 0.35, "Noise of a validation loss, relative to it, that hides it.")
GROWN = Threshold(
    "erratic_validation_growth", 3.0, "Times the relative noise of before from which half of that noise is enough."
)

LEARNS: Final = 0.01
"""Fall of training, relative, that is worth telling."""
HALF: Final = 0.5
"""What training has to be left with of the loss it had, to have learned more than a little."""
FOLLOWS: Final = 0.25
"""Of the fall of training, in logarithms, the part that validation may have fallen, and gained nothing by it."""
SETTLED: Final = 32
"""Validations from which those of before are enough to know how much they jumped."""
HALVED: Final = ("judged", "training", "error", "noise")
"""What is remembered of the first half."""


def _describe_overfitting(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is close to its best again, or training no longer leaves it behind."
    since = f"it was best at step {now['validation_best_step']:.0f}"
    saved = facts.checkpoint(now["validation_best_step"])
    best = f"{since} (checkpoint {saved})" if saved else since
    fall = now["training_fall_ratio"]
    course = f"went on improving by {fall:.0%}" if fall > LEARNS else "did not get worse with it"
    return (
        f"{name} ({facts.phase}) is {now['validation_rise_ratio']:.0%} worse than at its best, while {facts.reference} "
        f"{course}, seen since step {facts.began}; {best}. Stop there, regularise, or train on more data."
    )


def _describe_erratic(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) no longer jumps from one validation to the next."
    noise, before = now["validation_noise_ratio"], now["validation_noise_before_ratio"]
    as_before = "" if noise > facts.thresholds[ERRATIC.name] else f", {noise / before:.1f} times as much as before"
    return (
        f"{name} ({facts.phase}) jumps by {noise:.0%} of itself from one validation to the next{as_before}, since step "
        f"{facts.began}: no checkpoint can be chosen by it. Validate on more samples, or lower the "
        "learning rate."
    )


OVERFITTING = Kind(
    "overfitting",
    "warning",
    value="validation_rise_ratio",
    threshold=RISE.name,
    confirm=3,
    release=3,
    describe=_describe_overfitting,
    evidence=("validation_rise_ratio", "training_fall_ratio", "generalization_gap", "validation_best_step"),
)
ERRATIC_VALIDATION = Kind(
    "erratic_validation",
    "info",
    value="validation_noise_ratio",
    threshold=ERRATIC.name,
    confirm=4,
    release=8,
    describe=_describe_erratic,
    evidence=("validation_noise_ratio", "validation_noise_before_ratio"),
)


@dataclass(frozen=True, slots=True)
class Overfitting:
    """A series of another phase against the same of the training phase.

    *Overfitting* is bad where the series is above its best (see `SinceBest`) while the training one went on falling:
    clearly, or a little while training learned a lot; where its longer mean rose, and training's did not; where
    training halved a loss (one that cannot be below zero: a ratio says nothing of others) that is far below that of
    validation, which gained nothing by it; or, of a metric from 0 to
    1, where training is perfect and validation far behind. *Erratic* is bad where a loss jumps by a large part of
    itself from one validation to the next, or by half of that and far more than it did. Unknown until ``warm_up``
    validations, and at steps without one.
    """

    compare: SinceBest = field(default_factory=lambda: SinceBest(sigmas=2.0))
    halves: Halves = field(default_factory=Halves)
    at_points: bool = True
    warm_up: int = 5
    name: str = "overfitting"
    stream: Stream = "generalization"
    thresholds: tuple[Threshold, ...] = (RISE, FALL, SLOW_RISE, SLOW_FALL, GAP, PERFECT, BY_HEART, ERRATIC, GROWN)
    kinds: tuple[Kind, ...] = (OVERFITTING, ERRATIC_VALIDATION)
    readings: tuple[Reading, ...] = (
        Reading("validation_rise_ratio", "A series of another phase above its best, relative."),
        Reading("training_fall_ratio", "Improvement of the training series since then, relative.", exported=False),
        Reading("generalization_gap", "A series of another phase minus the same in training; above 0 is worse."),
        Reading("validation_best_step", "Step at which a series of another phase was best.", exported=False),
        Reading("validation_noise_ratio", "Noise of a series of another phase from value to value, relative to it."),
        Reading("validation_noise_before_ratio", "The same at half of the validations or before.", exported=False),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Every tensor (R)."""
        del slots
        return self.compare.init(rows, like) | joined(half=self.halves.init(rows, len(HALVED), like))

    def rewind(self, now: State, then: State, step: int) -> State:
        """See `detectors.cell.Rewinding`."""
        return self.compare.rewind(now, then, step)

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        sign = -block.facts["direction"]
        after, now = self.compare.update(state, block, sign, sign)
        known, compared = now.known(self.warm_up)
        level = now.level
        gap = level.now - level.reference
        behind = self._behind(sign, level.now, level.reference, thresholds)
        parted = now.parted(*(thresholds[each.name] for each in (RISE, FALL, SLOW_RISE, SLOW_FALL)))
        noise = now.noise / torch.maximum(level.now.abs(), now.noise)
        halves, then, first = self._halves(state, now, noise)
        by_heart = self._by_heart(sign, now, then, first, thresholds[BY_HEART.name])
        bad = parted | behind | (by_heart & (block.facts["floor"] > 0)[:, None])
        much = thresholds[ERRATIC.name][:, None]
        grown = (noise > thresholds[GROWN.name][:, None] * then[:, -1]) & (now.count >= SETTLED)
        jumps = (noise > much) | (grown & (noise > HALF * much))
        loss = known & (sign > 0)[:, None]
        readings = {
            "validation_rise_ratio": now.rise_ratio(),
            "training_fall_ratio": now.fall_ratio(),
            "generalization_gap": gap,
            "validation_best_step": now.best_step,
            "validation_noise_ratio": noise,
            "validation_noise_before_ratio": then[:, -1],
        }
        readings = {name: torch.where(known, value, torch.nan) for name, value in readings.items()}
        return Output(
            after | halves,
            readings,
            {"overfitting": verdict_of(compared, bad), "erratic_validation": verdict_of(loss, jumps)},
        )

    def _halves(self, state: State, now: Comparison, noise: Tensor) -> tuple[State, Tensor, Tensor]:
        """The state, and what `HALVED` was: when there were half of the validations or less, and at the first."""
        judged, training = now.level.now, now.level.reference
        values = torch.stack([judged, training, now.level.reference_error, noise], 1)
        there = judged.isfinite() & training.isfinite()
        after, then, first = self.halves.update(part_of(state, "half"), values, there)
        return joined(half=after), then, first

    def _by_heart(self, sign: Tensor, now: Comparison, then: Tensor, first: Tensor, least: Tensor) -> Tensor:
        """Whether training halved a loss in the later half of the run, and more, and validation gained nothing."""
        judged, training = now.level.now, now.level.reference
        judged_then, training_then, error_then, _ = then.unbind(1)
        fall = training_then - training
        learned = (training < HALF * training_then) & (fall > 2 * torch.maximum(error_then, now.level.reference_error))
        gap, first_gap = judged / training, first[:, 0] / first[:, 1]
        apart = (gap > least[:, None]) & (gap * HALF > first_gap[:, None])
        losses = (sign > 0)[:, None] & (training > 0) & (judged > 0) & (first[:, :2] > 0).all(1)[:, None]
        return losses & learned & apart & (judged > judged_then * (training / training_then) ** FOLLOWS)

    def _behind(self, sign: Tensor, judged: Tensor, reference: Tensor, thresholds: Mapping[str, Tensor]) -> Tensor:
        """Whether a metric from 0 to 1 is perfect in training and far from it in validation."""
        metric = (sign < 0)[:, None] & (reference >= -1) & (judged <= 0) & (judged >= -1)
        perfect = -reference >= thresholds[PERFECT.name][:, None]
        return metric & perfect & (judged - reference > thresholds[GAP.name][:, None])
