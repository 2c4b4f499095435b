"""The read-only picture of the fleet that the worker publishes and the scrape, the API and the page read.

The worker makes a new `View` about once a second and swaps it in; nothing in it is changed afterwards,
so that readers on other threads need no lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from losswatch.schema import Finding


@dataclass(frozen=True, slots=True)
class Table:
    """One reading of every row that has it. NaN means not known (yet).

    ``labels`` names the parts of a key after the run, e.g. ``("phase", "component")``.
    """

    name: str
    """The metric's name without the ``losswatch_`` prefix, e.g. ``component_share_ratio``."""
    help: str
    labels: tuple[str, ...]
    keys: Sequence[tuple[str, ...]]
    """One per value: the run, then one value for each label."""
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trace:
    """A series' past, thinned to a bounded number of points, oldest first."""

    run: str
    phase: str
    kind: str
    """``total``, ``component``, ``metric``, ``slice`` or ``reading``."""
    name: str
    steps: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RunView:
    """One run, as words and numbers."""

    run: str
    job: str | None
    labels: Mapping[str, str]
    status: str
    """``running``, ``silent`` (nothing reported for a while), ``lost`` (its heartbeats stopped: the process is gone),
    ``finished``, ``failed`` or ``stopped``."""
    partition: int
    started: float
    """Unix seconds of its first record."""
    seen: float
    """Unix seconds of its newest record."""
    steps: Mapping[str, int]
    """Newest step by phase."""
    steps_seen: int
    records: int
    duplicates: int
    gaps: int
    late_steps: int
    dropped: Mapping[str, int]
    """What the hook says it dropped, by reason."""
    sessions: int
    warming: Sequence[str]
    """Detectors that cannot judge yet, in words: "unknown" is not "healthy"."""
    declared: Mapping[str, Any]
    """What ``run_start`` said, as JSON."""
    reported: float = 0.0
    """Unix seconds of its newest record that is more than a sign of life."""
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    """The newest that the job named, by step."""
    restarts: int = 0
    """How often the job went back to an earlier step."""
    restarted: Mapping[str, Any] = field(default_factory=dict)
    """The last time: ``phase``, the ``step`` it went back to, the newest step it had ``reached``, ``time``."""


@dataclass(frozen=True, slots=True)
class View:
    """The fleet at one moment."""

    made: float = 0.0
    """Unix seconds."""
    runs: Mapping[str, RunView] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    traces: Mapping[str, Sequence[Trace]] = field(default_factory=dict)
    """By run."""
    findings: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    """By run: the newest state of each finding, firing ones first. Bounded per run."""

    def of_run(self, run: str) -> dict[str, dict[tuple[str, ...], float]]:
        """The readings of one run: ``{table: {labels: value}}``, unknown ones left out."""
        return {
            table.name: values
            for table in self.tables
            if (
                values := {
                    key[1:]: float(value)
                    for key, value in zip(table.keys, table.values, strict=True)
                    if key[0] == run and not np.isnan(value)
                }
            )
        }
