"""Every query of every dashboard finds data: real jobs publish, the real service watches, a real Prometheus scrapes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.test_time_adaptation import paced
from tests.brokers import free_port, start_tansu
from tests.deploy.grafana.dashboards import DASHBOARDS, ROOT, PanelQuery, queries, substituted
from tests.integration import traffic
from tests.integration.process import ServiceProcess, wait_for

RULES = ROOT / "deploy" / "prometheus" / "rules"
STEPS_PER_SECOND = 25.0
ASK_EVERY = 25
"""Steps between two rounds of queries."""
LIMIT = 60.0
"""Seconds in which every query must have found data."""
SOMETHING_WRONG = {
    "Runs in trouble",
    "Runs with warnings",
    "Refused because a cap was reached",
    "Silent, lost or failed",
}
"""Panels in which the jobs make something count."""
TOLD_BY_PROMETHEUS = {"Scraped", "Samples per scrape", "Alert rules", "Alerts that fire", "annotation losswatch alerts"}
VALUES = {
    "job": "losswatch",
    "instance": ".+",
    "project": ".*",
    "team": ".*",
    "run": traffic.COLLAPSING,
    "phase": ".+",
    "__rate_interval": "8s",
    "__range": "60s",
}


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """What the API answers; fails with its own words."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}") as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def numbers(self, query: PanelQuery) -> list[float]:
        """Every value that a panel's query gives, NaN left out."""
        expr, now = substituted(query.expr, VALUES), time.time()
        if query.instant:
            series = self.get("query", query=expr)["result"]
            points = [one["value"] for one in series]
        else:
            series = self.get("query_range", query=expr, start=str(now - 30), end=str(now), step="1")["result"]
            points = [point for one in series for point in one["values"]]
        return [number for _, value in points if not math.isnan(number := float(value))]


@contextmanager
def prometheus(service: str, folder: Path) -> Iterator[Prometheus]:
    """Scrapes ``service`` and evaluates the project's rules every second."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{RULES}/*.rules.yml"],
        "scrape_configs": [{"job_name": "losswatch", "static_configs": [{"targets": [service]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: process.poll() is not None or _ready(f"http://{address}/-/ready"), "Prometheus ready")
            assert process.poll() is None, (folder / "log").read_text()
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Watched:
    """A fleet that is watched."""

    kafka: str
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("dashboards")
    with start_tansu() as tansu:
        traffic.spoilt_state(tansu.address)
        settings = {"checkpoint_seconds": "1", "view_seconds": "0.3", "silent_seconds": "2", "session_seconds": "6"}
        service = ServiceProcess(tansu.address, folder / "service.log", **settings)
        with service, prometheus(service.url.removeprefix("http://"), folder) as server:
            yield Watched(tansu.address, server)


def test_every_query_finds_data_while_jobs_publish(watched: Watched) -> None:
    open_queries = [query for board in DASHBOARDS.values() for query in queries(board)]
    assert len(open_queries) > 100
    deadline = time.monotonic() + LIMIT
    with traffic.training(watched.kafka) as steps:
        wait_for(lambda: bool(watched.prometheus.get("query", query="losswatch_ready == 1")["result"]), "a scrape")
        for number, _ in enumerate(paced(steps, STEPS_PER_SECOND)):  # type: ignore[arg-type]  # any iterator is paced
            if number == 50:
                traffic.mishaps(watched.kafka)
                traffic.trouble_on_the_wire(watched.kafka)
            if number % ASK_EVERY == 0:
                open_queries = [query for query in open_queries if not _answered(watched.prometheus, query)]
            if not open_queries or time.monotonic() > deadline:
                break
    assert not open_queries, "no data for\n" + "\n".join(f"{query}: {query.expr}" for query in open_queries)


def _answered(server: Prometheus, query: PanelQuery) -> bool:
    """Whether there is data; above 0 where the jobs see to it."""
    found = server.numbers(query)
    counts = query.dashboard == "losswatch-publishers" or query.panel in SOMETHING_WRONG
    return any(number > 0 for number in found) if counts else bool(found)


def test_a_service_that_is_down_looks_unknown_and_not_healthy(tmp_path: Path) -> None:
    with prometheus(f"127.0.0.1:{free_port()}", tmp_path) as server:
        wait_for(lambda: bool(server.get("query", query="up == 0")["result"]), "a scrape that fails")
        reassuring = [
            str(query)
            for board in DASHBOARDS.values()
            for query in queries(board)
            if query.panel not in TOLD_BY_PROMETHEUS and server.numbers(query)
        ]
    assert not reassuring


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_every_variable_has_values_to_choose_from(watched: Watched, uid: str) -> None:
    for variable in DASHBOARDS[uid]["templating"]["list"]:
        if variable["type"] == "query":
            assert _choices(watched.prometheus, variable), f"nothing to choose for {variable['name']}"


def _choices(server: Prometheus, variable: dict[str, Any]) -> list[str]:
    kind, inner = re.fullmatch(r"(label_values|query_result)\((.*)\)", variable["query"], re.DOTALL).groups()  # type: ignore[union-attr]  # a test of its own says so
    if kind == "label_values":
        metric, _, label = inner.rpartition(", ")
        return list(server.get(f"label/{label}/values", **{"match[]": substituted(metric, VALUES)}))
    series = server.get("query", query=substituted(inner, VALUES))["result"]
    texts = ["{" + ",".join(f'{name}="{value}"' for name, value in one["metric"].items()) + "}" for one in series]
    return [found[1] for text in texts if (found := re.search(variable["regex"].strip("/"), text))]
