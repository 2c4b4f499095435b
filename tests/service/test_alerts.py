"""The alerts the service makes itself are those that the rules of Prometheus make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from consumers.view import View
from losswatch.schema import Finding
from service.alerts import AGREE_SECONDS, HOLD_SECONDS, REPEAT_SECONDS, Board, Wording
from tests.service.sample_view import HOSTILE, NOW, finding, run, sample_view

WORDING = Wording(
    {"cluster": "a"}, "https://losswatch.acme.io", "https://grafana.acme.io", "https://wiki.acme.io/{alert}"
)
COLLAPSE = finding("a", "diversity_collapse", "critical", "firing", 120, 124, 0.78, 0.85, "It fell to 0.78.")


def view(*findings: Finding, team: str = "research") -> View:
    return View(runs={"a": run("a", labels={"team": team})}, findings={"a": findings})


def step(board: Board, shown: View, now: float) -> list[dict[str, Any]]:
    """What is due, taken by Alertmanager at once."""
    due = board.due(shown, now)
    board.took(due, now)
    return list(due.values())


def resolved(found: Finding) -> Finding:
    return found.model_copy(update={"state": "resolved"})


def test_a_firing_finding_becomes_the_alert_of_its_rule() -> None:
    (alert,) = step(Board(WORDING), view(COLLAPSE), NOW)
    assert alert["labels"] == {
        "alertname": "LosswatchDiversityCollapse",
        "severity": "critical",
        "run": "a",
        "phase": "test",
        "kind": "diversity_collapse",
        "team": "research",
        "cluster": "a",
    }
    assert alert["annotations"] == {
        "summary": "Diversity collapse.",
        "description": "It fell to 0.78.",
        "run_url": "https://losswatch.acme.io/runs/a",
        "dashboard_url": "https://grafana.acme.io/d/losswatch-run?var-run=a&var-phase=test",
        "runbook_url": "https://wiki.acme.io/LosswatchDiversityCollapse",
    }


def test_a_job_with_a_clock_ahead_of_ours_makes_no_alert_that_begins_after_it_ends() -> None:
    (alert,) = step(Board(WORDING), view(COLLAPSE.model_copy(update={"time": NOW + 9000})), NOW)
    assert alert["startsAt"] < alert["endsAt"]


def test_an_alert_is_repeated_before_it_expires_and_not_more_often() -> None:
    board = Board(WORDING)
    told = [now for now in range(181) if step(board, view(COLLAPSE), NOW + now)]
    assert told == [0, 60, 120, 180]
    assert REPEAT_SECONDS < HOLD_SECONDS / 2


def test_a_resolved_finding_ends_its_alert_once_prometheus_has_seen_it_too() -> None:
    board = Board(WORDING)
    (began,) = step(board, view(COLLAPSE), NOW)
    told = {s: alerts for s in range(200) if (alerts := step(board, view(resolved(COLLAPSE)), NOW + 1 + s))}
    assert list(told) == [AGREE_SECONDS]
    assert told[int(AGREE_SECONDS)][0]["labels"] == began["labels"]
    assert began["startsAt"] <= told[int(AGREE_SECONDS)][0]["endsAt"] < began["endsAt"]


def test_a_finding_that_fires_again_goes_on_with_its_alert() -> None:
    board = Board(WORDING)
    step(board, view(COLLAPSE), NOW)
    assert not step(board, view(resolved(COLLAPSE)), NOW + 30)
    assert not step(board, view(COLLAPSE), NOW + 40)
    assert [a["endsAt"] > a["startsAt"] for a in step(board, view(COLLAPSE), NOW + 100)] == [True]


def test_a_run_that_is_dropped_does_not_resolve_its_alert() -> None:
    board = Board(WORDING)
    step(board, view(COLLAPSE), NOW)
    assert not [alerts for s in range(600) if (alerts := step(board, View(), NOW + s))]


def test_what_is_pending_or_was_never_told_makes_no_alert() -> None:
    board = Board(WORDING)
    pending = COLLAPSE.model_copy(update={"state": "pending", "confirmed": None})
    for shown in (pending, resolved(COLLAPSE)):
        assert not [alerts for s in range(200) if (alerts := step(board, view(shown), NOW + s))]


def test_what_alertmanager_did_not_take_stays_due() -> None:
    board = Board(WORDING)
    assert board.due(view(COLLAPSE), NOW)
    assert board.due(view(COLLAPSE), NOW + 1)


def test_hostile_names_become_labels_and_links() -> None:
    shown = sample_view()
    alerts = step(Board(replace(WORDING, longest_label=40)), shown, NOW)
    (hostile,) = (alert for alert in alerts if alert["labels"]["kind"] == "non_finite")
    assert hostile["labels"]["run"].startswith(HOSTILE[:20])
    assert len(hostile["labels"]["run"]) == 40
    assert not set(hostile["annotations"]["run_url"].removeprefix("https://losswatch.acme.io/runs/")) & set('</?#" \n')
