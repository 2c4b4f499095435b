"""The state of a run in words, and which runs need looking at first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from consumers.view import RunView
from detectors.temporal.anomaly import CHANGES
from losswatch.schema import Advice, Alike, Finding

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
    "performance_collapse": "{subject} lost what it had gained, seen since step",
    "diversity_decline": "Class entropy is heading for its floor, since step",
    "diversity_collapse": "Class entropy fell below its floor at step",
    "temporal_anomaly": "Unusual values of {subject} at step",
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
    about = " ({subject})" if finding.subject else ""
    words = HEADLINES.get(finding.kind, f"{title(finding.kind)}{about} since step")
    return f"{words.replace('{subject}', subject(finding) or 'A value')} {number(finding.began)}"


def subject(finding: Finding) -> str | None:
    """What a finding is about; None where that is the whole phase."""
    more = finding.series - 1
    return f"{finding.subject} and {more} more series" if finding.subject and more else finding.subject


def evidence(finding: Finding | Alike) -> list[tuple[str, str]]:
    """The other readings of a finding, each with its name, in words.

    >>> evidence(Alike(subject="seg", value=1e6, evidence={"anomaly_score": 0.5, "anomaly_change": 2.0}))
    [('Anomaly score', '0.5'), ('Anomaly change', 'a level shift')]
    """
    return [
        ("Series value" if name == "value" else title(name.removesuffix("_ratio")), _worded(name, value))
        for name, value in finding.evidence.items()
    ]


def alike(finding: Finding) -> list[str]:
    """A line for each of the other series that a finding names, and one for those that it does not.

    >>> readings = {"value": 3.0, "anomaly_expected": 1.0, "anomaly_low": 0.9, "anomaly_high": 1.1}
    >>> other = Alike(subject="seg", value=1e6, evidence=readings | {"anomaly_score": 0.56, "anomaly_change": 1.0})
    >>> alike(Finding(
    ...     run="r", time=0, id="", kind="temporal_anomaly", phase="train", subject="total", severity="info",
    ...     state="firing", began=9, confirmed=9, step=9, value=1e7, threshold=5e4, message="", also=[other], series=4
    ... ))
    ['seg: a spike, 3 where 1 was expected (usual 0.9 to 1.1), score 0.56', 'and 2 more']
    """
    say = _anomaly if finding.kind == "temporal_anomaly" else _readings
    lines = [say(other) for other in finding.also]
    left = finding.series - 1 - len(finding.also)
    return [*lines, f"and {left} more"] if finding.also and left > 0 else lines


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
        return "Stop the job and go back to the best checkpoint from before it began"
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
    if value == int(value) and abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.1 else f"{value:.4g}"


def percent(ratio: float | None) -> str:
    """A share for people.

    >>> [percent(x) for x in (0.4637, 0.0, 1.0, 0.0004, None)]
    ['46 %', '0 %', '100 %', '0.04 %', 'unknown']
    """
    if ratio is None:
        return "unknown"
    return f"{100 * ratio:.0f} %" if ratio == 0 or ratio >= 0.1 else f"{100 * ratio:.2g} %"


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


def _anomaly(other: Alike) -> str:
    change = _worded("anomaly_change", other.evidence.get("anomaly_change", 0.0))
    names = ("value", "anomaly_expected", "anomaly_low", "anomaly_high", "anomaly_score")
    value, expected, low, high, score = (number(other.evidence.get(name)) for name in names)
    return f"{other.subject}: {change}, {value} where {expected} was expected (usual {low} to {high}), score {score}"


def _readings(other: Alike) -> str:
    """As of any kind.

    >>> _readings(Alike(subject="seg", value=1.2, evidence={"spike_rise_ratio": 1.2, "spike_noise_scales": 8.0}))
    'seg: spike rise 1.2, spike noise scales 8'
    """
    return f"{other.subject}: " + ", ".join(f"{name.lower()} {value}" for name, value in evidence(other))


def _worded(name: str, value: float) -> str:
    """A reading in words where its number stands for some."""
    if name == "anomaly_change" and 0 <= value <= len(CHANGES):
        return ("none", *CHANGES)[int(value)]
    if name == "anomaly_direction":
        return "up" if value > 0 else "down"
    return number(value)


def _listed(lines: Sequence[str]) -> str:
    return "; ".join(lines[:2]) + (f" and {len(lines) - 2} more" if len(lines) > 2 else "")


def _more(findings: Sequence[Finding]) -> str:
    return f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""


def _at(run: RunView) -> str:
    return f" at step {number(max(run.steps.values()))}" if run.steps else ""
