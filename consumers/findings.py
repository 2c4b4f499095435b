"""From a detector's change of state to the finding that people and programs read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from consumers.pools import Transition
from consumers.runs import Run, SeriesKey
from detectors.kinds import Facts
from detectors.streams import Role
from losswatch.schema import Advice, Alike, Finding

MOST_NAMED: Final = 16
"""Further series that a finding names."""


def finding_id(run: str, phase: str, kind: str, subject: str | None, began: int) -> str:
    """The same for every state of one finding.

    >>> finding_id("ttt-42", "test", "diversity_collapse", None, 120)
    'ttt-42/test/diversity_collapse/-/120'
    """
    return f"{run}/{phase}/{kind}/{subject or '-'}/{began}"


def make_finding(
    run: Run,
    phase: str,
    subject: str | None,
    change: Transition,
    thresholds: Mapping[str, float],
    time: float,
    reference: SeriesKey | None = None,
    role: Role | None = None,
    *,
    others: Sequence[tuple[SeriesKey, Transition]] = (),
    series: int = 1,
) -> Finding:
    """Put a change of state into words.

    ``time`` is that of the record which brought the step, ``reference`` what the subject of a pair is judged against,
    ``role`` what a series is to the run, ``others`` the further series in which the same was found, ``series`` how many
    those are with the subject.
    """
    kind = change.kind
    facts = replace(
        _facts(run, phase, subject, change, thresholds, reference, role),
        others=[_facts(run, phase, key.label, its, thresholds, None, key.role) for key, its in others],
        series=series,
    )
    advice = kind.advise(facts)
    return Finding(
        run=run.run,
        time=time,
        id=finding_id(run.run, phase, kind.name, subject, change.began),
        kind=kind.name,
        phase=phase,
        subject=subject,
        severity=kind.severity,
        state=facts.state,
        began=change.began,
        confirmed=change.confirmed,
        step=change.step,
        value=_value(change),
        threshold=thresholds[kind.threshold] if kind.threshold else None,
        message=kind.describe(facts),
        evidence=_evidence(change),
        advice=Advice(action=advice.action, component=advice.component, value=advice.value) if advice else None,
        also=[Alike(subject=key.label, value=_value(its), evidence=_evidence(its)) for key, its in others[:MOST_NAMED]],
        series=series,
    )


def _facts(
    run: Run,
    phase: str,
    subject: str | None,
    change: Transition,
    thresholds: Mapping[str, float],
    reference: SeriesKey | None,
    role: Role | None,
) -> Facts:
    return Facts(
        phase=phase,
        subject=subject,
        state=change.state,  # type: ignore[arg-type]  # one of consumers.pools.STATES
        began=change.began,
        step=change.step,
        readings=change.readings,
        thresholds=thresholds,
        weights=run.objective(phase).weights,
        reference=None if reference is None else f"{reference.phase} {reference.label}",
        role=role,
        checkpoints=run.checkpoints,
        slots={name: dict(zip(run.classes.names, values, strict=False)) for name, values in change.slots.items()},
    )


def _value(change: Transition) -> float | None:
    value = change.readings[change.kind.value]
    return value if not math.isnan(value) or change.kind.threshold is None else None


def _evidence(change: Transition) -> dict[str, float]:
    return {name: change.readings[name] for name in change.kind.evidence if not math.isnan(change.readings[name])}
