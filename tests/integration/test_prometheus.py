"""A collapse reaches a person: job -> Kafka -> service -> Prometheus -> Alertmanager -> webhook, all of it real."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import torch

import losswatch
from examples.test_time_adaptation import PHASE, SAFE_WEIGHT, WEAK_WEIGHT, Progress, adapt, prepare
from tests.brokers import start_tansu
from tests.integration.alerting import Alerting, alerting
from tests.integration.process import ServiceProcess, wait_for

FLOOR = 0.85
CONFIRMED = 30
"""Steps past a crossing of the floor after which the finding has surely changed its state."""


@dataclass(slots=True)
class Job:
    """The demo's training job, stepped by the test."""

    steps: Iterator[Progress]
    weight: list[float]

    def collapse(self) -> None:
        """Go on until class entropy has been below the floor for a while."""
        self._until(below=True)

    def recover(self) -> None:
        """Raise the diversity weight and go on until class entropy has been above the floor for a while."""
        self.weight[0] = SAFE_WEIGHT
        self._until(below=False)

    def _until(self, below: bool) -> None:
        since = 0
        for progress in self.steps:
            since = since + 1 if (progress.class_entropy < FLOOR) is below else 0
            if since == CONFIRMED:
                return
        raise AssertionError("the job has no step left")


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    with start_tansu() as broker:
        yield broker.address


@pytest.fixture(scope="module")
def service(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    log = tmp_path_factory.mktemp("service") / "log"
    with ServiceProcess(kafka, log, partitions="2", session_seconds="6") as process:
        yield process


@pytest.fixture(scope="module")
def alerts(service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    with alerting(service.url.removeprefix("http://"), tmp_path_factory.mktemp("alerting")) as pair:
        yield pair


@contextmanager
def job(kafka: str, run: str, weight: float = WEAK_WEIGHT, team: str = "research") -> Iterator[Job]:
    weights, threads = [weight], torch.get_num_threads()
    torch.set_num_threads(1)  # several would only wait for each other on a busy machine
    with losswatch.start(run=run, bootstrap_servers=kafka, classes=list(range(10)), labels={"team": team}) as publisher:
        try:
            yield Job(adapt(prepare(seed=0), publisher, lambda: weights[0], steps=2000), weights)
        finally:
            torch.set_num_threads(threads)


def test_a_collapse_reaches_the_pager_and_resolves_when_the_job_takes_the_larger_weight(
    kafka: str, alerts: Alerting
) -> None:
    with ExitStack() as stack:
        healthy = stack.enter_context(job(kafka, "healthy", SAFE_WEIGHT))
        collapsing = stack.enter_context(job(kafka, "ttt-42"))
        for _ in range(150):
            next(healthy.steps)
        collapsing.collapse()
        told = alerts.inbox.wait("LosswatchDiversityCollapse", run="ttt-42")
        collapsing.recover()
        alerts.inbox.wait("LosswatchDiversityCollapse", "resolved", run="ttt-42")

    assert told.receiver == "research-pager"
    assert told.labels == {
        "alertname": "LosswatchDiversityCollapse",
        "severity": "critical",
        "run": "ttt-42",
        "phase": PHASE,
        "kind": "diversity_collapse",
        "team": "research",
    }
    assert told.annotations["summary"] == "The predictions of a training run collapsed onto few classes."
    # Several records together are judged: the newest of them may be well below the floor by then.
    assert re.match(rf"Run ttt-42, phase {PHASE}: class entropy fell to 0\.[78]\d\d ", told.annotations["description"])
    assert "(floor 0.850) and stayed there since step " in told.annotations["description"]
    assert told.annotations["advice"].startswith(("Set the weight of ", "Raise the weight of "))
    assert told.annotations["runbook_url"].endswith("/docs/runbooks/LosswatchDiversityCollapse.md")
    assert {n.labels.get("run") for n in alerts.inbox.received} <= {"ttt-42", None}, "the healthy run stays silent"


def test_a_kill_of_the_service_is_reported_and_does_not_resolve_the_alert_of_a_run(
    kafka: str, service: ServiceProcess, alerts: Alerting
) -> None:
    name = 'ttt "43" {{x}}'
    with job(kafka, name) as collapsing:
        collapsing.collapse()
        alerts.inbox.wait("LosswatchDiversityCollapse", run=name)
        told_at = time.time()
        wait_for(
            lambda: bool(alerts.query(f"losswatch_checkpoint_timestamp_seconds > {told_at}")), "a checkpoint is written"
        )
        died = len(alerts.inbox.received)
        service.kill()
        assert alerts.inbox.wait("LosswatchDown", after=died).receiver == "operators-pager"
        service.start()
        alerts.inbox.wait("LosswatchDown", "resolved", after=died)
        told = [(n.labels["alertname"], n.status) for n in alerts.inbox.received if n.labels.get("run") == name]
        assert ("LosswatchDiversityCollapse", "resolved") not in told
        collapsing.recover()
        alerts.inbox.wait("LosswatchDiversityCollapse", "resolved", run=name)


def test_the_watchdog_reaches_its_own_receiver(alerts: Alerting) -> None:
    assert alerts.inbox.wait("LosswatchWatchdog").receiver == "watchdog"


def test_prometheus_takes_every_sample_of_the_service(alerts: Alerting) -> None:
    wait_for(lambda: bool(alerts.query('up{job="losswatch"} == 1')), "the service is scraped")
    assert alerts.query("losswatch_ready")[0]["value"][1] == "1"
    assert not alerts.query("prometheus_target_scrapes_sample_duplicate_timestamp_total > 0")
