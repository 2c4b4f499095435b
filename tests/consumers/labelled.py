"""Runs whose prediction records carry all that they may: labels, embeddings, features, errors, true values."""

from __future__ import annotations

from itertools import chain, count, zip_longest
from typing import Any, Final

import numpy as np

from losswatch.schema import Predictions, Record, Reference
from tests.consumers.builders import make_end, make_start, make_validation

RECORDS: Final = 17
SAMPLES: Final = 40


def troubled(run: str) -> list[Record]:
    """One label is never predicted, embeddings collapse, errors are unrelated, a slice is far off; ever more classes
    and slices come, beyond 4 and 16 slots; references in the middle."""
    rng, seqs = np.random.default_rng(0), count()
    records: list[Record] = [make_start(run, seq=next(seqs), classes=["a", "b", "c"])]
    for step in range(RECORDS):
        labels = ["a", "b", "c", f"new-{step}", f"newer-{step}"]
        predicted = ["a", "b", "odd", f"new-{step}", f"newer-{step}"]
        which = rng.choice(5, SAMPLES, p=[0.3, 0.3, 0.3, 0.05, 0.05])
        features = rng.normal(0, 1, (SAMPLES, 2)) + (np.arange(SAMPLES) < 20)[:, None] * 6.0
        fields: dict[str, Any] = {
            "kind": "classes",
            "values": [predicted[place] for place in which],
            "labels": [labels[place] for place in which],
            "embeddings": 1.0 + 0.01 * rng.normal(0, 1, (SAMPLES, 8)),
            "features": features,
            "slices": [f"far-{step // 6}" if place < 20 else None for place in range(SAMPLES)],
            "errors": {name: rng.random(SAMPLES) for name in ("parameter", "curve")},
        }
        records.append(_predictions(run, step, next(seqs), "val", fields))
        if step in (2, 5):
            more: dict[str, Any] = {"features": rng.normal(0, 1, (100, 2)), "labels": [str(step)] * 100}
            records.append(Reference(run=run, time=1000.0 + step, session="s", seq=next(seqs), **more))
        if step % 6 == 5:
            records.append(make_validation(run, step, seq=next(seqs)))
    return [*records, make_end(run, seq=next(seqs))]


def classifier(run: str, classes: int) -> list[Record]:
    """One that is mostly right, in two phases; its classes are numbers, a summary comes now and then."""
    rng, seqs = np.random.default_rng(classes), count()
    records: list[Record] = []
    for step in range(RECORDS):
        for phase in ("train", "val"):
            labels = rng.integers(0, classes, SAMPLES)
            values = rng.normal(0, 1, (SAMPLES, classes)) + 4 * np.eye(classes)[labels]
            fields: dict[str, Any] = {"kind": "logits", "values": values, "labels": labels.tolist()}
            if step % 5 == 4:
                mean = np.full(classes, 1 / classes)
                fields = {"kind": "summary", "n": 500, "mean": mean, "counts": np.full(classes, 500 // classes)}
            records.append(_predictions(run, step, next(seqs), phase, fields))
    return [*records, make_end(run, seq=next(seqs))]


def regressor(run: str) -> list[Record]:
    """No classes: features, errors and true values alone; one record has a NaN in its embeddings."""
    rng, seqs = np.random.default_rng(3), count()
    x = rng.normal(0, 1, (80, 3))
    reference = Reference(run=run, time=1.0, session="s", seq=next(seqs), features=x, targets={"mae": x.sum(1)})
    records: list[Record] = [reference]
    for step in range(RECORDS):
        features = rng.normal(0, 1, (SAMPLES, 3))
        error, embeddings = rng.random(SAMPLES), rng.normal(0, 1, (SAMPLES, 4))
        embeddings[0, 0] = np.nan if step == 9 else 0.0
        fields: dict[str, Any] = {
            "features": features,
            "embeddings": embeddings,
            "errors": {"mae": error, "square": error**2},
            "targets": {"mae": features.sum(1)},
            "slices": [f"s{place % (1 + step // 4)}" for place in range(SAMPLES)],
        }
        records.append(_predictions(run, step, next(seqs), "test", fields))
    return [*records, make_end(run, seq=next(seqs))]


def everything() -> list[Record]:
    """All of them, their records taking turns."""
    runs = (troubled("troubled"), classifier("three", 3), classifier("twenty", 20), regressor("regressor"))
    return [record for record in chain(*zip_longest(*runs)) if record is not None]


def _predictions(run: str, step: int, seq: int, phase: str, fields: dict[str, Any]) -> Predictions:
    return Predictions(run=run, time=1000.0 + step, session="s", seq=seq, phase=phase, step=step, **fields)
