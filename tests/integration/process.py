"""The service as a process of its own, as it runs in production."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.brokers import free_port

ROOT = Path(__file__).parents[2]


def wait_for(met: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll until a condition is met; fails naming what did not happen."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)


class ServiceProcess:
    """``losswatch serve`` against a broker; the port stays the same over restarts."""

    def __init__(self, address: str, log: Path, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        path = os.pathsep.join([str(ROOT), str(ROOT / "publisher")])
        named = {f"LOSSWATCH_{name.upper()}": value for name, value in settings.items()}
        self._environment = os.environ | {"PYTHONPATH": path} | named
        self._command = [sys.executable, "-m", "service.cli", "serve", "--bootstrap-servers", address]
        self._command += ["--http-port", str(port)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until its partitions are restored."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        wait_for(lambda: self.get("/readyz") is not None, "readiness")

    def kill(self) -> None:
        """SIGKILL: nothing is said to anybody."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON (or text) at a path; None if it is not there (yet)."""
        assert self._process is not None, "start it first"
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                body = response.read().decode()
        except (urllib.error.HTTPError, OSError):
            return None
        return json.loads(body) if "json" in response.headers["Content-Type"] else body

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self.stop()
