"""Real logs with a person's labels, through the readers and detectors of ``losswatch replay``."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from detectors.catalog import KINDS
from service.replay.engine import Replay
from service.replay.sources import open_log

LABELS: Final = {
    "non_finite": "nan",
    "spike": "spikes",
    "divergence": "diverged",
    "plateau": "plateau",
    "performance_collapse": "diverged",
    "overfitting": "overfit",
    "diversity_collapse": "collapsed",
}
"""The label that says that a finding of a kind is right; kinds without one are counted on healthy logs only."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A log, its labels, and the kinds that fired on it."""

    id: str
    half: Literal["development", "test"]
    labels: frozenset[str]
    kinds: frozenset[str]
    error: str | None

    @property
    def healthy(self) -> bool:
        """Labelled healthy and nothing else."""
        return self.labels == {"healthy"}


def half_of(repo: str) -> Literal["development", "test"]:
    """By a hash of the repository, so that its logs stay together.

    >>> half_of("874416635/vehicle-counting")
    'development'
    """
    return "development" if hashlib.sha1(repo.encode()).digest()[0] % 2 == 0 else "test"


def judge(folder: Path) -> list[Judged]:
    """Every log of the folder's ``manifest.csv``."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        rows = list(csv.DictReader(manifest))
    outcomes = Replay(open_log).results([folder / row["file"] for row in rows])
    judged = []
    for row, outcome in zip(rows, outcomes, strict=True):
        kinds = frozenset(finding.kind for run in outcome.runs for finding in run.fired.values())
        labels = frozenset(row["labels"].split("|"))
        error = outcome.error.reason if outcome.error else None
        judged.append(Judged(row["id"], half_of(row["repo"]), labels, kinds, error))
    return judged


def table(judged: list[Judged]) -> Iterator[str]:
    """Kind by kind, on both halves."""
    yield "| kind | severity | half | healthy logs on which it fired | logs of its label on which it fired |"
    yield "|---|---|---|---:|---:|"
    for kind in KINDS.values():
        if kind.name not in LABELS and not any(kind.name in log.kinds for log in judged):
            continue
        for half in ("development", "test"):
            logs = [log for log in judged if log.half == half and log.error is None]
            healthy = [log for log in logs if log.healthy]
            wrong = sum(kind.name in log.kinds for log in healthy)
            label = LABELS.get(kind.name)
            sick = [log for log in logs if label in log.labels]
            right = f"{sum(kind.name in log.kinds for log in sick)} of {len(sick)}" if label else ""
            yield f"| `{kind.name}` | {kind.severity} | {half} | {wrong} of {len(healthy)} | {right} |"


def criticals(judged: list[Judged]) -> list[tuple[str, list[str]]]:
    """Logs labelled healthy on which a critical finding fired: there should be none."""
    critical = {name for name, kind in KINDS.items() if kind.severity == "critical"}
    return [(log.id, sorted(log.kinds & critical)) for log in judged if log.healthy and log.kinds & critical]
