"""Many logs through one fleet: what its detectors make of each.

The blocks of all open logs go through the detectors together, which is much faster than one log after the
other; what is found in a log does not depend on it.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import torch

from consumers.feed import Feed
from consumers.fleet import Fleet
from consumers.pools import Pool
from consumers.rows import Limits
from consumers.runs import MAX_FINDINGS, Run
from consumers.telemetry import Telemetry
from consumers.traces import Traces
from detectors import catalog
from losswatch.fields import MAX_NAME
from losswatch.schema import Finding, Record, RunStart, Steps
from service.replay.curves import Curves
from service.replay.judging import judged_steps, judging
from service.replay.notes import Unreadable
from service.replay.sources import Log

AT_ONCE: Final = 32
"""Logs that are open together."""
STEPS_A_TURN: Final = 2048
"""Steps that are read of each open log before the next turn."""
BLOCK_STEPS: Final = 512
"""Steps of a row that go through the detectors together: one long log is then read much faster."""

log: Final = logging.getLogger(__name__)
Tell = Callable[[Finding], None]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the detectors made of one run of a log."""

    run: str
    own: str
    """The name that the log gives it; ``run`` tells it from the runs of other logs."""
    path: Path
    format: str
    declared: RunStart | None
    status: str
    steps: int
    """Steps of all phases."""
    newest_step: Mapping[str, int]
    late_steps: int
    duplicates: int
    findings: Sequence[Finding]
    """The newest state of each, by the step it began at; the newest `consumers.runs.MAX_FINDINGS` of them."""
    fired: Mapping[str, Finding]
    """Those of them that ever fired, as they were when they did, by id."""
    judged: Mapping[str, int]
    """At how many steps each kind was judged; kinds whose input the log does not have are not in it."""
    components: Mapping[str, Sequence[str]]
    """The components of each phase's objective."""
    readings: Mapping[str, Mapping[str, float]]
    """The newest readings of each phase's objective, by phase and name."""
    curves: Curves | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file: its runs, and why it could not be read (to its end)."""

    path: Path
    runs: Sequence[RunResult]
    error: Unreadable | None
    unusable: Sequence[str] = ()
    """Why records of it could not be used, each reason once."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """See `service.replay.sources.Log`."""
    explained: str | None = None
    """See `service.replay.sources.Log.explain`."""


class Names:
    """Names under which runs of many files are told apart: their own, unless an earlier file has it too.

    >>> names = Names()
    >>> [names.of(path, "resnet") for path in (Path("a"), Path("b"), Path("a"))]
    ['resnet', 'resnet (2)', 'resnet']
    """

    def __init__(self) -> None:
        self._given: dict[tuple[Path, str], str] = {}
        self._taken: set[str] = set()

    def of(self, path: Path, run: str) -> str:
        """The name of a file's run."""
        if (name := self._given.get((path, run))) is None:
            name, number = run, 1
            while name in self._taken:
                number += 1
                name = f"{run[: MAX_NAME - 10]} ({number})"
            self._given[path, run] = name
            self._taken.add(name)
        return name


