"""Runs that fail in a known way at a known step, one generator for each kind of finding.

To add a kind, write a function that makes a `Story` of a `Draw`, and register it. With strength 0 it has to be healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bench.quality.noise import Draw, Floats

STRETCH: Final = 16
"""Values that a spike lasts."""
RARELY: Final = 5
"""Steps from one validation to the next."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase reports: fields of `losswatch.schema.Steps` as columns, at every ``every``-th step."""

    name: str
    fields: Mapping[str, Any]
    every: int = 1


@dataclass(frozen=True, slots=True)
class Story:
    """A run."""

    phases: tuple[Phase, ...] = ()
    declared: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `losswatch.schema.RunStart`."""
    predicted: Floats | None = None
    """(T, C) mean predicted distribution, where the run reports predictions."""
    onset: int | None = None
    """Where it is not that of the draw: the failure is there from the start."""


Generator = Callable[[Draw], Story]
GENERATORS: Final[dict[str, Generator]] = {}


def makes(kind: str) -> Callable[[Generator], Generator]:
    """Register a generator under its kind."""

    def register(generator: Generator) -> Generator:
        GENERATORS[kind] = generator
        return generator

    return register


def worsening(size: float, since: Floats) -> Floats:
    """The factor by which validation is above what it would be, so many steps after it began to worsen."""
    return 1 + 0.2 * size * since / 20


def _train(total: Floats, **more: Any) -> Story:
    return Story((Phase("train", {"total": total, **more}),))


def _objective(**components: Floats) -> Story:
    """A training phase whose total is the declared sum of its components."""
    total = np.sum(list(components.values()), axis=0)
    return Story(
        (Phase("train", {"total": total, "components": components}),), {"objective": {"train": {"form": "sum"}}}
    )


@makes("non_finite")
def _non_finite(draw: Draw) -> Story:
    return _train(np.where(draw.since == 1, np.nan, draw.loss()))


@makes("spike")
def _spike(draw: Draw) -> Story:
    lasts = (draw.since > 0) & (draw.since <= STRETCH)
    return _train(draw.loss() * (1 + draw.strength * draw.level * lasts))


@makes("divergence")
def _divergence(draw: Draw) -> Story:
    """Exponential, by a fifth of the strength a step, up to a factor of e^6."""
    return _train(draw.loss() * np.exp(np.minimum(0.2 * draw.strength * draw.level * draw.since, 6.0)))


@makes("plateau")
def _plateau(draw: Draw) -> Story:
    """Never leaves the value of guessing."""
    stuck = np.log(10) * (1 + draw.level * draw.noise())
    story = _train(stuck if draw.strength else draw.loss())
    return Story(story.phases, onset=0)


@makes("oscillation")
def _oscillation(draw: Draw) -> Story:
    swing = draw.strength * draw.level * np.minimum(draw.since / 20, 1.0)
    return _train(draw.loss() * np.maximum(1 + swing * (-1.0) ** draw.time, 0.01))


@makes("performance_collapse")
def _performance_collapse(draw: Draw) -> Story:
    """Forgotten exponentially, by a tenth of the strength a step."""
    learned = (1 - np.exp(-draw.time / 60)) * np.exp(-0.1 * draw.strength * draw.level * draw.since)
    reward = (0.1 + 0.8 * learned) * (1 + 0.2 * draw.level * draw.noise())
    return _train(draw.loss(), metrics={"reward": reward})


@makes("expectation_missed")
def _expectation_missed(draw: Draw) -> Story:
    """A band with room for the noise, which the series leaves by so many deviations."""
    room = 12.0 if draw.family == "t3" else 4.0
    value = 1 + draw.level * (draw.noise() + (room + draw.strength) * (draw.since > 0))
    band = {"series": "total", "low": 0.0, "high": 1 + room * draw.level}
    return Story((Phase("train", {"total": np.abs(value)}),), {"expect": [band]})


@makes("component_conflict")
def _component_conflict(draw: Draw) -> Story:
    falls = np.exp(-draw.since / 100)
    main, other = ((1 + draw.level * draw.noise()) for _ in range(2))
    rises = 0.2 * (1 + 0.5 * draw.strength * np.minimum(draw.since / 150, 1.0))
    return _objective(main=main * falls, other=rises * other)


@makes("component_dominates")
def _component_dominates(draw: Draw) -> Story:
    gone = np.where(draw.since > 0, 1e-4, 1.0)
    return _objective(main=draw.loss(), other=0.5 * draw.loss() * gone)


@makes("component_inert")
def _component_inert(draw: Draw) -> Story:
    gone = np.where(draw.since > 0, 1e-7, 1.0)
    return _objective(main=draw.loss(), second=draw.loss(), third=0.5 * draw.loss() * gone)


@makes("component_stagnates")
def _component_stagnates(draw: Draw) -> Story:
    stuck = 1 + draw.level * draw.noise()
    story = _objective(main=stuck if draw.strength else draw.loss(), other=0.2 * draw.loss())
    return Story(story.phases, story.declared, onset=0)


@makes("component_at_floor")
def _component_at_floor(draw: Draw) -> Story:
    value = draw.loss()
    floor = 0.8 * value[: draw.onset].min()
    return _objective(main=draw.loss(), other=np.where(draw.since > 0, floor, value))


@makes("log_variance_clamped")
def _log_variance_clamped(draw: Draw) -> Story:
    tasks = {name: 1 + draw.level * draw.noise() for name in ("first", "second")}
    wander = 0.5 * np.sin(draw.time / 60)
    log_vars = {"first": np.where(draw.since > 0, 2.0, wander), "second": 0.3 * wander}
    total = sum((0.5 * np.exp(-s) * tasks[k] + 0.5 * s for k, s in log_vars.items()), np.zeros(draw.steps))
    fields = {"total": total, "components": tasks, "log_vars": log_vars}
    return Story((Phase("train", fields),), {"objective": {"train": {"form": "kendall", "variant": "half"}}})


@makes("total_inconsistent")
def _total_inconsistent(draw: Draw) -> Story:
    story = _objective(main=draw.loss(), other=0.5 * draw.loss())
    (phase,) = story.phases
    total = phase.fields["total"] * (1 + draw.strength * draw.level * (draw.since > 0))
    return Story((Phase("train", {**phase.fields, "total": total}),), story.declared)


@makes("aggregation_mismatch")
def _aggregation_mismatch(draw: Draw) -> Story:
    """Validation reports the mean where training reports the sum."""
    parts = [{f"part_{k}": draw.loss() * (k + 1) for k in range(3)} for _ in range(2)]
    totals = [np.sum(list(each.values()), axis=0) for each in parts]
    totals[1] = totals[1] / (3.0 if draw.strength else 1.0)
    phases = tuple(
        Phase(name, {"total": total, "components": each}, every)
        for name, total, each, every in zip(("train", "val"), totals, parts, (1, RARELY), strict=True)
    )
    return Story(phases, onset=0)


@makes("precision_mismatch")
def _precision_mismatch(draw: Draw) -> Story:
    precision = {"train": "float32", "val": "bfloat16" if draw.strength else "float32"}
    phases = (Phase("train", {"total": draw.loss()}), Phase("val", {"total": draw.loss()}, RARELY))
    return Story(phases, {"precision": precision}, onset=0)


@makes("loss_metric_decoupling")
def _loss_metric_decoupling(draw: Draw) -> Story:
    worse = np.maximum(1 - 0.2 * draw.strength * draw.level * draw.since / 20, 0.3)
    accuracy = (0.9 - 0.4 * np.exp(-draw.time / 100)) * worse * (1 + 0.2 * draw.level * draw.noise())
    loss = draw.loss() * np.exp(-draw.time / 300)
    return Story(
        (Phase("train", {"total": loss, "metrics": {"accuracy": accuracy}}),), {"metrics": {"accuracy": "higher"}}
    )


@makes("overfitting")
def _overfitting(draw: Draw) -> Story:
    worse = worsening(draw.strength * draw.level, draw.since)
    val = draw.loss() * worse * 1.05
    return Story((Phase("train", {"total": draw.loss(0.2)}), Phase("val", {"total": val}, RARELY)))


@makes("erratic_validation")
def _erratic_validation(draw: Draw) -> Story:
    wild = np.exp(draw.strength * draw.level * 2 * draw.rng.standard_normal(draw.steps) * (draw.since > 0))
    val = draw.loss() * 1.05 * wild
    return Story((Phase("train", {"total": draw.loss()}), Phase("val", {"total": val}, RARELY)))


@makes("slice_divergence")
def _slice_divergence(draw: Draw) -> Story:
    worse = worsening(draw.strength * draw.level, draw.since)
    whole = {"total": draw.loss(), "metrics": {"mae": draw.loss()}, "slices": {"exp-7": {"mae": draw.loss() * worse}}}
    return Story((Phase("train", {"total": draw.loss()}), Phase("val", whole, RARELY)), {"metrics": {"mae": "lower"}})


@makes("temporal_anomaly")
def _temporal_anomaly(draw: Draw) -> Story:
    return _spike(draw)


def _collapsing(draw: Draw, floor: float) -> Story:
    classes = 5
    sharp = np.minimum(draw.since / 200, 1.0)[:, None] * floor
    chosen = np.eye(classes)[0]
    return Story(predicted=(1 - sharp) / classes + sharp * chosen)


@makes("diversity_decline")
def _diversity_decline(draw: Draw) -> Story:
    return _collapsing(draw, 0.9)


@makes("diversity_collapse")
def _diversity_collapse(draw: Draw) -> Story:
    return _collapsing(draw, 0.98)
