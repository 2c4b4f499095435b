"""A real Prometheus and a real Alertmanager on loopback, with the project's own rules and routing."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.brokers import free_port
from tests.integration.process import wait_for

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


@dataclass(frozen=True, slots=True)
class Notification:
    """One alert of one delivery to a webhook."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(slots=True)
class Inbox:
    """What Alertmanager delivered, in order."""

    received: list[Notification] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, receiver: str, delivery: dict[str, Any]) -> None:
        with self._changed:
            for alert in delivery["alerts"]:
                self.received.append(Notification(receiver, alert["status"], alert["labels"], alert["annotations"]))
            self._changed.notify_all()

    def wait(self, alertname: str, status: str = "firing", seconds: float = 20, **labels: str) -> Notification:
        """The first such notification; fails with what came instead."""

        def found() -> Notification | None:
            wanted = (labels | {"alertname": alertname}).items()
            return next((n for n in self.received if n.status == status and wanted <= n.labels.items()), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, seconds)
            notification, came = found(), [(n.labels["alertname"], n.status) for n in self.received]
        assert notification is not None, f"no {status} {alertname} within {seconds} s, but {came}"
        return notification


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
def alerting(service: str, folder: Path) -> Iterator[Alerting]:
    """Scrape ``service`` (host:port) and evaluate every second; waits in rules and routing are cut to a second."""
    inbox = Inbox()
    with ExitStack() as stack:
        webhook = stack.enter_context(_webhook(inbox))
        ports = free_port(), free_port()
        prometheus, alertmanager = _configure(folder, service, f"127.0.0.1:{ports[1]}", webhook)
        stack.enter_context(
            _process(
                folder / "alertmanager.log",
                f"http://127.0.0.1:{ports[1]}/-/ready",
                "prometheus-alertmanager",
                f"--config.file={alertmanager}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{ports[1]}",
                "--cluster.listen-address=",
            )
        )
        stack.enter_context(
            _process(
                folder / "prometheus.log",
                f"http://127.0.0.1:{ports[0]}/-/ready",
                "prometheus",
                f"--config.file={prometheus}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{ports[0]}",
                "--rules.alert.resend-delay=1s",  # what fires before Alertmanager was found is sent again
            )
        )
        yield Alerting(inbox, f"http://127.0.0.1:{ports[0]}")


def _configure(folder: Path, service: str, alertmanager: str, webhook: str) -> tuple[Path, Path]:
    """The deployed files, quicker and pointed at this test's ports."""
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    prometheus["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    prometheus["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    prometheus["scrape_configs"][0]["static_configs"] = [{"targets": [service]}]
    for path in (DEPLOY / "prometheus").glob(prometheus["rule_files"][0]):
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            rule |= {wait: "1s" for wait in ("for", "keep_firing_for") if wait in rule}
        target = folder / path.relative_to(DEPLOY / "prometheus")
        target.parent.mkdir(exist_ok=True)
        target.write_text(yaml.safe_dump(rules), encoding="utf-8")
    routing = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
    for route in (routing["route"], *routing["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    for receiver in routing["receivers"]:
        receiver["webhook_configs"][0]["url"] = f"{webhook}/{receiver['name']}"
    for name, content in (("prometheus.yml", prometheus), ("alertmanager.yml", routing)):
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "prometheus.yml", folder / "alertmanager.yml"


@contextmanager
def _webhook(inbox: Inbox) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            inbox.put(self.path.strip("/"), json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


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
