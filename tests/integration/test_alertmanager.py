"""The deployed Alertmanager, really running: who hears what, in which words, and what is kept back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.messages import CASES
from tests.integration.alerting import Alertmanager, alertmanager
from tests.integration.process import wait_for

GOLDEN = Path(__file__).parent / "golden"
COLLAPSE = CASES["collapse"]["alerts"][0]
CONFLICT = CASES["conflicts"]["alerts"][0]
DOWN = CASES["down"]["alerts"][0]


@pytest.fixture(scope="module")
def delivering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as running:
        yield running


def of(alert: dict[str, Any], over: bool = False, **labels: str) -> dict[str, Any]:
    """An alert as Prometheus posts it, with other labels; ``cluster`` keeps the tests apart."""
    ends = datetime.now(UTC) + timedelta(seconds=-1 if over else 300)
    return {
        "labels": alert["labels"] | labels,
        "annotations": alert["annotations"],
        "startsAt": alert["startsAt"],
        "endsAt": ends.isoformat(),
    }


def gone() -> dict[str, Any]:
    return {
        "labels": {"alertname": "LosswatchRunGone", "severity": "info"},
        "annotations": {"summary": "A training run that was in trouble is no longer watched."},
        "startsAt": COLLAPSE["startsAt"],
    }


def heard(delivering: Alertmanager, cluster: str) -> list[tuple[str, str, str]]:
    """Receiver, alert and status of what webhooks got of a cluster."""
    told = delivering.inbox.received
    return [(n.receiver, n.labels["alertname"], n.status) for n in told if n.labels.get("cluster") == cluster]


def channels(delivering: Alertmanager, run: str) -> set[str]:
    return {message["channel"] for message in delivering.inbox.slack if run in json.dumps(message)}


def is_known_and_muted(delivering: Alertmanager, **labels: str) -> Callable[[], bool]:
    return lambda: [alert["status"]["state"] for alert in delivering.alerts(**labels)] == ["suppressed"]


@pytest.mark.parametrize(
    ("alert", "team", "channel", "pager", "mail"),
    [
        (COLLAPSE, "research", "#research-training", "research-pager", True),
        (CONFLICT, "research", "#research-training", None, True),
        (COLLAPSE, "vision", "#losswatch", "runs-pager", False),
        (CONFLICT, "vision", "#losswatch", None, False),
    ],
    ids=["research-pager", "research", "runs-pager", "runs"],
)
def test_an_alert_on_a_run_reaches_those_whose_run_it_is(
    delivering: Alertmanager,
    alert: dict[str, Any],
    team: str,
    channel: str,
    pager: str | None,
    mail: bool,
    request: pytest.FixtureRequest,
) -> None:
    case = re.sub(r"\W", "-", request.node.name)
    delivering.post(of(alert, run=case, cluster=case, team=team))
    wait_for(lambda: channels(delivering, f"{case}:") == {channel}, "Slack", 10)
    if mail:
        wait_for(lambda: any(f"{case}:" in str(m["Subject"]) for m in delivering.inbox.mail), "mail", 10)
    if pager:
        delivering.inbox.wait(alert["labels"]["alertname"], cluster=case)
    assert {receiver for receiver, _, _ in heard(delivering, case)} == ({pager} if pager else set())
    assert any(f"{case}:" in str(m["Subject"]) for m in delivering.inbox.mail) is mail


def test_an_alert_on_losswatch_itself_reaches_its_operators(delivering: Alertmanager) -> None:
    delivering.post(of(DOWN, cluster="operators"))
    assert delivering.inbox.wait("LosswatchDown", cluster="operators").receiver == "operators-pager"
    wait_for(lambda: channels(delivering, "No losswatch is watching") == {"#losswatch-operators"}, "Slack", 10)


def test_the_messages_are_the_golden_ones(delivering: Alertmanager) -> None:
    """After a wanted change, delete the golden files: a failing run writes them anew."""
    inbox = delivering.inbox
    delivering.post(of(COLLAPSE, run="golden", cluster="golden"))
    inbox.wait("LosswatchDiversityCollapse", cluster="golden")
    wait_for(lambda: bool(channels(delivering, "golden:")), "Slack", 10)
    wait_for(lambda: any("golden:" in str(m["Subject"]) for m in inbox.mail), "mail", 10)
    webhook = next(d for d in inbox.deliveries if d["commonLabels"].get("run") == "golden")
    for alert in webhook["alerts"]:
        alert["fingerprint"] = "..."
        assert alert.pop("endsAt").startswith("0001-01-01"), "a firing alert has no end"
    slack = next(message for message in inbox.slack if "golden:" in json.dumps(message))
    mail = next(m for m in inbox.mail if "golden:" in str(m["Subject"]))
    parts = {name: mail.get_body((name,)) for name in ("plain", "html")}
    texts = {
        "webhook.json": json.dumps(webhook, indent=2, sort_keys=True) + "\n",
        "slack.json": json.dumps(slack, indent=2, sort_keys=True) + "\n",
        "mail.txt": f"To: {mail['To']}\nSubject: {mail['Subject']}\n\n"
        + (parts["plain"].get_content() if parts["plain"] else ""),
        "mail.html": parts["html"].get_content() if parts["html"] else "",
    }
    missing = [name for name in texts if not (GOLDEN / name).exists()]
    for name in missing:
        (GOLDEN / name).parent.mkdir(exist_ok=True)
        (GOLDEN / name).write_text(texts[name], encoding="utf-8")
    assert not missing, "written: look at them"
    for name, text in texts.items():
        assert text.replace("\r\n", "\n") == (GOLDEN / name).read_text(encoding="utf-8"), name


def test_a_second_run_does_not_wait_for_the_group_of_the_first(delivering: Alertmanager) -> None:
    for run in ("first", "second"):
        delivering.post(of(COLLAPSE, run=run, cluster="two"))
        delivering.inbox.wait("LosswatchDiversityCollapse", run=run, cluster="two")
    groups = [d["groupLabels"] for d in delivering.inbox.deliveries if d["commonLabels"].get("cluster") == "two"]
    assert sorted(group["run"] for group in groups) == ["first", "second"]


def test_what_is_critical_mutes_the_warnings_of_the_same_run_only(delivering: Alertmanager) -> None:
    delivering.post(of(COLLAPSE, run="a", cluster="mute"))
    delivering.inbox.wait("LosswatchDiversityCollapse", run="a", cluster="mute")
    delivering.post(of(CONFLICT, run="a", cluster="mute"), of(CONFLICT, run="b", cluster="mute"))
    wait_for(
        is_known_and_muted(delivering, alertname="LosswatchComponentConflict", run="a", cluster="mute"), "muting", 10
    )
    wait_for(lambda: "#losswatch" in channels(delivering, "b: The total loss"), "the warning of the other run", 10)
    assert not channels(delivering, '"a: The total loss')


def test_while_nobody_watches_runs_are_silent_even_about_what_ends(delivering: Alertmanager) -> None:
    delivering.post(of(COLLAPSE, run="ttt-42", cluster="dead"))
    delivering.inbox.wait("LosswatchDiversityCollapse", run="ttt-42", cluster="dead")
    delivering.post(of(DOWN, cluster="dead"))
    delivering.inbox.wait("LosswatchDown", cluster="dead")
    wait_for(is_known_and_muted(delivering, run="ttt-42", cluster="dead"), "muting", 10)
    delivering.post(of(COLLAPSE, over=True, run="ttt-42", cluster="dead"))
    delivering.post(of(DOWN, cluster="dead", instance="later"))  # what comes after it was told
    delivering.inbox.wait("LosswatchDown", cluster="dead", instance="later")
    assert ("research-pager", "LosswatchDiversityCollapse", "resolved") not in heard(delivering, "dead")


def test_a_service_that_is_down_mutes_nothing_of_another_cluster(delivering: Alertmanager) -> None:
    delivering.post(of(DOWN, cluster="down-here"))
    delivering.inbox.wait("LosswatchDown", cluster="down-here")
    delivering.post(of(COLLAPSE, run="ttt-42", cluster="up-there"))
    delivering.inbox.wait("LosswatchDiversityCollapse", cluster="up-there")


def test_a_run_that_was_dropped_is_not_reported_as_resolved(delivering: Alertmanager) -> None:
    for run in ("dropped", "repaired"):
        delivering.post(of(COLLAPSE, run=run, cluster="gone"))
        delivering.inbox.wait("LosswatchDiversityCollapse", run=run, cluster="gone")
    delivering.post(of(gone(), run="dropped", cluster="gone"))
    wait_for(is_known_and_muted(delivering, severity="critical", run="dropped", cluster="gone"), "muting", 10)
    for run in ("dropped", "repaired"):
        delivering.post(of(COLLAPSE, over=True, run=run, cluster="gone"))
    delivering.inbox.wait("LosswatchDiversityCollapse", "resolved", run="repaired", cluster="gone")
    told = [(n.labels["run"], n.status) for n in delivering.inbox.received if n.labels.get("cluster") == "gone"]
    assert ("dropped", "resolved") not in told
    assert not [name for _, name, _ in heard(delivering, "gone") if name == "LosswatchRunGone"], "it goes to nobody"
