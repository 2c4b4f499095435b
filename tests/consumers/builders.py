"""Records, and the brokers and fleets that take them: small and deterministic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import numpy as np

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.memory import MemoryBroker
from consumers.memory import Record as StoredRecord
from consumers.telemetry import Telemetry
from losswatch.encoding import JSON, decode, encode
from losswatch.headers import cloud_event
from losswatch.schema import Predictions, Record, Reference, RunEnd, RunStart, Steps
from losswatch.topics import PREDICTIONS, STEPS


def make_steps(
    run: str,
    first: int,
    length: int,
    *,
    seq: int | None = None,
    session: str | None = "s",
    phase: str = "train",
    components: int = 2,
    seed: int = 0,
    bad: Sequence[int] = (),
    jumps: Sequence[int] = (),
    second: float = 1.0,
    time: float | None = None,
    **more: Any,
) -> Steps:
    """Steps whose values depend on the step alone, of a run that learns; NaN in the total at those named by ``bad``,
    everything thrice as large at ``jumps``.

    The total is the sum of the components, the ``second`` of them with this weight.
    """
    step = np.arange(first, first + length, dtype=np.int64)
    learned = 0.2 + 0.8 * np.exp(-step / 200)
    parts = {f"c{k}": learned * (1.0 + 0.1 * k + 0.01 * np.sin(step * (k + 1) + seed)) for k in range(components)}
    total = sum((second * part if name == "c1" else part for name, part in parts.items()), np.zeros(length))
    total[np.isin(step, list(bad))] = np.nan
    size = np.where(np.isin(step, list(jumps)), 3.0, 1.0)
    parts = {name: size * part for name, part in parts.items()}
    own = {"total": size * total, "components": parts, "metrics": {"accuracy": size * (0.5 + 0.001 * (step % 7))}}
    fields: dict[str, Any] = own | more
    sent = {} if session is None else {"session": session, "seq": seq}
    when = 1000.0 + first if time is None else time
    return Steps(run=run, time=when, phase=phase, step=step, **sent, **fields)


def make_predictions(
    run: str,
    step: int,
    top: float = 0.5,
    *,
    seq: int | None = None,
    session: str | None = "s",
    phase: str = "test",
    samples: int = 200,
    time: float | None = None,
) -> Predictions:
    """Two classes, the first of which has the probability ``top`` in the mean; a class entropy of H(top)."""
    wobble = 0.02 * np.sin(np.arange(samples) + step)
    first = np.clip(top + wobble - wobble.mean(), 0.0, 1.0)
    values = np.stack([first, 1 - first], 1)
    sent = {} if session is None else {"session": session, "seq": seq}
    when = 1000.0 + step if time is None else time
    return Predictions(run=run, time=when, phase=phase, step=step, kind="probabilities", values=values, **sent)


def make_labelled(run: str, step: int, *, seq: int | None = None, phase: str = "val", **fields: Any) -> Predictions:
    """Three classes, sixty samples with everything that may go with them; most are right."""
    random = np.random.default_rng(step)
    labels = random.integers(0, 3, 60)
    values = random.normal(0, 1, (60, 3)) + 3 * np.eye(3)[labels]
    features = random.normal(0, 1, (60, 4))
    given: dict[str, Any] = {
        "kind": "logits",
        "values": values,
        "labels": labels.tolist(),
        "embeddings": np.concatenate([values, features], axis=1),
        "features": features,
        "slices": ["north" if x > 0 else "south" for x in features[:, 0]],
        "errors": {"parameter": np.abs(features[:, 0]), "curve": np.abs(features[:, 0] + features[:, 1])},
    }
    return Predictions(run=run, time=1000.0 + step, phase=phase, step=step, session="s", seq=seq, **given | fields)


def make_reference(run: str, *, seq: int | None = None, samples: int = 200, features: int = 4) -> Reference:
    """Training samples around the origin."""
    rows = np.random.default_rng(7).normal(0, 1, (samples, features))
    return Reference(run=run, time=1000.0, session="s", seq=seq, features=rows)


def make_start(run: str, *, session: str = "s", seq: int = 0, time: float = 1000.0, **fields: Any) -> RunStart:
    """A declaration."""
    return RunStart(run=run, time=time, session=session, seq=seq, **fields)


def make_end(run: str, *, session: str = "s", seq: int = 99, time: float = 2000.0) -> RunEnd:
    """A job's last word."""
    return RunEnd(run=run, time=time, session=session, seq=seq)


