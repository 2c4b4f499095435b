from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from starlette.testclient import TestClient

from consumers.telemetry import Telemetry
from consumers.view import View
from service.http import Web
from service.metrics import Exposition
from service.page import Pages, run_path
from service.server import AddressInUse, Server
from tests.service.sample_view import HOSTILE, NOW, THRESHOLDS, big_view, run, sample_view, traces


def web(view: View | None = None, *, ready: bool = True, beat: float = 999.5) -> Web:
    """The handlers at monotonic second 1000."""
    shown, telemetry = sample_view() if view is None else view, Telemetry()
    telemetry.ready, telemetry.heartbeat, telemetry.status = ready, beat, "watching" if ready else "waiting for Kafka"
    made = Exposition(lambda: shown, telemetry, THRESHOLDS, "1.2.3")
    pages = Pages(THRESHOLDS, "kafka:9092", "1.2.3")
    return Web(lambda: shown, telemetry, made, pages, clock=lambda: NOW, monotonic=lambda: 1000.0)


def client(view: View | None = None, **more: Any) -> TestClient:
    return TestClient(web(view, **more).application())


def test_metrics_negotiate_the_format() -> None:
    text = client().get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'losswatch_finding_state{kind="diversity_collapse"' in text.text
    answer = client().get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_health_is_the_age_of_the_heartbeat() -> None:
    assert client(beat=970.5).get("/healthz").status_code == 200
    answer = client(beat=969.5).get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"healthy": False, "reason": "the worker has not turned over for 30 s (limit 30 s)"}


def test_before_the_first_heartbeat_the_service_counts_as_healthy() -> None:
    assert client(beat=0.0).get("/healthz").status_code == 200


def test_readiness_tells_what_is_waited_for() -> None:
    assert client().get("/readyz").json() == {"ready": True, "status": "watching"}
    answer = client(ready=False).get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "waiting for Kafka")


def test_runs_are_listed_worst_first() -> None:
    runs = client().get("/api/runs").json()["runs"]
    assert [one["state"] for one in runs] == [
        "critical", "critical", "pending", "silent", "warming", "healthy", "finished",
    ]  # fmt: skip
    collapsing = next(one for one in runs if one["run"] == "ttt-collapse")
    assert collapsing["words"] == "Class entropy fell below its floor at step 120, confirmed at 124 (and 1 more)"
    assert collapsing["findings"] == {"firing": 2, "pending": 0, "resolved": 1}


def test_runs_can_be_filtered_and_paged() -> None:
    api = client()
    assert [one["run"] for one in api.get("/api/runs?status=silent").json()["runs"]] == ["gpt-small-17"]
    assert [one["run"] for one in api.get("/api/runs?state=warming").json()["runs"]] == ["resnet/seed=3"]
    page = api.get("/api/runs?limit=2&offset=6").json()
    assert (page["total"], [one["run"] for one in page["runs"]]) == (7, ["bert-base-lr3e-5"])


@pytest.mark.parametrize(
    "query", ["status=x", "limit=0", "limit=1001", "limit=a", "offset=-1", "offset=1e9", "limit=²"]
)
def test_a_wrong_query_is_told_what_is_allowed(query: str) -> None:
    answer = client().get(f"/api/runs?{query}")
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]


def test_a_run_is_told_in_full() -> None:
    told = client().get("/api/runs/ttt-collapse").json()
    assert told["declared"]["thresholds"] == {"class_entropy_floor": 0.85}
    assert [one["kind"] for one in told["findings"]] == [
        "diversity_collapse", "component_conflict", "diversity_decline",
    ]  # fmt: skip
    assert told["findings"][0]["advice"] == {"action": "set_weight", "component": "diversity", "value": 0.134}
    shares = {
        one["labels"]["component"]: one["value"] for one in told["readings"] if one["name"] == "component_share_ratio"
    }
    assert shares == {"entropy": 0.464, "diversity": 0.536}
    assert {(one["kind"], one["name"]) for one in told["traces"]} >= {("total", "total"), ("component", "diversity")}


def test_a_run_names_its_checkpoints_by_step() -> None:
    named = run("r", checkpoints={40: HOSTILE})
    assert client(View(runs={"r": named})).get("/api/runs/r").json()["checkpoints"] == {"40": HOSTILE}


