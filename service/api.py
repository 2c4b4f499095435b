"""The JSON shapes of the API. NaN (not known) is null; infinities are the strings of the wire."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from consumers.view import RunView, Trace, View
from losswatch.schema import Finding
from service.page.words import State


def plain(value: Any) -> Any:
    """Nested values as JSON can hold them.

    >>> plain({"a": (1.5, float("nan"), float("-inf"))})
    {'a': [1.5, None, '-Infinity']}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def summary(run: RunView, state: State, findings: Sequence[Finding]) -> dict[str, Any]:
    """One run of a list."""
    return {
        "run": run.run,
        "job": run.job,
        "labels": dict(run.labels),
        "status": run.status,
        "state": state.level,
        "words": state.words,
        "started": run.started,
        "seen": run.seen,
        "steps": dict(run.steps),
        "findings": {one: sum(f.state == one for f in findings) for one in ("firing", "pending", "resolved")},
    }


def detail(run: RunView, state: State, view: View) -> dict[str, Any]:
    """All that is known of one run."""
    findings = view.findings.get(run.run, ())
    readings = [
        {"name": table.name, "labels": dict(zip(table.labels, key[1:], strict=True)), "value": value}
        for table in view.tables
        for key, value in zip(table.keys, table.values.tolist(), strict=True)
        if key[0] == run.run
    ]
    return (
        summary(run, state, findings)
        | {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
        | {
            "readings": readings,
            "traces": [trace(one) for one in view.traces.get(run.run, ())],
            "findings": [finding(one) for one in findings],
        }
    )


def trace(one: Trace) -> dict[str, Any]:
    """A series' past."""
    return {"phase": one.phase, "kind": one.kind, "name": one.name, "steps": one.steps, "values": one.values}


def finding(one: Finding) -> dict[str, Any]:
    """A finding, as on the wire."""
    return one.model_dump(exclude={"session", "seq", "dropped"})
