from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from consumers.telemetry import Telemetry
from consumers.view import View
from service import push
from service.alerts import Wording
from service.push import LOOK_SECONDS, Push, authorization, pushing
from service.settings import Settings
from tests.integration.process import wait_for
from tests.service.sample_view import finding, run, sample_view


class StandIn:
    """An Alertmanager that answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.delay = threading.Event()
        self.delay.set()
        self.posted: list[tuple[str, dict[str, str], list[dict[str, Any]]]] = []


@contextmanager
def listening(stand_in: StandIn) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.delay.wait(30)
            stand_in.posted.append((self.path, dict(self.headers), body))
            self.send_response(stand_in.status)
            if 300 <= stand_in.status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            if stand_in.status >= 400:
                self.wfile.write(b"no <such> label")

        def do_GET(self) -> None:
            raise AssertionError("a redirect was followed")

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        stand_in.delay.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def alertmanager() -> StandIn:
    return StandIn()


@pytest.fixture
def url(alertmanager: StandIn) -> Iterator[str]:
    with listening(alertmanager) as at:
        yield at


def pusher(url: str, telemetry: Telemetry, view: View | None = None) -> Push:
    return Push(url, lambda: view or sample_view(), telemetry, Wording(), {"Authorization": "Bearer x"})


def test_what_fires_is_posted_once(alertmanager: StandIn, url: str) -> None:
    telemetry = Telemetry()
    push = pusher(url + "/", telemetry)
    assert push.turn() == push.turn() == LOOK_SECONDS
    ((path, headers, alerts),) = alertmanager.posted
    assert path == "/api/v2/alerts"
    assert headers["Authorization"] == "Bearer x"
    assert {alert["labels"]["alertname"] for alert in alerts} == {
        "LosswatchDiversityCollapse",
        "LosswatchComponentConflict",
        "LosswatchNonFinite",
    }
    assert (telemetry.total("notifications"), telemetry.total("notification_failures")) == (3, 0)


@pytest.mark.parametrize("status", [301, 400, 401, 503])
def test_a_refusal_is_counted_and_tried_again_ever_later_until_it_is_taken(
    alertmanager: StandIn, url: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry, alertmanager.status = Telemetry(), status
    push = pusher(url, telemetry)
    pauses = [push.turn() for _ in range(4)]
    assert [0.8 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses)] == [True] * 4
    assert telemetry.total("notification_failures") == 4
    assert len(caplog.records) == 1, "the log says it once"
    assert f"status {status}" in caplog.text
    alertmanager.status = 200
    assert push.turn() == LOOK_SECONDS
    assert telemetry.total("notifications") == 3


def test_an_alertmanager_that_is_not_there_is_a_failure(unused_port: int) -> None:
    telemetry = Telemetry()
    assert pusher(f"http://127.0.0.1:{unused_port}", telemetry).turn() <= 1.0
    assert telemetry.total("notification_failures") == 1


def test_many_alerts_go_in_several_requests(alertmanager: StandIn, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "MOST", 40)
    names = [f"run-{i}" for i in range(100)]
    found = {name: [finding(name, "non_finite", "critical", "firing", 1, 1, None, None, "NaN.")] for name in names}
    pusher(url, Telemetry(), View(runs={name: run(name) for name in names}, findings=found)).turn()
    assert [len(alerts) for _, _, alerts in alertmanager.posted] == [40, 40, 20]


def test_one_that_does_not_answer_delays_neither_the_others_nor_the_end(alertmanager: StandIn, url: str) -> None:
    alertmanager.delay.clear()
    quick = StandIn()
    with listening(quick) as other:
        settings = Settings(alertmanager_urls=f"{url},{other}", alertmanager_labels={"cluster": "a"})
        begun = time.monotonic()
        with pushing(settings, sample_view, Telemetry()):
            wait_for(lambda: bool(quick.posted), "the other one is told", 5)
        assert time.monotonic() - begun < 4
    assert quick.posted[0][2][0]["labels"]["cluster"] == "a"


def test_a_token_wins_over_a_password() -> None:
    settings = Settings(alertmanager_user="me", alertmanager_password=SecretStr("pw"))
    assert authorization(settings) == {"Authorization": "Basic bWU6cHc="}
    assert authorization(settings.model_copy(update={"alertmanager_token": SecretStr("t")})) == {
        "Authorization": "Bearer t"
    }
    assert authorization(Settings()) == {}


@pytest.mark.parametrize("wrong", ["alertmanager:9093", "http://me:pw@alertmanager:9093", "http://a, http://b"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(wrong: str) -> None:
    with pytest.raises(ValidationError):
        Settings(alertmanager_urls=wrong)
