"""The fleet's tensors as the read-only view that scrapes, API and page read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from consumers.courses import Restart
from consumers.fleet import Fleet
from consumers.pools import Pool
from consumers.runs import RowKey, Run
from consumers.traces import Traces
from consumers.view import RunView, Table, View
from detectors.cell import UNKNOWN
from detectors.kinds import Reading
from detectors.streams import ROLES
from losswatch.schema import Finding

LABELS: Final = {
    ("objective", "row"): ("phase",),
    ("objective", "slot"): ("phase", "component"),
    ("series", "row"): ("phase", "series"),
    ("predictions", "row"): ("phase",),
    ("predictions", "slot"): ("phase", "class"),
    ("labels", "row"): ("phase",),
    ("labels", "slot"): ("phase", "class"),
    ("scores", "row"): ("phase",),
    ("representation", "row"): ("phase",),
    ("proxy", "row"): ("phase", "errors"),
    ("coverage", "row"): ("phase", "slice"),
    ("declaration", "row"): ("phase",),
    ("generalization", "row"): ("phase", "series"),
    ("decoupling", "row"): ("phase", "series"),
    ("slices", "row"): ("phase", "series"),
    ("formulas", "row"): ("phase", "series"),
}
"""The labels of a reading after the run, by stream and by what it is per."""
MOST_CLASSES: Final = 16
"""Slots of the pools whose readings per class are told: a thousand classes would be a thousand series a run."""
STATES: Final = {"firing": 0, "pending": 1, "resolved": 2}
MISSED_BEATS: Final = 3
"""So many heartbeats must be missing before a run is called lost."""
SEVERITIES: Final = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class _Index:
    """Which entries of a pool's reading are there, and what each stands for."""

    version: int
    keys: list[tuple[str, ...]]
    places: tuple[npt.NDArray[np.int64], ...]
    """Rows, and slots where the reading is per slot."""


@dataclass(frozen=True, slots=True)
class _Groups:
    """The rows of a pool by run and phase."""

    version: int
    keys: list[tuple[str, str]]
    rows: npt.NDArray[np.int64]
    """Rows that are taken."""
    members: npt.NDArray[np.int64]
    """Place in ``keys`` of each of them."""
    roles: npt.NDArray[np.int64]
    """Place in `detectors.streams.ROLES` of each of them; 0 where rows are no series."""


class Painter:
    """Makes views; remembers from one to the next what did not change. Used on the worker's thread."""

    def __init__(self, fleet: Fleet, silent_after: float, lost_after: float = inf) -> None:
        self._fleet, self._silent_after, self._lost_after = fleet, silent_after, lost_after
        self._indices: dict[tuple[object, ...], _Index] = {}
        """By what it follows from: most readings of a pool share theirs."""
        self._groups: dict[tuple[str, int], _Groups] = {}
        self._runs: dict[str, tuple[object, RunView]] = {}

    def paint(self, now: float, caught_up: Set[int] | None = None) -> View:
        """The view at ``now`` (Unix seconds).

        No run is called lost whose partition is not ``caught_up`` (None: all are): its heartbeats may be waiting
        to be read.
        """
        fleet = self._fleet
        parts: dict[str, list[Table]] = {}
        warming: dict[str, list[str]] = {}
        for pool in fleet.rows.pools.values():
            for table in self._tables(pool):
                parts.setdefault(table.name, []).append(table)
            for run, words in _warming(pool, self._grouped(pool)):
                warming.setdefault(run, []).append(words)
        runs = {
            name: self._run_view(run, self._status(run, now, caught_up), warming.get(name, []))
            for name, run in fleet.runs.items()
        }
        self._runs = {name: known for name, known in self._runs.items() if name in runs}
        return View(
            made=now,
            runs=runs,
            tables=[_join(each) for each in parts.values()],
            traces=Traces(fleet),
            findings={
                name: sorted(run.findings.values(), key=_urgency) for name, run in fleet.runs.items() if run.findings
            },
        )

    def _tables(self, pool: Pool) -> Iterator[Table]:
        pool.read()
        for cell in pool.cells:
            for reading in cell.readings:
                if reading.exported and _is_told(pool, reading):
                    index = self._index(pool, reading)
                    values = pool.state[f"now.{reading.name}"].double().cpu().numpy()[index.places]
                    yield Table(reading.name, reading.help, LABELS[pool.stream, reading.per], index.keys, values)

    def _index(self, pool: Pool, reading: Reading) -> _Index:
        at = (pool.stream, pool.slots, reading.per, reading.roles)
        known = self._indices.get(at)
        if known is None or known.version != pool.version:
            known = self._indices[at] = _index(self._fleet.runs, pool, reading)
        return known

    def _grouped(self, pool: Pool) -> _Groups:
        known = self._groups.get((pool.stream, pool.slots))
        if known is None or known.version != pool.version:
            known = self._groups[pool.stream, pool.slots] = _groups(pool)
        return known

    def _status(self, run: Run, now: float, caught_up: Set[int] | None) -> str:
        """``lost`` is a run whose process is gone; ``silent`` one that lives, or never said how to tell."""
        if run.status != "running":
            return run.status
        beats = run.beats_every is not None and (caught_up is None or run.partition in caught_up)
        if beats and now - run.heard > max(self._lost_after, MISSED_BEATS * (run.beats_every or 0.0)):
            return "lost"
        return "silent" if now - run.told > self._silent_after else "running"

    def _run_view(self, run: Run, status: str, warming: list[str]) -> RunView:
        state = (run.records, run.duplicates, status, warming)
        known = self._runs.get(run.run)
        if known is None or known[0] != state:
            known = self._runs[run.run] = (state, _run_view(run, status, warming))
        return known[1]


