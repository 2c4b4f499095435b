"""Signs of life, SIGTERM, and an outage of an hour."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import losswatch
from losswatch import sender as sender_module
from losswatch.schema import Heartbeat, RunEnd
from losswatch.transport import MemoryTransport
from tests.brokers import start_tansu
from tests.publisher.hook.faulty import FaultyTransport
from tests.publisher.hook.reading import STEPS, eventually, is_gapless, read_topic, records_of, steps_of

PUBLISHER = Path(losswatch.__file__).parents[1]


def test_a_job_that_has_nothing_to_say_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "HEARTBEAT_SECONDS", 0.1)
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    eventually(lambda: sum(record.type == "heartbeat" for record in records_of(transport.records)) >= 3)
    run.finish()
    records = records_of(transport.records, STEPS)
    assert is_gapless(records)
    assert {record.every for record in records if isinstance(record, Heartbeat)} == {0.1}


def test_an_outage_gathers_no_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "HEARTBEAT_SECONDS", 0.1)
    transport = FaultyTransport(reachable=False)
    run = losswatch.start("r", transport=transport)
    eventually(lambda: transport.connects >= 3)
    transport.reachable = True
    eventually(lambda: run.stats().connected)
    run.finish()
    assert sum(record.type == "heartbeat" for record in records_of(transport.records)) <= 1


def told_to_stop(address: str, run: str, handler: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import losswatch, signal, sys, time
{handler}
run = losswatch.start({run!r}, bootstrap_servers={address!r})
run.on_sigterm()
run.log(0, total=1.0)
while run.stats().published == 0:
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(30)
"""
    environment = {**os.environ, "PYTHONPATH": str(PUBLISHER)}
    job = subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, stdout=-1, stderr=-1)
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.SIGTERM)
    began = time.monotonic()
    out, errors = job.communicate(timeout=30)
    assert time.monotonic() - began < 4.0
    return subprocess.CompletedProcess([], job.returncode, out, errors)


def test_sigterm_is_recorded_and_ends_the_process_as_it_would_have() -> None:
    with start_tansu() as broker:
        done = told_to_stop(broker.address, "default", "")
        assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
        chained = (
            "def handle(number, frame):\n    print('mine')\n    sys.exit(7)\nsignal.signal(signal.SIGTERM, handle)"
        )
        done = told_to_stop(broker.address, "chained", chained)
        assert (done.returncode, done.stdout, done.stderr) == (7, "mine\n", "")
        for run in ("default", "chained"):
            end = read_topic(broker.address, STEPS, run)[-1]
            assert isinstance(end, RunEnd)
            assert (end.status, end.error) == ("stopped", "SIGTERM")


def test_no_handler_is_set_unless_asked_for_and_only_the_main_thread_can(caplog: pytest.LogCaptureFixture) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with losswatch.start("r", transport=MemoryTransport()) as run:
        thread = threading.Thread(target=run.on_sigterm)
        thread.start()
        thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert "only the main thread" in caplog.text


HOUR = """
import resource, sys, time
import losswatch
from losswatch.transport import MemoryTransport, Unavailable

class Away(MemoryTransport):
    away = True
    def connect(self, topics):
        if self.away:
            raise Unavailable("nobody there")

def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

transport = Away(lambda sent: None)
run = losswatch.start("r", transport=transport)
run.log(0, total=1.0)
time.sleep(1.0)
before = rss()
for step in range(1, 720_000):
    run.log(step, total=0.5, components={"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, metrics={"m": 0.3})
    if step % 2000 == 0:
        while run.stats().waiting_bytes == 0 or len(run._sender.intake.rows) > 1000:
            time.sleep(0.001)
print(rss() - before, run.stats().waiting_bytes // 2**20, len(run.stats().dropped))
transport.away = False
print(run.finish(timeout=60), run.stats().published + sum(run.stats().dropped.values()))
"""


def test_memory_stays_bounded_over_an_hour_at_two_hundred_steps_a_second() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PUBLISHER)}
    done = subprocess.run([sys.executable, "-c", HOUR], env=environment, capture_output=True, text=True, check=True)
    grown, kept, reasons, _, accounted = done.stdout.split()
    assert int(grown) < 120, "MiB of RSS"
    assert 30 <= int(kept) <= 36
    assert (int(reasons), int(accounted)) == (1, 720_000)


def test_an_outage_within_the_buffers_loses_nothing_and_keeps_the_order() -> None:
    transport = FaultyTransport(reachable=False)
    run = losswatch.start("r", transport=transport)
    for step in range(50_000):
        run.log(step, total=1.0)
        if step % 5000 == 0:
            eventually(lambda: run.stats().waiting_bytes > 0)
    transport.reachable = True
    eventually(lambda: run.stats().published == 50_000, seconds=30)
    assert run.finish()
    records = records_of(transport.records, STEPS)
    assert is_gapless(records)
    assert steps_of(records) == list(range(50_000))
