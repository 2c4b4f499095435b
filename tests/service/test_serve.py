from __future__ import annotations

import json
import logging
import os
import signal
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from consumers.memory import MemoryBroker
from consumers.source import BrokerUnavailable
from consumers.telemetry import Telemetry
from consumers.view import View
from losswatch import topics
from service import serve
from service.serve import CannotServe, deployed_thresholds, prepare_topics, stopped_by_signals
from service.settings import Settings
from tests.service.sample_view import sample_view


class AwayBroker(MemoryBroker):
    """Does not answer the first ``times`` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def create_topics(self, partitions: int) -> list[str]:
        self.times -= 1
        if self.times >= 0:
            raise BrokerUnavailable("connection refused")
        return super().create_topics(partitions)


def test_missing_topics_are_created() -> None:
    broker = MemoryBroker()
    assert prepare_topics(broker, "memory", 4, Telemetry(), threading.Event())
    assert broker.partitions(topics.STATE) == 4


def test_a_broker_that_is_away_is_waited_for_and_named_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "RETRY_SECONDS", 0.001)
    telemetry = Telemetry()
    with caplog.at_level(logging.INFO):
        assert prepare_topics(AwayBroker(5), "kafka:9092", 2, telemetry, threading.Event())
    waiting = [record for record in caplog.records if "waiting for Kafka at kafka:9092" in record.getMessage()]
    assert len(waiting) == 1
    assert telemetry.total("broker_errors") == 5
    assert telemetry.heartbeat > 0


def test_waiting_for_the_broker_can_be_stopped() -> None:
    stop, telemetry = threading.Event(), Telemetry()
    done: list[bool] = []
    waiting = threading.Thread(
        target=lambda: done.append(prepare_topics(AwayBroker(10**9), "kafka:9092", 2, telemetry, stop))
    )
    waiting.start()
    stop.set()
    waiting.join(10)
    assert done == [False]


def test_topics_that_do_not_fit_each_other_are_refused() -> None:
    broker = MemoryBroker()
    broker.create_topic(topics.STEPS, 3)
    broker.create_topic(topics.PREDICTIONS, 4)
    with pytest.raises(CannotServe, match=r"losswatch\.steps has 3, losswatch\.predictions has 4"):
        prepare_topics(broker, "memory", 4, Telemetry(), threading.Event())


def test_the_deployments_thresholds_win_over_the_defaults() -> None:
    given = deployed_thresholds(Settings(thresholds={"class_entropy_floor": 0.7}))
    assert given["class_entropy_floor"] == 0.7
    assert given["class_entropy_target"] == 0.85


def test_a_signal_stops_and_one_that_comes_with_it_changes_nothing() -> None:
    stop = threading.Event()
    with stopped_by_signals(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class StandIn:
    """A worker that looks at its own service over HTTP and then asks it to stop."""

    def __init__(self, url: str, telemetry: Telemetry) -> None:
        self.view: View = sample_view()
        self.url, self.telemetry = url, telemetry
        self.seen: dict[str, Any] = {}

    def run(self, stop: threading.Event) -> None:
        self.telemetry.ready = True
        for path in ("/readyz", "/api/runs"):
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                self.seen[path] = json.load(answer)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)


def test_the_service_serves_until_it_is_told_to_stop(
    tansu: str, unused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    workers: list[StandIn] = []

    def make(settings: Settings, broker: object, telemetry: Telemetry, thresholds: object) -> StandIn:
        workers.append(StandIn(url, telemetry))
        return workers[0]

    with caplog.at_level(logging.INFO):
        serve.serve(Settings(bootstrap_servers=tansu, http_port=unused_port, partitions=2), make)
    assert workers[0].seen["/readyz"]["ready"]
    assert workers[0].seen["/api/runs"]["total"] == 7
    assert [record.getMessage() for record in caplog.records if record.name == "service.serve"][-1] == "stopped"
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)
