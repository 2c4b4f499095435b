"""What became of runs, and what was published of them, to be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import pytest
import torch

from consumers.memory import MemoryBroker
from consumers.source import Slot
from consumers.worker import Worker
from detectors.catalog import CELLS
from losswatch.encoding import decode
from losswatch.schema import Finding
from losswatch.topics import DLQ, FINDINGS, STATE

Readings = Mapping[str, Mapping[tuple[str, ...], float]]
Told = tuple[str, str, int, str]
"""A finding's id, state, step and message."""


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