class Replay:
    """See the module's docstring.

    ``open_log`` opens a file or raises Unreadable. ``curves`` says whether to keep what a report draws.
    """

    def __init__(
        self,
        open_log: Callable[[Path], Log],
        thresholds: Mapping[str, float] | None = None,
        limits: Limits | None = None,
        *,
        dtype: Literal["float64", "float32"] = "float64",
        curves: bool = False,
        at_once: int = AT_ONCE,
        steps_a_turn: int = STEPS_A_TURN,
    ) -> None:
        self.telemetry = Telemetry()
        self._fleet = Fleet(
            self.telemetry,
            cells=judging(catalog.CELLS),
            thresholds=thresholds,
            limits=limits or Limits(),
            dtype=torch.float64 if dtype == "float64" else torch.float32,
            block_steps=BLOCK_STEPS,
        )
        self._feed = Feed(self._fleet)
        self._open_log, self._curves, self._at_once, self._steps_a_turn = open_log, curves, at_once, steps_a_turn
        self._names = Names()

    def results(
        self, paths: Sequence[Path], tell: Tell | None = None, turned: Callable[[int], None] | None = None
    ) -> Iterator[Outcome]:
        """What became of each file, in their order. ``tell`` hears every change of a finding, file by file;
        ``turned`` hears now and then how many steps are done."""
        waiting = deque(paths)
        opened: deque[_Open] = deque()
        while waiting or opened:
            while waiting and sum(not each.done for each in opened) < self._at_once:
                opened.append(self._open(waiting.popleft()))
            self._turn([each for each in opened if not each.done])
            if turned is not None:
                turned(self.telemetry.total("steps"))
            while opened:
                first = opened[0]
                for finding in first.told:
                    if tell is not None:
                        tell(finding)
                first.told.clear()
                if not first.done:
                    break
                opened.popleft()
                yield first.outcome()

    def _open(self, path: Path) -> _Open:
        opened = _Open(path)
        try:
            opened.log = self._open_log(path)
            self._names.of(path, opened.log.run)
            opened.records = opened.log.records()
        except Exception as error:
            opened.fail(error)
        return opened

    @torch.inference_mode()
    def _turn(self, opened: Sequence[_Open]) -> None:
        """Let every open log go on by some steps."""
        batch: list[Record] = []
        owners: dict[str, _Open] = {}
        for each in opened:
            for record in each.read(self._steps_a_turn):
                name = each.names[record.run] = self._names.of(each.path, record.run)
                owners[name] = each
                batch.append(record if name == record.run else record.model_copy(update={"run": name}))
        findings, dead = self._feed.take(batch)
        for finding in findings:
            owners[finding.run].hear(finding)
        for letter in dead:
            owners[(letter.message.key or b"").decode()].unusable.setdefault(f"{letter.reason}: {letter.detail}")
        if self._curves:
            for record in batch:
                if isinstance(record, Steps) and (run := self._fleet.runs.get(record.run)) is not None:
                    owners[record.run].curves.setdefault(record.run, Curves()).add(run, record)
        for each in opened:
            if each.done:
                self._close(each)

    def _close(self, opened: _Open) -> None:
        for own, name in opened.names.items():
            if (run := self._fleet.runs.get(name)) is not None:
                opened.results.append(self._result(opened, run, own))
                self._fleet.drop(run)

    def _result(self, opened: _Open, run: Run, own: str) -> RunResult:
        assert opened.log is not None
        return RunResult(
            run=run.run,
            own=own,
            path=opened.path,
            format=opened.log.format,
            declared=run.declared,
            status=run.status,
            steps=run.steps,
            newest_step=dict(run.newest_step),
            late_steps=run.late_steps,
            duplicates=run.duplicates,
            findings=sorted(run.findings.values(), key=lambda f: (f.began, f.phase, f.kind, f.subject or "")),
            fired={name: f for name, f in opened.fired.get(run.run, {}).items() if name in run.findings},
            judged=judged_steps(self._fleet.rows, run.run),
            components={phase: list(row.slots) for phase, row in run.objectives.items()},
            readings={phase: _readings(row.pool, row.row) for phase, row in run.objectives.items()},
            curves=self._curves_of(opened, run) if self._curves else None,
        )

    def _curves_of(self, opened: _Open, run: Run) -> Curves:
        curves = opened.curves.get(run.run, Curves())
        for trace in Traces(self._fleet)[run.run]:
            if trace.kind == "reading":
                curves.add_reading(trace.phase, trace.name, trace.steps, trace.values)
        return curves


@dataclass(slots=True)
class _Open:
    """A file on its way through."""

    path: Path
    log: Log | None = None
    records: Iterator[Record] = field(default_factory=lambda: iter(()))
    names: dict[str, str] = field(default_factory=dict)
    """Of its runs in this replay, by their own: see `Names`."""
    told: list[Finding] = field(default_factory=list)
    """Changes of findings that are still to be told."""
    fired: dict[str, dict[str, Finding]] = field(default_factory=dict)
    """By run and id."""
    unusable: dict[str, None] = field(default_factory=dict)
    curves: dict[str, Curves] = field(default_factory=dict)
    results: list[RunResult] = field(default_factory=list)
    error: Unreadable | None = None
    done: bool = False

    def read(self, steps: int) -> Iterator[Record]:
        """The next records, of about so many steps."""
        taken = 0
        while taken < steps:
            try:
                record = next(self.records, None)
            except Exception as error:
                self.fail(error)
                return
            if record is None:
                self.done = True
                return
            taken += len(record.step) if isinstance(record, Steps) else 1
            yield record

    def fail(self, error: Exception) -> None:
        """Nothing more can be read of it."""
        self.done = True
        if isinstance(error, Unreadable):
            self.error = error
        elif isinstance(error, OSError):
            self.error = Unreadable(self.path, None, error.strerror or str(error))
        else:
            log.exception("%s could not be read: a fault of losswatch", self.path, exc_info=error)
            self.error = Unreadable(self.path, None, f"a fault of losswatch: {type(error).__name__}: {error}")

    def outcome(self) -> Outcome:
        """What became of it."""
        warnings, explained = (dict(self.log.warnings), self.log.explain()) if self.log is not None else ({}, None)
        return Outcome(self.path, self.results, self.error, list(self.unusable), warnings, explained)

    def hear(self, finding: Finding) -> None:
        """A finding of one of its runs changed."""
        self.told.append(finding)
        if finding.state == "firing":
            fired = self.fired.setdefault(finding.run, {})
            fired[finding.id] = finding
            if len(fired) > 2 * MAX_FINDINGS:
                del fired[next(iter(fired))]


def _readings(pool: Pool, row: int) -> dict[str, float]:
    """The newest readings of a row, but those per slot; unknown ones left out."""
    pool.read()
    values = {
        name.removeprefix("now."): float(value[row])
        for name, value in pool.state.items()
        if name.startswith("now.") and value.dim() == 1
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}
