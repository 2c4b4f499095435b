"""Records in few words, to compare them with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from losswatch.arrays import Floats, reported
from losswatch.schema import Record, RunStart, Steps


def told(records: Iterable[Record]) -> list[str]:
    """What the records say, a line for each declaration, and for each series with its first and last value."""
    lines: list[str] = []
    for record in records:
        where = f"{record.run.rsplit('/', 1)[-1]} {record.session}.{record.seq}"
        if isinstance(record, Steps):
            steps = f"{record.step[0]}..{record.step[-1]} ({len(record.step)})"
            lines.append(f"{where} {record.phase} {record.measured} steps {steps}")
            lines += _series(record)
        elif isinstance(record, RunStart):
            forms = {phase: objective.form for phase, objective in record.objective.items()}
            lines.append(f"{where} run_start metrics={record.metrics} objective={forms}")
        else:
            lines.append(f"{where} {record.type}")
    return lines


def phases(records: Iterable[Record]) -> dict[str, list[int]]:
    """The steps of each phase, over all runs."""
    out: dict[str, list[int]] = {}
    for record in records:
        if isinstance(record, Steps):
            out.setdefault(record.phase, []).extend(record.step.tolist())
    return out


def series(records: Iterable[Record], phase: str = "train") -> dict[str, list[float]]:
    """The reported values of each series of a phase by name, over all runs."""
    out: dict[str, list[float]] = {}
    for record in records:
        if isinstance(record, Steps) and record.phase == phase:
            for name, values in _named(record):
                out.setdefault(name, []).extend(values[reported(values)].tolist())
    return out


def totals(records: Iterable[Record], phase: str = "train") -> list[float]:
    """The totals of a phase."""
    return series(records, phase).get("total", [])


def _named(record: Steps) -> Iterator[tuple[str, Floats]]:
    groups: Mapping[str, Floats] = record.components | record.metrics
    yield from ([] if record.total is None else [("total", record.total)])
    yield from groups.items()


def _series(record: Steps) -> Iterator[str]:
    kinds = {**dict.fromkeys(record.components, "component"), **dict.fromkeys(record.metrics, "metric")}
    for name, values in _named(record):
        given = values[reported(values)]
        ends = f"{given[0]:.5g}..{given[-1]:.5g}" if len(np.unique(given)) > 1 else f"{given[0]:.5g}"
        count = "" if len(given) == len(values) else f" ({len(given)} values)"
        yield f"  {kinds.get(name, '')} {name} {ends}{count}".replace("   ", "  ")
