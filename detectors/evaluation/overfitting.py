"""Validation against training: overfitting, and a validation that says little. Letters: R rows (pairs), T steps.

Case E of the requirements: training accuracy 100 % by epoch 2 and a training loss of 0.0331, while the validation
loss of 1.780 rose and its accuracy stood at 46.4 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from detectors.cell import Block, Facts, Kind, Output, Reading, State, Stream, Threshold, verdict_of
from detectors.evaluation.since_best import SinceBest

RISE = Threshold("overfitting_rise", 0.10, "Rise of a validation series above its best, relative, that is overfitting.")
FALL = Threshold("overfitting_train_fall", 0.05, "Fall of the training series meanwhile, relative, that is learning.")
SLOW_RISE = Threshold("overfitting_slow_rise", 0.04, "As overfitting_rise, where training learned a lot meanwhile.")
SLOW_FALL = Threshold("overfitting_slow_train_fall", 0.20, "Fall of the training series, relative, that is a lot.")
GAP = Threshold("overfitting_gap", 0.30, "Validation behind training, of a metric from 0 to 1, that is overfitting.")
PERFECT = Threshold("overfitting_perfect", 0.98, "A training metric from 0 to 1 at which there is no more to learn.")
ERRATIC = Threshold("erratic_validation_noise", 0.35, "Noise of a validation loss, relative to it, that hides it.")


def _describe_overfitting(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) is close to its best again, or training no longer leaves it behind."
    since = f"it was best at step {now['validation_best_step']:.0f}"
    saved = facts.checkpoint(now["validation_best_step"])
    best = f"{since} (checkpoint {saved})" if saved else since
    return (
        f"{name} ({facts.phase}) is {now['validation_rise_ratio']:.0%} worse than at its best, while {facts.reference} "
        f"went on improving by {now['training_fall_ratio']:.0%}, seen since step {facts.began}; {best}. Stop there, "
        "regularise, or train on more data."
    )


def _describe_erratic(facts: Facts) -> str:
    name, now = facts.subject, facts.readings
    if facts.state == "resolved":
        return f"{name} ({facts.phase}) no longer jumps from one validation to the next."
    return (
        f"{name} ({facts.phase}) jumps by {now['validation_noise_ratio']:.0%} of itself from one validation to the "
        f"next, since step {facts.began}: no checkpoint can be chosen by it. Validate on more samples, or lower the "
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
)


@dataclass(frozen=True, slots=True)
class Overfitting:
    """A series of another phase against the same of the training phase.

    *Overfitting* is bad where the series is above its best (see `SinceBest`) while the training one went on falling:
    clearly, or a little while training learned a lot; or, of a metric from 0 to 1, where training is perfect and
    validation far behind. *Erratic* is bad where a loss jumps by a large part of itself from one validation to the
    next. Unknown until ``warm_up`` validations, and at steps without one.
    """

    compare: SinceBest = field(default_factory=lambda: SinceBest(sigmas=2.0))
    warm_up: int = 5
    name: str = "overfitting"
    stream: Stream = "generalization"
    thresholds: tuple[Threshold, ...] = (RISE, FALL, SLOW_RISE, SLOW_FALL, GAP, PERFECT, ERRATIC)
    kinds: tuple[Kind, ...] = (OVERFITTING, ERRATIC_VALIDATION)
    readings: tuple[Reading, ...] = (
        Reading("validation_rise_ratio", "A series of another phase above its best, relative."),
        Reading("training_fall_ratio", "Improvement of the training series since then, relative.", exported=False),
        Reading("generalization_gap", "A series of another phase minus the same in training; above 0 is worse."),
        Reading("validation_best_step", "Step at which a series of another phase was best.", exported=False),
        Reading("validation_noise_ratio", "Noise of a series of another phase from value to value, relative to it."),
    )

    def init(self, rows: int, slots: int, like: Tensor) -> State:
        """Every tensor (R)."""
        del slots
        return self.compare.init(rows, like)

    def update(self, state: State, block: Block, thresholds: Mapping[str, Tensor]) -> Output:
        """See `detectors.cell.Cell.update`."""
        sign = -block.facts["direction"]
        state, now = self.compare.update(state, block, sign, sign)
        known, compared = now.known(self.warm_up)
        gap = now.judged - now.reference
        behind = self._behind(sign, now.judged, now.reference, thresholds)
        soon = now.worse(thresholds[RISE.name]) & now.better(thresholds[FALL.name])
        late = now.worse(thresholds[SLOW_RISE.name]) & now.better(thresholds[SLOW_FALL.name])
        bad = soon | late | behind
        noise = now.noise / torch.maximum(now.judged.abs(), now.noise)
        jumps = noise > thresholds[ERRATIC.name][:, None]
        loss = known & (sign > 0)[:, None]
        readings = {
            "validation_rise_ratio": now.rise_ratio(),
            "training_fall_ratio": now.fall_ratio(),
            "generalization_gap": gap,
            "validation_best_step": now.best_step,
            "validation_noise_ratio": noise,
        }
        readings = {name: torch.where(known, value, torch.nan) for name, value in readings.items()}
        return Output(
            state, readings, {"overfitting": verdict_of(compared, bad), "erratic_validation": verdict_of(loss, jumps)}
        )

    def _behind(self, sign: Tensor, judged: Tensor, reference: Tensor, thresholds: Mapping[str, Tensor]) -> Tensor:
        """Whether a metric from 0 to 1 is perfect in training and far from it in validation."""
        metric = (sign < 0)[:, None] & (reference >= -1) & (judged <= 0) & (judged >= -1)
        perfect = -reference >= thresholds[PERFECT.name][:, None]
        return metric & perfect & (judged - reference > thresholds[GAP.name][:, None])
