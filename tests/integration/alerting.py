"""A real Prometheus and a real Alertmanager on loopback, with the project's own rules, routing and messages."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.brokers import free_port
from tests.integration.process import wait_for
from tests.integration.sinks import Inbox, Sinks, sinks

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTMANAGER = DEPLOY / "alertmanager"


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """A running Alertmanager and what it delivered."""

    url: str
    inbox: Inbox

    def post(self, *alerts: dict[str, Any]) -> None:
        """Hand it alerts."""
        body = json.dumps(alerts).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """The alerts it has that are not over, by labels."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return [alert for alert in found if labels.items() <= alert["labels"].items()]


@dataclass(frozen=True, slots=True)
class Alerting:
    """The running pair."""

    inbox: Inbox
    prometheus: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query."""
        url = f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


@contextmanager
def alerting(service: str, folder: Path, hold: str = "5m") -> Iterator[Alerting]:
    """Scrape ``service`` (host:port) and evaluate every second; waits in rules and routing are cut to a second.

    ``hold`` is how long the last word of a dead service counts.
    """
    with alertmanager(folder) as delivering, prometheus(service, delivering.url, folder, hold) as url:
        yield Alerting(delivering.inbox, url)


@contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """The deployed Alertmanager, without its waits and delivering to `sinks`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        sink = stack.enter_context(sinks())
        stack.enter_context(
            _process(
                folder / "alertmanager.log",
                f"{url}/-/ready",
                "prometheus-alertmanager",
                f"--config.file={_routing(folder, sink)}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.external-url=https://alertmanager.example.org",
                "--web.route-prefix=/",
                "--cluster.listen-address=",
            )
        )
        yield Alertmanager(url, sink.inbox)


@contextmanager
def prometheus(service: str, alertmanager: str, folder: Path, hold: str = "5m") -> Iterator[str]:
    """The deployed Prometheus, quicker; its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _process(
        folder / "prometheus.log",
        f"{url}/-/ready",
        "prometheus",
        f"--config.file={_scraping(folder, service, alertmanager.removeprefix('http://'), hold)}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",  # what fires before Alertmanager was found is sent again
    ):
        yield url


def _scraping(folder: Path, service: str, alertmanager: str, hold: str) -> Path:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    targets = {"losswatch": service, "alertmanager": alertmanager}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    for path in PROMETHEUS.glob(config["rule_files"][0]):
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            rule |= {wait: "1s" for wait in ("for", "keep_firing_for") if wait in rule}
            if rule.get("record", "").endswith((":held", ":last")):
                rule["expr"] = rule["expr"].replace("[5m]", f"[{hold}]")
        target = folder / path.relative_to(PROMETHEUS)
        target.parent.mkdir(exist_ok=True)
        target.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return _written(folder / "prometheus.yml", config)


def _routing(folder: Path, sink: Sinks) -> Path:
    config = yaml.safe_load((ALERTMANAGER / "alertmanager.yml").read_text(encoding="utf-8"))
    config["global"] |= {"smtp_smarthost": sink.smarthost, "smtp_require_tls": False}
    for name in ("smtp_auth_username", "smtp_auth_password_file"):
        del config["global"][name]
    secret = folder / "slack-url"
    secret.write_text(f"{sink.webhook}/slack", encoding="utf-8")
    config["global"]["slack_api_url_file"] = str(secret)
    shutil.copytree(ALERTMANAGER / "templates", folder / "templates")
    for route in _routes(config["route"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    for receiver in config["receivers"]:
        # A copy each: receivers that share a webhook in the file have one of their own here.
        if "webhook_configs" in receiver:
            receiver["webhook_configs"] = [
                webhook | {"url": f"{sink.webhook}/{receiver['name']}"} for webhook in receiver["webhook_configs"]
            ]
    return _written(folder / "alertmanager.yml", config)


def _routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", ()):
        yield from _routes(child)


def _written(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextmanager
def _process(log: Path, ready: str, *command: str) -> Iterator[None]:
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            wait_for(lambda: process.poll() is not None or _answers(ready), f"{command[0]} ready")
            assert process.poll() is None, f"{command[0]} exited: {log.read_text()[-2000:]}"
            yield
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
