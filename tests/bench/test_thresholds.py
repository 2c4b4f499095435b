"""Every threshold of the loss-side detectors is a run's own to set: with another value the finding is another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from bench.quality.noise import Draw, Floats
from bench.quality.play import play
from bench.quality.synthetic import GENERATORS, Phase, Story
from consumers.stalls import stalls
from detectors.catalog import CELLS
from detectors.series.stalled import FACTOR, LEAST
from detectors.streams import PAIRS
from tests.consumers.builders import a_fleet, decoded, make_start, make_steps

T: Final = np.arange(400.0)
SINCE: Final = np.maximum(T - 150, 0) / 250
HALVING: Final = np.exp(-T / 200)


def made(kind: str, level: float = 0.15) -> Story:
    """The quality suite's run that fails in this way."""
    return GENERATORS[kind](Draw(np.random.default_rng(1), "white", level, 3.0, 720, 400))


def validated(train: Floats, val: Floats, metric: str | None = None) -> Story:
    """A run whose total, or metric, is this in training and that in validation."""
    fields = [{"total": x} if metric is None else {"total": 1 + 0 * x, "metrics": {metric: x}} for x in (train, val)]
    return Story(tuple(Phase(name, each, 5) for name, each in zip(("train", "val"), fields, strict=True)))


def sliced(whole: Floats, part: Floats) -> Story:
    """A slice of a metric and the whole of it."""
    fields = {"total": whole, "metrics": {"mae": whole}, "slices": {"s": {"mae": part}}}
    return Story((Phase("val", fields, 5),), {"metrics": {"mae": "lower"}})


def scaled(factor: float) -> Story:
    """Validation reports the sum that training reports, times a factor."""
    phases = []
    for name, times in (("train", 1.0), ("val", factor)):
        parts = {"a": HALVING + 0.01 * np.sin(times * T), "b": 0.5 + 0.01 * np.cos(times * T)}
        phases.append(Phase(name, {"total": times * (parts["a"] + parts["b"]), "components": parts}))
    return Story(tuple(phases))


def weighted(log_var: float) -> Story:
    """Uncertainty weighting with a log variance that moves around a value."""
    s = log_var + 0.1 * np.sin(T / 9)
    return Story((Phase("train", {"total": T, "components": {"task": 1 + 0 * T}, "log_vars": {"task": s}}),))


BY_HEART = validated(np.exp(-T / 60), 1 + 0 * T)
PERFECT = validated(np.minimum(0.5 + T / 200, 1.0), np.minimum(0.5 + T / 1000, 0.6), "accuracy")
SLOWLY = validated(1 - 0.4 * T / 400, 1 + 0.08 * SINCE)
CASES: Final[Mapping[str, tuple[str, Story, float]]] = {
    "spike_rise": ("spike", made("spike"), 1e6),
    "divergence_rise": ("divergence", made("divergence"), 1e6),
    "plateau_improvement": ("plateau", made("plateau", 0.02), -1.0),
    "oscillation_alternation": ("oscillation", made("oscillation"), 2.0),
    "performance_collapse_lost": ("performance_collapse", made("performance_collapse"), 1e6),
    "anomaly_run_length": ("temporal_anomaly", made("divergence"), 1e300),
    "conflict_total_fall": ("component_conflict", made("component_conflict"), 2.0),
    "conflict_component_rise": ("component_conflict", made("component_conflict"), 1e6),
    "conflict_share": ("component_conflict", made("component_conflict"), 1.0),
    "dominance_share": ("component_dominates", made("component_dominates"), 1.0),
    "inert_share": ("component_inert", made("component_inert"), 0.0),
    "stagnation_improvement": ("component_stagnates", made("component_stagnates"), -1.0),
    "stagnation_steps": ("component_stagnates", made("component_stagnates"), 1e6),
    "floor_steps": ("component_at_floor", made("component_at_floor"), 1e6),
    "log_variance_limit": ("log_variance_clamped", weighted(2.5), 3.0),
    "total_residual": ("total_inconsistent", made("total_inconsistent"), 1.0),
    "aggregation_factor": ("aggregation_mismatch", scaled(1.2), 0.3),
    "overfitting_rise": ("overfitting", validated(1 + 0 * T, 1 + 0.2 * SINCE), 1.0),
    "overfitting_train_fall": ("overfitting", validated(1 - 0.1 * SINCE, 1 + 0.12 * SINCE), 0.5),
    "overfitting_slow_rise": ("overfitting", SLOWLY, 1.0),
    "overfitting_slow_train_fall": ("overfitting", SLOWLY, 2.0),
    "overfitting_by_heart": ("overfitting", BY_HEART, 1e6),
    "overfitting_gap": ("overfitting", PERFECT, 2.0),
    "overfitting_perfect": ("overfitting", PERFECT, 2.0),
    "erratic_validation_noise": ("erratic_validation", made("erratic_validation"), 1e6),
    "erratic_validation_growth": ("erratic_validation", made("erratic_validation", 0.05), 1e6),
    "decoupling_metric_loss": ("loss_metric_decoupling", made("loss_metric_decoupling"), 1e6),
    "decoupling_total_fall": ("loss_metric_decoupling", made("loss_metric_decoupling"), 2.0),
    "slice_loss": ("slice_divergence", sliced(1 + 0 * T, 1 + 0.2 * SINCE), 1.0),
    "slice_whole_gain": ("slice_divergence", sliced(1 - 0.05 * SINCE, 1 + 0.12 * SINCE), 0.5),
    "slice_slow_loss": ("slice_divergence", sliced(HALVING, 1 + 0.08 * SINCE), 1.0),
    "slice_slow_whole_gain": ("slice_divergence", sliced(HALVING, 1 + 0.08 * SINCE), 2.0),
}


def test_every_threshold_of_the_loss_side_has_a_case() -> None:
    cells = [cell for cell in CELLS if cell.stream in ("series", "objective", *PAIRS)]
    assert CASES.keys() == {threshold.name for cell in cells for threshold in cell.thresholds}


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_declares_another_value_is_judged_by_it(name: str) -> None:
    kind, story, value = CASES[name]
    own = replace(story, declared={**story.declared, "thresholds": {name: value}})
    by_default, by_own = ([f.step for f in found if f.kind == kind] for found in play([story, own]))
    assert by_default
    assert len(by_own) < len(by_default) or by_own[0] > by_default[0]


def test_absurd_values_are_survived(caplog: pytest.LogCaptureFixture) -> None:
    cases = [(name, story, value) for name, (_, story, _) in CASES.items() for value in (-1e6, 0.0, 1e6)]
    play([replace(story, declared={**story.declared, "thresholds": {name: value}}) for name, story, value in cases])
    assert "could not be judged" not in caplog.text


@pytest.mark.parametrize(("name", "value"), [(LEAST.name, 1000.0), (FACTOR.name, 1000.0)])
def test_a_run_has_its_own_idea_of_a_stall(name: str, value: float) -> None:
    for thresholds, count in (({}, 1), ({name: value}, 0)):
        fleet = a_fleet()
        steps = [make_steps("r", 4 * i, 4, seq=i + 1, time=1000.0 + i) for i in range(6)]
        fleet.take(decoded([make_start("r", thresholds=thresholds), *steps]))
        fleet.runs["r"].told = 1000.0
        assert len(stalls(fleet, 1400.0, {0})) == count
