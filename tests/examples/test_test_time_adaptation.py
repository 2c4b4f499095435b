from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from examples.test_time_adaptation import (
    HEAVIEST_WEIGHT,
    SAFE_WEIGHT,
    THRESHOLDS,
    WEAK_WEIGHT,
    Progress,
    adapt,
    paced,
    prepare,
)
from losswatch.advice import MAX_FACTOR
from losswatch.advised import step_towards

FLOOR = 0.85
STEPS = 300


class Recorder:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.predicted: list[dict[str, Any]] = []

    def log(
        self,
        step: int,
        *,
        total: Tensor,
        components: Mapping[str, Tensor],
        weights: Mapping[str, float],
        metrics: Mapping[str, Tensor],
        phase: str,
    ) -> None:
        parts = {"total": total, "components": components, "weights": weights, "metrics": metrics}
        self.logged.append({"step": step, "phase": phase} | parts)

    def predictions(self, step: int, *, probabilities: Tensor, labels: Tensor, phase: str) -> None:
        self.predicted.append({"step": step, "phase": phase, "probabilities": probabilities, "labels": labels})


def course(seed: int, weight: Callable[[], float], steps: int = STEPS) -> list[Progress]:
    return list(adapt(prepare(seed), Recorder(), weight, steps))


@pytest.mark.parametrize("seed", range(5))
def test_with_the_weak_weight_the_total_falls_while_classes_and_accuracy_are_lost(seed: int) -> None:
    steps = course(seed, lambda: WEAK_WEIGHT)
    first, last = steps[0], steps[-1]
    assert last.total < 0.2 * first.total
    assert first.class_entropy > 0.95
    assert last.class_entropy < FLOOR
    assert last.diversity > 2 * first.diversity
    assert last.accuracy < first.accuracy - 0.1


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_classes_takes_tens_of_steps(seed: int) -> None:
    entropy = [now.class_entropy for now in course(seed, lambda: WEAK_WEIGHT, 150)]
    below = [next(step for step, value in enumerate(entropy) if value < level) for level in (0.95, FLOOR)]
    assert below[1] - below[0] >= 30


@pytest.mark.parametrize("seed", range(5))
def test_with_the_safe_weight_the_same_job_keeps_its_classes_and_gains_accuracy(seed: int) -> None:
    steps = course(seed, lambda: SAFE_WEIGHT)
    assert steps[-1].total < 0.7 * steps[0].total
    assert min(now.class_entropy for now in steps) > 0.95
    assert steps[-1].accuracy > steps[0].accuracy


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("late", [5, 25])
def test_the_advised_weight_saves_the_run_even_if_it_comes_late(seed: int, late: int) -> None:
    entropy: list[float] = []
    applied = advised = WEAK_WEIGHT
    due = None

    def weight() -> float:
        nonlocal applied
        applied = step_towards(applied, advised, 0.0, HEAVIEST_WEIGHT, MAX_FACTOR)
        return applied

    for now in adapt(prepare(seed), Recorder(), weight, STEPS):
        entropy.append(now.class_entropy)
        if due is None and now.class_entropy < 0.96:
            due = now.step + late
            missing = THRESHOLDS["class_entropy_target"] - now.class_entropy
        if now.step == due:
            advised = WEAK_WEIGHT + THRESHOLDS["diversity_weight_gain"] * missing
    assert min(entropy) > FLOOR
    assert entropy[-1] > 0.98


def test_the_run_is_reproducible() -> None:
    assert course(3, lambda: WEAK_WEIGHT, 20) == course(3, lambda: WEAK_WEIGHT, 20)


def test_what_is_published_adds_up_and_is_detached() -> None:
    published = Recorder()
    steps = list(adapt(prepare(0), published, lambda: WEAK_WEIGHT, 3))
    assert [record["step"] for record in published.logged] == [0, 1, 2]
    for record, prediction, now in zip(published.logged, published.predicted, steps, strict=True):
        components, weights = record["components"], record["weights"]
        total = sum(weights[name] * float(components[name]) for name in components)
        assert float(record["total"]) == pytest.approx(total)
        assert record["phase"] == prediction["phase"] == "test"
        p = prediction["probabilities"]
        assert not p.requires_grad
        assert p.shape == (512, 10)
        assert torch.special.entr(p.mean(0)).sum().item() / math.log(10) == pytest.approx(now.class_entropy, abs=1e-5)
        accuracy = (p.argmax(-1) == prediction["labels"]).double().mean().item()
        assert float(record["metrics"]["accuracy"]) == now.accuracy == accuracy


def test_steps_are_given_out_at_the_pace_asked_for() -> None:
    now = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    steps = [progress(step) for step in range(3)]
    assert list(paced(iter(steps), per_second=4.0, clock=lambda: now, sleep=sleep)) == steps
    assert slept == [0.25, 0.25, 0.25]


def progress(step: int) -> Progress:
    return Progress(step, 1.0, 1.0, 0.0, 0.1, 1.0, 0.1, 0.9)
