"""The state of a run in words, and which runs need looking at first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from consumers.view import RunView
from losswatch.schema import Advice, Finding

Level = Literal["critical", "warning", "info", "pending", "failed", "silent", "warming", "healthy", "finished"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""Worst first."""
LABELS: Final[dict[Level, str]] = {
    "critical": "Critical",
    "warning": "Warning",
    "info": "Notice",
    "pending": "Pending",
    "failed": "Failed",
    "silent": "Silent",
    "warming": "Warming up",
    "healthy": "Healthy",
    "finished": "Finished",
}
HEADLINES: Final[dict[str, str]] = {
    "non_finite": "{subject} stopped being finite at step",
    "component_conflict": "{subject} rises while the total falls, since step",
    "component_dominates": "{subject} is all of the total, since step",
    "component_inert": "{subject} counts for nothing in the total, since step",
    "component_stagnates": "{subject} is still where it began, seen at step",
    "component_at_floor": "{subject} is stuck at its lowest value, since step",
    "log_variance_clamped": "The log variance of {subject} is at a clamp or out of range, since step",
    "diversity_decline": "Class entropy is heading for its floor, since step",
    "diversity_collapse": "Class entropy fell below its floor at step",
}
"""How a kind is told, up to the step it began at; other kinds are told by their name."""


@dataclass(frozen=True, slots=True)
class State:
    """How a run is doing."""

    level: Level
    words: str
    """One sentence, without a full stop."""

    @property
    def label(self) -> str:
        """The level as a word."""
        return LABELS[self.level]

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return LEVELS.index(self.level)


def state_of(run: RunView, findings: Sequence[Finding], now: float) -> State:
    """How a run is doing: firing findings first, then what keeps it from being called healthy."""
    firing = sorted((f for f in findings if f.state == "firing"), key=lambda f: (LEVELS.index(f.severity), f.began))
    if firing:
        return State(firing[0].severity, told(firing[0]) + _more(firing))
    ended = {"finished": "Finished", "stopped": "Stopped", "failed": "The job failed"}.get(run.status)
    if ended:
        return State("failed" if run.status == "failed" else "finished", f"{ended}{_at(run)}; nothing was firing")
    pending = [f for f in findings if f.state == "pending"]
    if pending:
        return State("pending", told(pending[0]) + _more(pending))
    if run.status == "lost":
        words = f"Gone: no sign of life for {duration(now - run.seen)}; it stood{_at(run) or ' at no step'}"
        return State("silent", words)
    if run.status == "silent" and run.seen > run.reported > 0:
        words = f"Alive, but nothing reported for {duration(now - run.reported)}; it stands{_at(run) or ' at no step'}"
        return State("silent", words)
    if run.status == "silent":
        return State("silent", f"Nothing heard for {duration(now - run.seen)}; it stood{_at(run) or ' at no step'}")
    if run.warming:
        return State("warming", f"Not judged yet: {_listed([plain(line) for line in run.warming])}")
    return State("healthy", f"Nothing found in {number(run.steps_seen)} steps")


def headline(finding: Finding) -> str:
    """What happened and at which step it began.

    >>> finding = Finding(
    ...     run="r", time=0, id="", kind="diversity_collapse", phase="test", subject=None, severity="critical",
    ...     state="firing", began=120, confirmed=124, step=124, value=0.84, threshold=0.85, message=""
    ... )
    >>> headline(finding)
    'Class entropy fell below its floor at step 120'
    >>> told(finding)
    'Class entropy fell below its floor at step 120, confirmed at 124'
    """
    words = HEADLINES.get(finding.kind, title(finding.kind) + " since step")
    return f"{words.replace('{subject}', finding.subject or 'A value')} {number(finding.began)}"


def told(finding: Finding) -> str:
    """The headline and how sure it is."""
    sure = {
        "pending": ", not confirmed yet",
        "firing": "" if finding.confirmed is None else f", confirmed at {number(finding.confirmed)}",
        "resolved": f", resolved at {number(finding.step)}",
    }
    return headline(finding) + sure[finding.state]


def advised(advice: Advice) -> str:
    """The advice as an instruction.

    >>> advised(Advice(action="set_weight", component="diversity", value=0.134))
    'Set the weight of diversity to 0.134'
    """
    if advice.action == "stop":
        return "Stop the job and go back to a checkpoint from before it began"
    value = "more" if advice.value is None else number(advice.value)
    return f"Set the weight of {advice.component or 'the component'} to {value}"


def title(kind: str) -> str:
    """``diversity_collapse`` as "Diversity collapse"."""
    return plain(kind).capitalize()


def plain(name: str) -> str:
    """``diversity_collapse (test)`` as "diversity collapse (test)"."""
    return name.replace("_", " ")


def number(value: float | None) -> str:
    """A number for people: four digits (three where it is small), thousands apart.

    >>> [number(x) for x in (0.78213, 0.0070612, 12000, 2.5e-7, float("nan"), float("-inf"), None)]
    ['0.7821', '0.00706', '12,000', '2.5e-07', 'NaN', '-∞', 'unknown']
    """
    if value is None:
        return "unknown"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A span of time, in its largest unit.

    >>> [duration(x) for x in (-3, 0.4, 59, 61, 7200, 200_000)]
    ['0 s', '0 s', '59 s', '1 min', '2 h', '2 d']
    """
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _listed(lines: Sequence[str]) -> str:
    return "; ".join(lines[:2]) + (f" and {len(lines) - 2} more" if len(lines) > 2 else "")


def _more(findings: Sequence[Finding]) -> str:
    return f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""


def _at(run: RunView) -> str:
    return f" at step {number(max(run.steps.values()))}" if run.steps else ""