def topics_of(record: Record) -> tuple[str, ...]:
    """Where the hook publishes a record."""
    if isinstance(record, RunStart | RunEnd):
        return (STEPS, PREDICTIONS)
    return (PREDICTIONS,) if isinstance(record, Predictions) else (STEPS,)


def a_story(
    run: str, *, session: str = "s", collapse: bool = True, jump: bool = False, blocks: int = 8
) -> list[Record]:
    """A short life: a declaration, steps with a NaN in the total and, with ``jump``, a jump of every series,
    predictions that collapse, an end."""
    records: list[Record] = [
        make_start(
            run,
            session=session,
            objective={"train": {"form": "weighted_sum", "weights": {"c0": 1.0, "c1": 0.5}}, "test": {"form": "sum"}},
            thresholds={"class_entropy_floor": 0.8},
        )
    ]
    seqs = count(1)
    for block in range(blocks):
        first = 16 * block
        odd: dict[str, Any] = {"bad": (first + 3, first + 4)} if block == 2 else {}
        odd |= {"jumps": (first + 9,)} if jump and block == 2 else {}
        records.append(make_steps(run, first, 16, seq=next(seqs), session=session, second=0.5, **odd))
        for step in (first + 5, first + 11):
            top = 0.5 + (0.45 * block / blocks if collapse else 0.0)
            records.append(make_predictions(run, step, top, seq=next(seqs), session=session))
        records.append(make_validation(run, first + 15, seq=next(seqs), session=session))
    records.append(make_end(run, session=session, seq=next(seqs)))
    return records


def make_validation(run: str, step: int, *, seq: int, session: str = "s") -> Steps:
    """A validation that is better than the one before, of the whole and of a slice; a checkpoint is saved."""
    better = np.array([1.0 - 0.5 ** (1 + step / 50)])
    return make_steps(
        run,
        step,
        1,
        seq=seq,
        session=session,
        phase="val",
        second=0.5,
        metrics={"accuracy": better},
        slices={"a": {"accuracy": better}},
        checkpoint=[f"step-{step}.pt"],
    )


def publish(broker: MemoryBroker, records: Iterable[Record], partition: int = 0, content_type: str = JSON) -> None:
    """As the hook does it."""
    for record in records:
        for topic in topics_of(record):
            value, headers = encode(record, content_type), cloud_event(record, content_type)
            broker.produce(topic, partition, record.run.encode(), value, headers)


def a_broker(partitions: int = 1) -> MemoryBroker:
    """A broker that has the topics."""
    broker = MemoryBroker(clock=lambda: 1000.0)
    broker.create_topics(partitions)
    return broker


def decoded(records: Iterable[Record], partition: int = 0, first: int = 0) -> list[Decoded]:
    """The records as a poll and `decode_all` would give them: offsets from ``first`` in each topic."""
    offsets = {topic: count(first) for topic in (STEPS, PREDICTIONS)}
    out = []
    for record in records:
        for topic in topics_of(record):
            message = StoredRecord(topic, partition, next(offsets[topic]), 0, record.run.encode(), None, [])
            # Through the wire, as everything is that a worker sees.
            out.append(Decoded(decode(encode(record)), message))
    return out


def a_fleet(**options: Any) -> Fleet:
    """A fleet with counters of its own."""
    return Fleet(Telemetry(), **options)
