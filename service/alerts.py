"""Findings as the alerts that the rules of Prometheus make of them, so that Alertmanager takes both for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from consumers.view import View
from losswatch.schema import Finding
from service.metrics import TEAM, label, newest
from service.page.words import advised, title

Alert = dict[str, Any]
Key = frozenset[tuple[str, str]]
"""An alert's labels: its identity."""

HOLD_SECONDS: Final = 300.0
"""An alert that is not repeated for so long ends: as long as the rules hold the last word of a service that died."""
REPEAT_SECONDS: Final = 60.0
"""How often a firing one is repeated."""
AGREE_SECONDS: Final = 60.0
"""How long after a finding its alert is ended: until then Prometheus, one scrape and one evaluation behind, still says
that it fires, and the alert would come back."""


def alert_name(kind: str) -> str:
    """The alert of a kind of finding.

    >>> alert_name("diversity_collapse")
    'LosswatchDiversityCollapse'
    """
    return "Losswatch" + "".join(part.capitalize() for part in kind.split("_"))


@dataclass(frozen=True, slots=True)
class Wording:
    """What the deployment adds to the alerts: labels of its own, and where the links lead."""

    labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""
    grafana_url: str = ""
    runbook_url: str = ""
    """``{alert}`` stands for the alert's name."""
    longest_label: int = 200

    def identity(self, finding: Finding, team: str) -> dict[str, str]:
        """The labels; those that are empty are none to Prometheus."""
        labels = {
            "severity": finding.severity,
            "run": finding.run,
            "phase": finding.phase,
            "kind": finding.kind,
            "subject": finding.subject or "",
            "team": team,
        }
        cut = {name: label(value, self.longest_label) for name, value in labels.items() if value}
        return {**self.labels, "alertname": alert_name(finding.kind), **cut}

    def annotations(self, finding: Finding) -> dict[str, str]:
        """The text and the links; names as they are in the labels."""
        run, phase = (label(name, self.longest_label) for name in (finding.run, finding.phase))
        alert = alert_name(finding.kind)
        texts = {
            "summary": f"{title(finding.kind)}.",
            "description": finding.message,
            "advice": f"{advised(finding.advice)}." if finding.advice else "",
            "run_url": f"{self.external_url}/runs/{quote(run, safe='')}" if self.external_url else "",
            "dashboard_url": (
                f"{self.grafana_url}/d/losswatch-run?var-run={quote(run, safe='')}&var-phase={quote(phase, safe='')}"
                if self.grafana_url
                else ""
            ),
            "runbook_url": self.runbook_url.replace("{alert}", alert),
        }
        return {name: text.encode(errors="replace").decode() for name, text in texts.items() if text}


@dataclass(slots=True)
class _Told:
    alert: Alert
    at: float
    """When Alertmanager last took it, Unix seconds."""
    over: float | None = None
    """Since when its finding is resolved."""


class Board:
    """What one Alertmanager was told. Makes what it has to be told next; knows no network and no clock.

    A finding that is gone from the view without having been resolved (its run was dropped, or moved to another service)
    is not ended: its alert expires, or the other service goes on repeating it.
    """

    def __init__(self, wording: Wording) -> None:
        self._wording = wording
        self._told: dict[Key, _Told] = {}

    def due(self, view: View, now: float) -> dict[Key, Alert]:
        """The alerts to send at ``now`` (Unix seconds): new ones, those to repeat, and those that are over."""
        found = self._findings(view)
        self._told = {key: told for key, told in self._told.items() if key in found}
        alerts: dict[Key, Alert] = {}
        for key, finding in found.items():
            told = self._told.get(key)
            if finding.state == "firing":
                if told is not None:
                    told.over = None
                if told is None or now - told.at >= REPEAT_SECONDS:
                    alerts[key] = self._alert(key, finding, now)
            elif told is not None:
                told.over = now if told.over is None else told.over
                if now - told.over >= AGREE_SECONDS:
                    alerts[key] = told.alert | {"endsAt": _time(now)}
        return alerts

    def took(self, alerts: Mapping[Key, Alert], now: float) -> None:
        """Alertmanager took these."""
        for key, alert in alerts.items():
            known = self._told.get(key)
            if known is not None and known.over is not None:
                del self._told[key]
            else:
                self._told[key] = _Told(alert, now)

    def _findings(self, view: View) -> dict[Key, Finding]:
        found: dict[Key, Finding] = {}
        for name, findings in view.findings.items():
            run = view.runs.get(name)
            team = run.labels.get(TEAM, "") if run else ""
            for finding in newest(findings):
                found[frozenset(self._wording.identity(finding, team).items())] = finding
        return found

    def _alert(self, key: Key, finding: Finding, now: float) -> Alert:
        annotations = self._wording.annotations(finding)
        return {
            "labels": dict(sorted(key)),
            "annotations": annotations,
            "startsAt": _time(min(finding.time, now)),
            "endsAt": _time(now + HOLD_SECONDS),
            "generatorURL": annotations.get("run_url", ""),
        }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
