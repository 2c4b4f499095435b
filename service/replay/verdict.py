"""How a replayed run did, in words, and which runs need looking at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal, get_args

from detectors.catalog import KINDS
from losswatch.schema import Finding
from service.page import words
from service.replay.engine import RunResult

Severity = Literal["critical", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""Worst first."""
Level = Severity | Literal["pending", "unknown", "quiet"]
LEVELS: Final[tuple[Level, ...]] = ("critical", "warning", "info", "pending", "unknown", "quiet")
"""Worst first; that nothing was found says something only where something was looked for."""
LABELS: Final[Mapping[Level, str]] = {
    "critical": "Critical",
    "warning": "Warning",
    "info": "Notice",
    "pending": "Pending",
    "unknown": "Not judged",
    "quiet": "Nothing found",
}
AT_THE_END: Final = {
    "pending": "not confirmed when the log ended",
    "firing": "still firing when the log ended",
    "resolved": "over",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a whole run."""

    level: Level
    fired: Sequence[Finding]
    """Findings that ever fired, worst and earliest first: how each stood when the log ended, told as when it fired."""
    pending: Sequence[Finding]
    """Findings that were not confirmed when the log ended."""
    silent: Sequence[str]
    """Kinds that had input but never left their warm-up, or never had all they need."""
    blind: Sequence[str]
    """Kinds whose input the log does not have."""

    @property
    def label(self) -> str:
        """The level as a word."""
        return LABELS[self.level]

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return LEVELS.index(self.level)


def verdict_on(result: RunResult) -> Verdict:
    """How a run did."""
    fired = sorted((_told(f, result.fired[f.id]) for f in result.findings if f.id in result.fired), key=_urgency)
    pending = [f for f in result.findings if f.state == "pending" and f.id not in result.fired]
    silent = [kind for kind in KINDS if result.judged.get(kind) == 0]
    blind = [kind for kind in KINDS if kind not in result.judged]
    judged = len(silent) + len(blind) < len(KINDS)
    level: Level = fired[0].severity if fired else "pending" if pending else "quiet" if judged else "unknown"
    return Verdict(level, fired, pending, silent, blind)


def in_a_line(verdict: Verdict, most: int = 4) -> str:
    """The findings of a run in a line: what, of what, since which step.

    >>> in_a_line(Verdict("quiet", [], [], [], []))
    'nothing found'
    """
    findings = verdict.fired or verdict.pending
    if verdict.level == "unknown":
        return "not judged"
    if not findings:
        return "nothing found" + (f"; {len(verdict.silent)} kinds never judged" if verdict.silent else "")
    first: dict[tuple[str, str], Finding] = {}
    count = Counter[tuple[str, str]]()
    for finding in findings:
        key = (finding.kind, _about(finding))
        first.setdefault(key, finding)
        count[key] += 1
    told = [
        f"{words.plain(finding.kind)} ({key[1]}) since step {words.number(finding.began)}"
        + (f", {count[key]} times" if count[key] > 1 else "")
        for key, finding in list(first.items())[:most]
    ]
    more = [f"and {len(first) - most} more"] if len(first) > most else []
    unsure = [] if verdict.fired else ["not confirmed"]
    return "; ".join(told + more + unsure)


def unjudged(verdict: Verdict) -> Sequence[str]:
    """What was not judged and why, in sentences."""
    lines = []
    if verdict.silent:
        lines.append(f"Never judged, too few steps or a part of the input missing: {_listed(verdict.silent)}.")
    if verdict.blind:
        lines.append(f"Not looked for, the log has no such input: {_listed(verdict.blind)}.")
    return lines


def sure(finding: Finding) -> str:
    """Since when, how sure, and how it stood when the log ended."""
    confirmed = "" if finding.confirmed is None else f", confirmed at {words.number(finding.confirmed)}"
    over = f" at {words.number(finding.step)}" if finding.state == "resolved" else ""
    return f"since step {words.number(finding.began)}{confirmed}; {AT_THE_END[finding.state]}{over}"


def at_least(level: Severity) -> frozenset[str]:
    """The severities that are as bad, or worse.

    >>> sorted(at_least("warning"))
    ['critical', 'warning']
    """
    return frozenset(SEVERITIES[: SEVERITIES.index(level) + 1])


def shortened(runs: Sequence[str]) -> list[str]:
    """The runs without the folders that all of them are in.

    >>> shortened(["old/a/1", "old/b/1"]), shortened(["old/a/1"])
    (['a/1', 'b/1'], ['old/a/1'])
    """
    folders = [run.split("/")[:-1] for run in runs] if len(runs) > 1 else [[]]
    depth = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, zip(*folders, strict=False)))
    return ["/".join(run.split("/")[depth:]) for run in runs]


def _told(newest: Finding, fired: Finding) -> Finding:
    """That something is over says less than what it was."""
    told = {name: getattr(fired, name) for name in ("message", "value", "threshold", "evidence", "advice", "also")}
    return newest if newest.state != "resolved" else newest.model_copy(update=told)


def _urgency(finding: Finding) -> tuple[int, int]:
    return SEVERITIES.index(finding.severity), finding.began


def _about(finding: Finding) -> str:
    return f"{finding.phase} {finding.subject}" if finding.subject else finding.phase


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(map(words.plain, kinds))
