"""One record of every shape, and the golden files of them.

Write the golden files anew, after a change of the wire that is meant: ``python -m tests.publisher.wire.samples``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from losswatch.encoding import JSON, MSGPACK, encode
from losswatch.schema import (
    Advice,
    Expectation,
    Finding,
    Heartbeat,
    Objective,
    Predictions,
    Record,
    Reference,
    RunEnd,
    RunStart,
    Steps,
)

GOLDEN: Final = Path(__file__).parent / "golden"
NAN: Final = float("nan")
INFINITY: Final = float("inf")
COMMON: Final[dict[str, Any]] = {"run": "ttt-42", "session": "8f3c", "time": 1764000000.5}

RECORDS: Final[dict[str, Record]] = {
    "run_start": RunStart(
        **COMMON,
        seq=0,
        job="intrusion-ttt",
        labels={"team": "sec"},
        objective={
            "train": Objective(form="weighted_sum", weights={"entropy": 1.0, "diversity": 0.1}),
            "val": Objective(form="kendall", variant="full", regularizer=0.5),
            "test": Objective(form="ratio", base="entropy", factor="diversity", scale=2.0),
        },
        metrics={"accuracy": "higher", "mae": "lower"},
        classes=["benign", 1],
        split={"train": (1700000000.0, 1710000000.0)},
        precision={"train": "bf16"},
        parameters=22_500_000,
        samples={"train": 10_000},
        thresholds={"class_entropy_floor": 0.85},
        expect=[Expectation(series="contrastive", phase="train", from_step=300, low=None, high=1.2)],
    ),
    "steps": Steps(
        **COMMON,
        seq=1,
        dropped={"queue_full": 3},
        phase="train",
        step=[7, 8, 9, 10],
        at=[1764000000.25, 1764000000.5, 1764000000.75, 1764000001.0],
        total=[0.5, NAN, INFINITY, -INFINITY],
        components={"entropy": [0.25, -0.0, 5e-324, 1.5], 'a "quoted"\nname \U0001f600': [0.0, 1.0, 2.0, 3.0]},
        weights={"entropy": [0.1, 0.1, 0.1, 0.1]},
        log_vars={"entropy": [-1.0, -2.0, -3.0, -4.0]},
        metrics={"accuracy": [None, 0.875, NAN, None]},
        slices={"exp-7": {"mae": [None, None, None, 0.00021]}},
        checkpoint=[None, None, None, "epoch-1.pt"],
        measured="running_mean",
        divided_by=4,
    ),
    "probabilities": Predictions(
        **COMMON,
        seq=2,
        phase="test",
        step=1,
        kind="probabilities",
        values=[[0.625, 0.375], [0.25, NAN]],
        labels=[0, "attack"],
        slices=["exp-7", None],
        embeddings=[[1.0], [2.0]],
        features=[[1.0, INFINITY, -1.0], [0.5, 0.25, 0.125]],
        errors={"curve": [0.5, None]},
        targets={"curve": [12.5, -3.0]},
    ),
    "classes": Predictions(**COMMON, seq=3, step=1, kind="classes", values=["benign", 1, "benign"], labels=[0, 1, 0]),
    "regression": Predictions(
        **COMMON, seq=8, phase="val", step=1, features=[[1.0, 2.0], [0.5, 0.25]], errors={"curve": [0.5, 0.25]}
    ),
    "summary": Predictions(
        **COMMON,
        seq=4,
        step=1,
        kind="summary",
        n=50_000,
        mean=[0.625, 0.375],
        counts=[31_020, 18_980],
        mean_entropy=NAN,
    ),
    "reference": Reference(
        **COMMON,
        seq=5,
        features=[[0.5, 12.0], [0.25, 9.5]],
        slices=["exp-7", None],
        labels=[0, "attack"],
        targets={"curve": [12.5, None]},
    ),
    "heartbeat": Heartbeat(**COMMON, seq=7, every=10.0),
    "run_end": RunEnd(**COMMON, seq=6, status="failed", error="RuntimeError: out of memory"),
    "finding": Finding(
        run="ttt-42",
        time=1764000060.0,
        id="ttt-42/test/diversity_collapse/-/120",
        kind="diversity_collapse",
        phase="test",
        subject=None,
        severity="critical",
        state="firing",
        began=120,
        confirmed=124,
        step=124,
        value=0.8437,
        threshold=0.85,
        message="Class entropy of the predictions fell to 0.84 (floor 0.85).",
        evidence={"class_entropy": 0.8437, "max_class_probability": INFINITY},
        advice=Advice(action="set_weight", component="diversity", value=0.103),
    ),
}


def golden(record: Record) -> tuple[str, str]:
    """The record's JSON made readable, and its msgpack in hexadecimal, 32 bytes a line."""
    text = json.dumps(json.loads(encode(record, JSON)), indent=2, allow_nan=False)
    digits = encode(record, MSGPACK).hex()
    return f"{text}\n", "".join(f"{digits[i : i + 64]}\n" for i in range(0, len(digits), 64))


if __name__ == "__main__":
    for name, record in RECORDS.items():
        for suffix, content in zip(("json", "msgpack.hex"), golden(record), strict=True):
            (GOLDEN / f"{name}.{suffix}").write_text(content)
