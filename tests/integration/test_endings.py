"""What ends, and what only seems to: real Prometheus and Alertmanager on a service that the test speaks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from consumers.telemetry import Telemetry
from consumers.view import View
from service.http import Web
from service.metrics import Exposition
from service.page import Pages
from service.push import pushing
from service.server import Server
from service.settings import Settings
from tests.brokers import free_port
from tests.integration.alerting import Alerting, alerting, alertmanager, prometheus
from tests.integration.process import wait_for
from tests.service.sample_view import NOW, finding, run

HOLD = "6s"
URL = "https://losswatch.example.org"


@dataclass(slots=True)
class Fleet:
    """A service whose view the test makes up."""

    port: int = field(default_factory=free_port)
    findings: dict[str, Literal["firing", "resolved"]] = field(default_factory=dict)

    def view(self) -> View:
        runs = {name: run(name, labels={"team": "vision"}) for name in self.findings}
        return View(
            NOW,
            runs,
            findings={
                name: [finding(name, "diversity_collapse", "critical", state, 120, 124, 0.78, 0.85, "It fell to 0.78.")]
                for name, state in self.findings.items()
            },
        )

    @contextmanager
    def serving(self) -> Iterator[None]:
        telemetry = Telemetry()
        telemetry.ready = True
        exposition = Exposition(self.view, telemetry, {"class_entropy_floor": 0.85}, "1", URL)
        with Server(Web(self.view, telemetry, exposition, Pages({}, "-", "1")).application(), "127.0.0.1", self.port):
            yield


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def alerts(fleet: Fleet, tmp_path: Path) -> Iterator[Alerting]:
    with alerting(f"127.0.0.1:{fleet.port}", tmp_path, HOLD) as pair:
        yield pair


def over(alerts: Alerting, name: str) -> Callable[[], bool]:
    """Whether Prometheus has ended the alert of a run, and an evaluation more."""
    fires = f'ALERTS{{alertname="LosswatchDiversityCollapse",run="{name}"}}'
    return lambda: not alerts.query(f"last_over_time({fires}[2s])")


def told(alerts: Alerting, name: str) -> list[str]:
    return [n.status for n in alerts.inbox.received if n.labels.get("run") == name]


def test_a_finding_that_is_resolved_is_over_and_a_run_that_is_dropped_is_not(fleet: Fleet, alerts: Alerting) -> None:
    fleet.findings |= {"repaired": "firing", "dropped": "firing"}
    with fleet.serving():
        for name in ("repaired", "dropped"):
            begun = alerts.inbox.wait("LosswatchDiversityCollapse", run=name)
            assert begun.labels["team"] == "vision"
            assert begun.annotations["run_url"] == f"{URL}/runs/{name}"
        del fleet.findings["dropped"]
        wait_for(over(alerts, "dropped"), "the alert of the dropped run ends", 30)
        fleet.findings["repaired"] = "resolved"
        alerts.inbox.wait("LosswatchDiversityCollapse", "resolved", run="repaired")
    assert told(alerts, "dropped") == ["firing"]


def test_a_service_that_stays_dead_pages_and_resolves_nothing_and_goes_on_when_it_is_back(
    fleet: Fleet, alerts: Alerting
) -> None:
    fleet.findings["ttt-42"] = "firing"
    with fleet.serving():
        alerts.inbox.wait("LosswatchDiversityCollapse", run="ttt-42")
        died = len(alerts.inbox.received)
    assert alerts.inbox.wait("LosswatchDown", after=died).receiver == "operators-pager"
    wait_for(over(alerts, "ttt-42"), "the last word of the service expires", 30)
    with fleet.serving():
        alerts.inbox.wait("LosswatchDown", "resolved", after=died)
        assert told(alerts, "ttt-42") == ["firing"]
        fleet.findings["ttt-42"] = "resolved"
        wait_for(over(alerts, "ttt-42"), "Prometheus knows", 30)


def test_what_the_service_hands_over_and_what_the_rules_make_is_one_alert(fleet: Fleet, tmp_path: Path) -> None:
    fleet.findings["ttt-42"] = "firing"
    with alertmanager(tmp_path) as delivering, fleet.serving():
        settings = Settings(alertmanager_urls=delivering.url, external_url=URL)
        with pushing(settings, fleet.view, Telemetry()):
            pushed = delivering.inbox.wait("LosswatchDiversityCollapse", seconds=5, run="ttt-42")
            assert pushed.annotations["description"] == "It fell to 0.78."
            with prometheus(f"127.0.0.1:{fleet.port}", delivering.url, tmp_path):
                wait_for(
                    lambda: any("(floor 0.850)" in a["annotations"]["description"] for a in delivering.alerts()),
                    "the alert of the rule",
                    20,
                )
                (alert,) = delivering.alerts(alertname="LosswatchDiversityCollapse")
    assert alert["labels"] == pushed.labels
    assert alert["annotations"]["run_url"] == pushed.annotations["run_url"]
    assert told_once(delivering.inbox.deliveries)


def told_once(deliveries: list[dict[str, object]]) -> bool:
    """A second source of the same alert is no news."""
    return sum("LosswatchDiversityCollapse" in str(delivery) for delivery in deliveries) == 1