def _urgency(finding: Finding) -> tuple[int, int, int]:
    """Firing before pending before resolved, critical first, then the newest."""
    return STATES[finding.state], SEVERITIES[finding.severity], -finding.step


def _join(parts: list[Table]) -> Table:
    """One table of those that pools of several widths have."""
    first = parts[0]
    if len(parts) == 1:
        return first
    keys = [key for part in parts for key in part.keys]
    return Table(first.name, first.help, first.labels, keys, np.concatenate([part.values for part in parts]))


def _index(runs: Mapping[str, Run], pool: Pool, reading: Reading) -> _Index:
    keys: list[tuple[str, ...]] = []
    rows: list[int] = []
    slots: list[int] = []
    for row, key in enumerate(pool.keys):
        if key is None:
            continue
        if reading.per == "slot":
            names = _slot_names(runs[key.run], pool, key)
            keys += [(key.run, key.phase, name) for name in names]
            rows += [row] * len(names)
            slots += range(len(names))
        elif len(LABELS[pool.stream, reading.per]) == 2 and key.series is None:
            keys.append((key.run, key.phase, key.subject or ""))
            rows.append(row)
        elif key.series is None:
            keys.append((key.run, key.phase))
            rows.append(row)
        elif not reading.roles or key.series.role in reading.roles:
            keys.append((key.run, key.phase, key.series.label))
            rows.append(row)
    places: Any = (rows, slots) if reading.per == "slot" else (rows,)
    return _Index(pool.version, keys, tuple(np.array(place, dtype=np.int64) for place in places))


def _is_told(pool: Pool, reading: Reading) -> bool:
    return reading.per == "row" or pool.stream == "objective" or pool.slots <= MOST_CLASSES


def _slot_names(run: Run, pool: Pool, key: RowKey) -> list[str]:
    """What the slots of a row stand for, as far as they are taken."""
    if pool.stream == "objective":
        return list(run.objectives[key.phase].slots)
    return run.classes.names[: pool.slots]


def _warming(pool: Pool, groups: _Groups) -> Iterator[tuple[str, str]]:
    """The run and the words for every kind that cannot judge anything of a phase yet."""
    for cell in pool.cells:
        for kind in cell.kinds:
            if kind.conditional:
                continue
            given = (pool.state[f"verdict.{kind.name}"] != UNKNOWN).cpu().numpy()[groups.rows]
            known = given if given.ndim == 1 else given.any(1)
            judged = np.isin(groups.roles, [ROLES.index(role) for role in kind.roles or ROLES])
            size = len(groups.keys)
            there = np.bincount(groups.members[judged], minlength=size)
            told = np.bincount(groups.members[judged & known], minlength=size)
            for group in np.flatnonzero((there > 0) & (told == 0)):
                run, phase = groups.keys[group]
                yield run, f"{kind.name} ({phase})"


def _groups(pool: Pool) -> _Groups:
    keys: dict[tuple[str, str], int] = {}
    rows = [row for row, key in enumerate(pool.keys) if key is not None]
    members = [keys.setdefault((pool.keys[row].run, pool.keys[row].phase), len(keys)) for row in rows]
    series = pool.stream == "series"
    roles = [ROLES.index(pool.keys[row].series.role) if series else 0 for row in rows]
    return _Groups(pool.version, list(keys), *(np.array(each, dtype=np.int64) for each in (rows, members, roles)))


def _restarted(restart: Restart | None) -> dict[str, Any]:
    return {} if restart is None else {name: getattr(restart, name) for name in ("phase", "step", "reached", "time")}


def _run_view(run: Run, status: str, warming: list[str]) -> RunView:
    return RunView(
        run=run.run,
        job=run.declared.job if run.declared else None,
        labels=run.declared.labels if run.declared else {},
        status=status,
        partition=run.partition,
        started=run.started,
        seen=run.seen,
        reported=run.reported,
        steps=dict(run.newest_step),
        steps_seen=run.steps,
        records=run.records,
        duplicates=run.duplicates,
        gaps=run.sessions.missing,
        late_steps=run.late_steps,
        dropped=run.sessions.dropped,
        sessions=len(run.sessions.by_id),
        warming=warming,
        declared=run.declared.model_dump(mode="json", exclude_unset=True) if run.declared else {},
        checkpoints=dict(run.checkpoints),
        restarts=run.restarts[0],
        restarted=_restarted(run.restarts[1]),
    )
