"""Groups of alerts as Alertmanager hands them to its templates, and to webhooks."""

from __future__ import annotations

from typing import Any

RUNBOOKS = "https://example.org/losswatch/docs/runbooks"
DASHBOARD = "https://grafana.example.org/d/losswatch-run?var-run="
COLLAPSE = "Run ttt-42, phase test: class entropy fell to 0.844 (floor 0.850) and stayed there since step 120."
CONFLICT = (
    "Run ttt-42, phase train: component {} rose by 45% over its past (threshold 15%) while the total fell, "
    "since step 12."
)
HOSTILE = '<script>alert("x")</script> & {{ .Labels }}'


def alert(status: str, labels: dict[str, str], annotations: dict[str, str]) -> dict[str, Any]:
    """One alert, since 14:03."""
    return {
        "status": status,
        "labels": labels,
        "annotations": annotations | {"runbook_url": f"{RUNBOOKS}/{labels['alertname']}.md"},
        "startsAt": "2025-11-22T14:03:05Z",
        "endsAt": "2025-11-22T14:41:10Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "",
    }


def group(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Alerts of one group."""

    def common(part: str) -> dict[str, str]:
        first = alerts[0][part].items()
        return dict(item for item in first if all(item in one[part].items() for one in alerts))

    return {
        "receiver": "runs",
        "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
        "alerts": list(alerts),
        "groupLabels": {name: value for name, value in common("labels").items() if name in ("alertname", "run")},
        "commonLabels": common("labels"),
        "commonAnnotations": common("annotations"),
        "externalURL": "https://alertmanager.example.org",
    }


def collapse(status: str, run: str = "ttt-42", description: str = COLLAPSE) -> dict[str, Any]:
    """A diversity collapse, with its advice and links."""
    return alert(
        status,
        {
            "alertname": "LosswatchDiversityCollapse",
            "severity": "critical",
            "run": run,
            "phase": "test",
            "kind": "diversity_collapse",
            "team": "research",
        },
        {
            "summary": "The predictions of a training run collapsed onto few classes.",
            "description": description,
            "advice": "Set the weight of diversity to 0.134.",
            "run_url": "https://losswatch.example.org/runs/ttt-42",
            "dashboard_url": f"{DASHBOARD}ttt-42&var-phase=test",
        },
    )


def conflict(component: str) -> dict[str, Any]:
    """A component conflict, of a service that does not say where its page is."""
    return alert(
        "firing",
        {
            "alertname": "LosswatchComponentConflict",
            "severity": "warning",
            "run": "ttt-42",
            "phase": "train",
            "kind": "component_conflict",
            "subject": component,
        },
        {
            "summary": "The total loss of a training run falls while one of its components rises.",
            "description": CONFLICT.format(component),
            "advice": f"Raise the weight of {component}, or choose the checkpoint by a metric and not by the total.",
            "run_url": "",
            "dashboard_url": f"{DASHBOARD}ttt-42&var-phase=train",
        },
    )


CASES = {
    "collapse": group(collapse("firing")),
    "collapse_over": group(collapse("resolved")),
    "conflicts": group(conflict("diversity"), conflict("smoothness")),
    "hostile": group(collapse("firing", HOSTILE, COLLAPSE.replace("ttt-42", HOSTILE))),
    "down": group(
        alert(
            "firing",
            {"alertname": "LosswatchDown", "severity": "critical"},
            {
                "summary": "No losswatch is watching.",
                "description": "For 2 minutes no losswatch could be scraped that is ready. Training runs go unwatched; "
                "their alerts are muted, not resolved.",
            },
        )
    ),
}
