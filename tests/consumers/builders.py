"""Records, brokers and workers for the tests of the consumers: small, deterministic, without a real clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal

import numpy as np
import pytest
import torch

from consumers.decode import Decoded
from consumers.fleet import Fleet
from consumers.memory import MemoryBroker
from consumers.memory import Record as StoredRecord
from consumers.source import Broker, Slot
from consumers.telemetry import Telemetry
from consumers.worker import Loop, Policy, Worker
from detectors.catalog import CELLS
from losswatch.encoding import JSON, decode, encode
from losswatch.headers import cloud_event
from losswatch.schema import Finding, Predictions, Record, Reference, RunEnd, RunStart, Steps
from losswatch.topics import DLQ, FINDINGS, PREDICTIONS, STATE, STEPS

Readings = Mapping[str, Mapping[tuple[str, ...], float]]
Told = tuple[str, str, int, str]
"""A finding's id, state, step and message."""


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


class Ticks:
    """A clock that moves by ``step`` seconds whenever it is read."""

    def __init__(self, step: float = 1.0, now: float = 0.0) -> None:
        self.step, self.now = step, now

    def __call__(self) -> float:
        self.now += self.step
        return self.now


POLICY = Policy(poll_timeout=0.0, poll_records=7, checkpoint_every=20.0, view_every=1e9, retry_after=1.0)
"""No waiting; small batches; a checkpoint every few turns of a clock that ticks when it is read."""


def a_worker(
    broker: Broker,
    fleet: Fleet | None = None,
    clock: Callable[[], float] | None = None,
    wall: Callable[[], float] = lambda: 3000.0,
    **policy: Any,
) -> Worker:
    """A worker on clocks that the test owns."""
    return Worker(broker, fleet or a_fleet(), dataclasses.replace(POLICY, **policy), clock or Ticks(), wall)


def turn(worker: Worker, loop: Loop, times: int = 10) -> None:
    """So many turns."""
    for _ in range(times):
        worker.turn(loop)


def turn_until_idle(worker: Worker, loop: Loop, most: int = 1000) -> None:
    """Turn until everything that was assigned is restored and nothing is waiting to be read."""
    for _ in range(most):
        worker.turn(loop)
        if loop.assignment.ready and not any(worker.telemetry.lag.values()):
            return
    raise AssertionError(f"not idle after {most} turns: {worker.telemetry.lag}")


def run_worker_until_idle(broker: Broker, worker: Worker | None = None) -> dict[str, Outcome]:
    """Let a worker consume everything, with a checkpoint at the end; what became of each run."""
    worker = worker or a_worker(broker)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        worker.look()
        return outcomes(worker)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """All that must not depend on batches, crashes and rebalances."""

    records: int
    steps: int
    duplicates: int
    gaps: int
    late_steps: int
    status: str
    newest: Mapping[str, int]
    readings: Readings
    findings: frozenset[Told]


def outcomes(worker: Worker) -> dict[str, Outcome]:
    """By run, from the worker's newest view."""
    view = worker.view
    return {
        name: Outcome(
            run.records,
            run.steps_seen,
            run.duplicates,
            run.gaps,
            run.late_steps,
            run.status,
            run.steps,
            view.of_run(name),
            frozenset(map(told, view.findings.get(name, ()))),
        )
        for name, run in view.runs.items()
    }


def assert_same_readings(found: Mapping[str, Readings], expected: Mapping[str, Readings]) -> None:
    """Equal but for rounding: sums over a block are added up in another order than sums over two, of some cells in
    float32."""
    like = torch.zeros((), dtype=torch.float64)
    narrow = {
        reading.name
        for cell in CELLS
        if any(value.dtype == torch.float32 for value in cell.init(1, 1, like).values())
        for reading in cell.readings
    }
    assert found.keys() == expected.keys()
    for run, tables in expected.items():
        assert found[run].keys() == tables.keys()
        for table, values in tables.items():
            rel, least = (1e-4, 1e-4) if table in narrow else (1e-9, 1e-12)
            assert found[run][table] == pytest.approx(values, rel=rel, abs=least), (run, table)


def assert_same_outcomes(found: Mapping[str, Outcome], expected: Mapping[str, Outcome]) -> None:
    """All equal; readings but for rounding."""
    assert_same_readings(
        {run: outcome.readings for run, outcome in found.items()},
        {run: outcome.readings for run, outcome in expected.items()},
    )
    for run, outcome in expected.items():
        assert dataclasses.replace(found[run], readings=outcome.readings) == outcome


def told(finding: Finding) -> Told:
    """What must be the same however often a finding is made."""
    return finding.id, finding.state, finding.step, finding.message


def findings_on_topic(broker: MemoryBroker, partitions: int = 1) -> list[Told]:
    """Every finding that was published, in order within a partition."""
    return [told(finding) for finding in _findings(broker, partitions)]


def _findings(broker: MemoryBroker, partitions: int) -> Iterator[Finding]:
    for partition in range(partitions):
        for message in broker.read(Slot(FINDINGS, partition)):
            record = decode(message.value, accept=(Finding,))
            assert isinstance(record, Finding)
            yield record


def dead_letters(broker: MemoryBroker) -> list[tuple[str, dict[str, str], bytes | None]]:
    """Reason, origin headers and bytes of every dead letter."""
    out = []
    for message in broker.read(Slot(DLQ, 0)):
        headers = {name: value.decode() for name, value in message.headers if name.startswith("losswatch-")}
        out.append((headers.pop("losswatch-reason"), headers, message.value))
    return out


def state_records(broker: MemoryBroker, partition: int = 0) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of everything in the state topic."""
    return [(message.key, message.value) for message in broker.read(Slot(STATE, partition))]


Where = Literal["before", "after"]


class Crash(BaseException):
    """The process is gone: nothing that catches Exception sees it."""


class CrashingBroker:
    """A broker whose ``at``-th call raises Crash, before it takes effect or after; counts the calls.

    Calls are: poll, send, flush, commit, committed, seek, read.
    """

    def __init__(self, broker: MemoryBroker, at: int | None = None, where: Where = "before") -> None:
        self._broker, self._at, self._where = broker, at, where
        self.calls: list[str] = []

    def create_topics(self, partitions: int) -> list[str]:
        return self._broker.create_topics(partitions)

    def partitions(self, topic: str) -> int:
        return self._broker.partitions(topic)

    def source(self, group: str, topics: Sequence[str]) -> Any:
        return _Crashing(self, self._broker.source(group, topics))

    def sink(self) -> Any:
        return _Crashing(self, self._broker.sink())

    def read(self, slot: Slot, start: int = 0) -> Iterator[Any]:
        return iter(self.call("read", lambda: list(self._broker.read(slot, start))))

    def close(self) -> None:
        self._broker.close()

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        """Do what was asked, unless it is time to crash."""
        number = len(self.calls)
        self.calls.append(name)
        if number == self._at and self._where == "before":
            raise Crash(f"before {name}, call {number}")
        result = act()
        if number == self._at:
            raise Crash(f"after {name}, call {number}")
        return result


class _Crashing:
    """A source or sink of a `CrashingBroker`."""

    def __init__(self, broker: CrashingBroker, inner: Any) -> None:
        self._broker, self._inner = broker, inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in {"close", "changes", "lag", "beginning"}:
            return method
        return lambda *args, **options: self._broker.call(name, lambda: method(*args, **options))
