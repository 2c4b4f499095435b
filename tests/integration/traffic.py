"""Jobs that publish everything a dashboard shows: two that train, and everything that goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

import losswatch
from consumers.kafka import KafkaBroker
from consumers.source import Slot
from examples.test_time_adaptation import PHASE, SAFE_WEIGHT, THRESHOLDS, WEAK_WEIGHT, adapt, prepare
from losswatch.encoding import JSON, encode
from losswatch.headers import cloud_event
from losswatch.schema import Record, Steps
from losswatch.topics import STATE, STEPS

COLLAPSING: Final = 'ttt "42"'
HEALTHY: Final = "ttt-43"
PARTITIONS: Final = 2
SAMPLES: Final = 64


class _Generous:
    """Adds to what the demo's job publishes whatever else a job may say."""

    def __init__(self, run: losswatch.Run) -> None:
        self._run = run
        self._generator = torch.Generator().manual_seed(0)

    def log(self, step: int, *, metrics: Mapping[str, Tensor], **rest: Any) -> None:
        """Also per slice, log variances that nothing is made of, and a second phase."""
        slices = {f"camera-{number}": dict(metrics) for number in range(3)}
        log_vars = dict.fromkeys(rest["components"], 0.0)
        self._run.log(step, metrics=metrics, slices=slices, log_vars=log_vars, checkpoint=f"step-{step}.pt", **rest)
        self._train(step, metrics)

    def _train(self, step: int, metrics: Mapping[str, Tensor]) -> None:
        """The phase that others are compared with; how it makes its total is for the service to find out."""
        contrast, penalty = (torch.rand(2, generator=self._generator, dtype=torch.float64) + 1 / (1 + step)).tolist()
        parts = {"contrast": contrast, "penalty": penalty}
        self._run.log(step, phase="train", total=0.3 * contrast + 0.7 * penalty, components=parts, metrics=metrics)

    def predictions(self, step: int, *, probabilities: Tensor, labels: Tensor, phase: str) -> None:
        """Fewer samples, and everything that is known of each."""
        some, features = probabilities[:SAMPLES], torch.rand(SAMPLES, 4)
        self._run.predictions(
            step,
            probabilities=some,
            labels=labels[:SAMPLES],
            phase=phase,
            slices=[f"camera-{number % 3}" for number in range(SAMPLES)],
            embeddings=some.detach(),
            features=features,
            errors={"confidence": 1 - some.max(1).values, "spread": 1 - some.square().sum(1)},
            targets={"confidence": features[:, 0]},
        )


@contextmanager
def training(kafka: str) -> Iterator[Iterator[None]]:
    """Two real jobs, one step of each per item taken: one collapses, one does not."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would only wait for each other on a busy machine
    try:
        with _job(kafka, COLLAPSING, WEAK_WEIGHT) as collapsing, _job(kafka, HEALTHY, SAFE_WEIGHT) as healthy:
            yield (None for _ in zip(collapsing, healthy, strict=False))
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _job(kafka: str, name: str, weight: float) -> Iterator[Iterator[Any]]:
    with losswatch.start(
        name,
        bootstrap_servers=kafka,
        job="digits-tta",
        labels={"team": "vision"},
        objective={PHASE: {"form": "weighted_sum", "weights": {"entropy": 1.0, "diversity": weight}}},
        metrics={"accuracy": "higher"},
        classes=list(range(10)),
        split={"train": (0.0, 9e8), PHASE: (8e8, 1e9)},
        parameters=9_000,
        samples={"train": 1000, PHASE: 512},
        thresholds=THRESHOLDS,
        expect=[{"series": "accuracy", "phase": PHASE, "low": 0.9}],
    ) as run:
        run.reference(torch.rand(256, 4), targets={"confidence": torch.rand(256)})
        yield adapt(prepare(seed=0), _Generous(run), lambda: weight, steps=2000)


def mishaps(kafka: str) -> None:
    """A job that computes NaN and passes what cannot be used, and one that falls silent."""
    with losswatch.start("broken", bootstrap_servers=kafka, thresholds={"no_such_threshold": 1.0}) as run:
        run.log(0, total=float("nan"))
        run.log("the first", total=1.0)  # type: ignore[arg-type]  # that is the mishap
        run.log(1, total=1.0)
    _send(KafkaBroker(kafka), [_steps("lonely", "one", 0, 0)])


def trouble_on_the_wire(kafka: str) -> None:
    """Garbage, a record twice, a step twice, and two processes that publish one run."""
    broker = KafkaBroker(kafka)
    _send(broker, [_steps("twice", "one", 0, 5)] * 2 + [_steps("twice", "one", 1, 4)])
    _send(broker, [_steps("twice", who, seq, 10 + seq) for seq in range(2, 6) for who in ("one", "two")])
    sink = broker.sink()
    sink.send(Slot(STEPS, 0), b"twice", b"not a record", [])
    sink.flush(10)
    sink.close()


def spoilt_state(kafka: str) -> None:
    """The topics, with a snapshot that no service can read."""
    broker = KafkaBroker(kafka)
    broker.create_topics(PARTITIONS)
    sink = broker.sink()
    sink.send(Slot(STATE, 0), b"spoilt", b"not a snapshot", [])
    sink.flush(10)
    sink.close()
    broker.close()


def _steps(run: str, session: str, seq: int, step: int) -> Steps:
    return Steps(run=run, session=session, seq=seq, time=time.time(), step=[step], total=[1.0])


def _send(broker: KafkaBroker, records: list[Steps]) -> None:
    sink = broker.sink()
    for record in records:
        encoded: Record = record
        sink.send(Slot(STEPS, 0), record.run.encode(), encode(encoded, JSON), cloud_event(encoded, JSON))
    sink.flush(10)
    sink.close()