def test_what_is_not_known_is_null() -> None:
    unknown = client().get(f"/api/runs/{quote('resnet/seed=3', safe='')}").json()
    assert {one["value"] for one in unknown["readings"]} == {None}


NAMES = [
    *(HOSTILE, "a/b//c/", "100%", "%2F", "%252e", "a?b=c#d", "\n", "x\n", "ümlaut 日本 🎉"),
    *(" ", "a+b", "\\", "'\"<>&", "/", "x" * 200),
]


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a real server (starlette's TestClient decodes a path twice) with runs of these names."""
    sample = sample_view()
    named = {name: run(name) for name in NAMES if name not in sample.runs}
    with Server(web(replace(sample, runs={**sample.runs, **named})).application(), "127.0.0.1", 0) as server:
        yield server.url


@pytest.mark.parametrize("name", NAMES)
def test_any_run_name_can_be_asked_for(served: str, name: str) -> None:
    with urllib.request.urlopen(f"{served}/api/runs/{quote(name, safe='')}") as answer:
        assert json.load(answer)["run"] == name
    with urllib.request.urlopen(served + run_path(name)) as answer:
        assert answer.status == 200


def test_infinities_are_words(served: str) -> None:
    with urllib.request.urlopen(f"{served}/api/runs/{quote(HOSTILE, safe='')}") as answer:
        told = json.load(answer)
    assert told["traces"][0]["values"][-1] == "Infinity"
    assert told["findings"][0]["value"] == "Infinity"


def test_a_name_that_utf8_cannot_hold_breaks_nothing() -> None:
    view = View(runs={"\ud800": run("\ud800")})
    for path in ("/", "/api/runs", "/metrics"):
        assert client(view).get(path).status_code == 200


def test_an_unknown_run_is_not_found() -> None:
    answer = client().get("/api/runs/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"] == ("No run named 'nobody' is being watched. GET /api/runs lists those that are.")
    page = client().get("/runs/<b>nobody", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "&lt;b&gt;nobody" in page.text


def test_findings_can_be_filtered() -> None:
    api = client()
    assert api.get("/api/findings").json()["total"] == 5
    firing = api.get("/api/findings?state=firing&severity=critical&run=ttt-collapse").json()["findings"]
    assert [one["id"] for one in firing] == ["ttt-collapse/test/diversity_collapse/-/120"]
    assert api.get("/api/findings?run=nobody").json()["findings"] == []
    assert api.get("/api/findings?severity=awful").status_code == 400


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/api/runs", 405), ("GET", "/api/nothing", 404)])
def test_errors_of_the_api_are_json_that_helps(method: str, path: str, status: int) -> None:
    answer = client().request(method, path)
    assert answer.status_code == status
    assert len(answer.json()["error"]) > 20


@pytest.mark.parametrize("path", ["/", "/runs/ttt-collapse", "/api/runs", "/metrics", "/static/page.js", "/nothing"])
def test_every_answer_has_the_security_headers(path: str) -> None:
    headers = client().get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


def test_a_fault_of_ours_is_a_500_without_details() -> None:
    def broken() -> View:
        raise RuntimeError("secret")

    application = replace(web(), view=broken).application()
    answer = TestClient(application, raise_server_exceptions=False).get("/api/runs")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_ten_thousand_runs_are_listed_in_time() -> None:
    answer = client(big_view(10_000, 1)).get("/?search=run-099")
    assert answer.elapsed.total_seconds() < 2
    assert "1 to 50 of 100" in answer.text


def test_a_port_that_is_taken_is_told() -> None:
    with Server(web().application(), "127.0.0.1", 0) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(AddressInUse, match=rf"127.0.0.1:{port}.*--http-port"):
            Server(web().application(), "127.0.0.1", port)


def test_a_trace_of_nothing_but_nan_can_be_shown() -> None:
    lost = traces("a", {("train", "total", "total"): np.full(3, np.nan)}, 2)
    view = View(runs={"a": run("a")}, traces={"a": lost})
    assert client(view).get("/runs/a").status_code == 200
    assert client(view).get("/api/runs/a").json()["traces"][0]["values"] == [None, None, None]
