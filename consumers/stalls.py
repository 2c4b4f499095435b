"""Runs that report nothing any more: the one finding that is made by the clock and not by a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from consumers.findings import finding_id
from consumers.fleet import Fleet
from consumers.runs import Run
from detectors.kinds import Facts
from detectors.series.stalled import FACTOR, LEAST, REPORTS, STALLED, limit
from losswatch.schema import Finding


def stalls(fleet: Fleet, now: float, caught_up: Set[int]) -> list[Finding]:
    """The stalls that began or ended, at ``now`` (Unix seconds, this machine's clock).

    A run whose partition is not ``caught_up`` is left alone: its reports may be waiting to be read.
    """
    found = [
        finding for run in fleet.runs.values() if run.partition in caught_up for finding in _judge(fleet, run, now)
    ]
    fleet.dirty |= {finding.run for finding in found}
    return found


def remember(fleet: Fleet, told: Iterable[Finding]) -> None:
    """Take over the stalls that a worker told after its last checkpoint, oldest first: no record makes them again."""
    for finding in told:
        run = fleet.runs.get(finding.run)
        if run is not None:
            run.stalled = finding.state == "firing"
            run.note(finding)
            fleet.dirty.add(run.run)


def _judge(fleet: Fleet, run: Run, now: float) -> Iterator[Finding]:
    thresholds = {**fleet.defaults, **run.thresholds()}
    longest = limit(run.pace, thresholds[LEAST.name], thresholds[FACTOR.name])
    silent = now - run.told
    known = run.status == "running" and run.reports >= REPORTS and run.told > 0 and bool(run.newest_step)
    stalled = known and silent > longest
    if stalled == run.stalled:
        return
    run.stalled = stalled
    finding = _finding(run, now, silent, longest, thresholds)
    run.note(finding)
    fleet.telemetry.count("findings", finding.kind, finding.state)
    yield finding


def _finding(run: Run, now: float, silent: float, longest: float, thresholds: Mapping[str, float]) -> Finding:
    before = next((f for f in reversed(run.findings.values()) if f.kind == STALLED.name and f.state == "firing"), None)
    phase = run.phase if before is None or run.stalled else before.phase
    began = run.newest_step.get(phase, 0) if before is None or run.stalled else before.began
    facts = Facts(
        phase=phase,
        subject=None,
        state="firing" if run.stalled else "resolved",
        began=began,
        step=max(began, run.newest_step.get(phase, began)),
        readings={"silent_seconds": silent},
        thresholds=thresholds,
        weights={},
    )
    return Finding(
        run=run.run,
        time=now,
        id=finding_id(run.run, phase, STALLED.name, None, began),
        kind=STALLED.name,
        phase=phase,
        subject=None,
        severity=STALLED.severity,
        state=facts.state,
        began=began,
        confirmed=began,
        step=facts.step,
        value=silent,
        threshold=longest,
        message=STALLED.describe(facts),
    )
