"""What the pods would run is run here, as the chart says it, against a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.brokers import free_port, start_tansu
from tests.deploy.helm.chart import ROOT, Object, environment, one, render, service_pod
from tests.integration.process import wait_for

TOKEN = "sesame-open-sesame"
"""What is in every Secret."""


@pytest.fixture(scope="module")
def documents() -> Iterator[list[Object]]:
    """The chart for a broker of its own: it starts without topics."""
    with start_tansu() as broker:
        values = {"kafka": {"bootstrapServers": broker.address, "partitions": 2}, "topicsJob": {"enabled": True}}
        yield render(values=values | {"http": {"tokenSecret": "losswatch-tokens"}})


def command(container: Object) -> list[str]:
    """The container's command, with this checkout in place of the image's program."""
    program, *arguments = container["command"]
    assert program == "losswatch"
    return [sys.executable, "-m", "service.cli", *arguments]


def variables(container: Object, **changes: str) -> dict[str, str]:
    """The environment of the container, and no LOSSWATCH_ variable from elsewhere."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOSSWATCH_")}
    given = {
        name: TOKEN if isinstance(value, dict) else value
        for name, value in environment(container).items()
        if isinstance(value, str) or "secretKeyRef" in value
    }
    return inherited | given | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "publisher")])} | changes


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.HTTPError, OSError):
        return False


def test_the_job_creates_the_topics(documents: list[Object]) -> None:
    (container,) = one(documents, "Job")["spec"]["template"]["spec"]["containers"]
    done = subprocess.run(
        command(container), env=variables(container), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 partitions (created now)" in done.stdout


def test_the_pod_becomes_ready_passes_the_test_of_the_chart_and_stops_in_time(
    documents: list[Object], tmp_path: Path
) -> None:
    pod = service_pod(documents)
    (container,) = pod["containers"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    changes = {"LOSSWATCH_HTTP_PORT": str(port), "LOSSWATCH_HTTP_HOST": "127.0.0.1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command(container), env=variables(container, **changes), stdout=log, stderr=log)
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            wait_for(partial(answers, url + path), f"the {probe} of {path}")
        (tester,) = one(documents, "Pod")["spec"]["containers"]
        _, *arguments, _ = tester["command"]
        assert not answers(url + "/metrics"), "not without the token"
        tested = subprocess.run(
            [sys.executable, *arguments, url],
            env=variables(tester),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert tested.stdout.splitlines() == ["ok /readyz", "ok /metrics", "ok /"], tested.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0
    finally:
        process.kill()
        process.wait()
