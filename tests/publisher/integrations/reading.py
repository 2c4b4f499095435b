"""What the adapters' tests share: reading back what was published."""

from __future__ import annotations

from typing import Any

from losswatch.arrays import reported
from losswatch.schema import Predictions, Record, RunEnd, Steps
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import PREDICTIONS, STEPS, records_of


def blocks_of(transport: MemoryTransport, phase: str) -> list[Steps]:
    """The steps records of a phase."""
    records = records_of(transport.records, STEPS)
    return [record for record in records if isinstance(record, Steps) and record.phase == phase]


def series(transport: MemoryTransport, phase: str, name: str = "total") -> dict[int, float]:
    """What was reported under a name (``total``, ``components.NAME``, ``metrics.NAME``), by step."""
    out: dict[int, float] = {}
    for block in blocks_of(transport, phase):
        for place, values in block.arrays():
            if place == name:
                out |= {
                    int(step): float(value) for step, value in zip(block.step, values, strict=True) if reported(value)
                }
    return out


def names(transport: MemoryTransport, phase: str) -> set[str]:
    """Everything that was reported of a phase."""
    return {name for block in blocks_of(transport, phase) for name, _ in block.arrays()} - {"at"}


def measured(transport: MemoryTransport, phase: str) -> set[str]:
    """How the numbers of a phase are declared."""
    return {block.measured for block in blocks_of(transport, phase)}


def predictions(transport: MemoryTransport, phase: str) -> list[Predictions]:
    """The batches of predictions of a phase."""
    records = records_of(transport.records, PREDICTIONS)
    return [record for record in records if isinstance(record, Predictions) and record.phase == phase]


def endings(transport: MemoryTransport) -> list[tuple[str, str | None]]:
    """How each session of the run ended."""
    ends = [record for record in records_of(transport.records, STEPS) if isinstance(record, RunEnd)]
    return [(end.status, end.error) for end in ends]


def types(transport: MemoryTransport) -> list[str]:
    """The types of the records of the steps topic."""
    records: list[Record] = records_of(transport.records, STEPS)
    return [record.type for record in records]


def advised_to_stop(monkeypatch: Any, after: int) -> list[int]:
    """Make every run answer True to `should_stop` once it was asked ``after`` times; counts the questions."""
    asked = [0]

    def should_stop(run: object) -> bool:
        asked[0] += 1
        return asked[0] >= after

    monkeypatch.setattr("losswatch.Run.should_stop", should_stop)
    return asked
