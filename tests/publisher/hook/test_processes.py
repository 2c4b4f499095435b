"""The hook and the life of a process: short scripts, failures, forks, copies, imports."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import losswatch
from losswatch.schema import RunEnd
from losswatch.transport import MemoryTransport
from tests.brokers import Tansu, free_port, start_tansu
from tests.publisher.hook.reading import STEPS, read_topic, records_of, steps_of

PUBLISHER = Path(losswatch.__file__).parents[1]


@pytest.fixture(scope="module")
def broker() -> Iterator[Tansu]:
    with start_tansu() as running:
        yield running


def script(code: str, servers: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script of its own with the hook pointed at the servers."""
    environment = {**os.environ, "PYTHONPATH": str(PUBLISHER), "LOSSWATCH_BOOTSTRAP_SERVERS": servers}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_script_of_twenty_milliseconds_delivers_everything_without_finish(broker: Tansu) -> None:
    done = script("import losswatch\nrun = losswatch.start('short')\nrun.log(0, total=1.0)", broker.address)
    assert (done.returncode, done.stderr) == (0, "")
    records = read_topic(broker.address, STEPS, "short")
    assert [record.type for record in records] == ["run_start", "steps", "run_end"]
    assert isinstance(records[-1], RunEnd)
    assert records[-1].status == "finished"


def test_an_exception_that_ends_the_script_is_recorded_and_shown_as_ever(broker: Tansu) -> None:
    code = "import losswatch\nrun = losswatch.start('fails')\nrun.log(0, total=1.0)\nraise ValueError('no data')"
    done = script(code, broker.address)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: no data\n")
    end = read_topic(broker.address, STEPS, "fails")[-1]
    assert isinstance(end, RunEnd)
    assert (end.status, end.error) == ("failed", "ValueError: no data")


def test_an_exception_in_the_with_block_is_recorded_and_goes_on(broker: Tansu) -> None:
    code = "import losswatch\nwith losswatch.start('with') as run:\n    run.log(0, total=1.0)\n    1 / 0"
    done = script(code, broker.address)
    assert "ZeroDivisionError" in done.stderr
    end = read_topic(broker.address, STEPS, "with")[-1]
    assert isinstance(end, RunEnd)
    assert (end.status, end.error) == ("failed", "ZeroDivisionError: division by zero")


def test_exit_with_nobody_there_takes_about_two_seconds_at_most() -> None:
    code = "import losswatch, time\nrun = losswatch.start('r')\nrun.log(0, total=1.0)\nprint(time.time())"
    done = script(code, f"127.0.0.1:{free_port()}")
    assert time.time() - float(done.stdout) < 3.5
    assert "cannot publish" in done.stderr
    assert "did not reach" in done.stderr


def test_a_forked_child_is_silent_and_quick(broker: Tansu) -> None:
    code = """
import losswatch, os, sys, time
run = losswatch.start("forks")
for step in range(100):
    run.log(step, total=1.0)
while run.stats().published < 64:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    began = time.monotonic()
    run.log(777, total=1.0)
    run.finish()
    print(time.monotonic() - began, flush=True)
    sys.exit(0)
began = time.monotonic()
_, status = os.waitpid(child, 0)
print(time.monotonic() - began, status)
run.log(100, total=1.0)
run.finish()
"""
    done = script(code, broker.address)
    assert done.stderr == ""
    in_child, of_child, status = done.stdout.split()
    assert (float(in_child) < 0.5, float(of_child) < 2.0, status) == (True, True, "0")
    records = read_topic(broker.address, STEPS, "forks")
    assert steps_of(records) == list(range(101))
    assert [record.type for record in records].count("run_end") == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_copy_of_a_run_reports_nothing(duplicate: object) -> None:
    assert callable(duplicate)
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        other = duplicate(run)
        other.log(1, total=1.0)
        assert other.finish()
        assert (other.name, other.stats().waiting) == ("r", 0)
    assert steps_of(records_of(transport.records)) == []


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, losswatch\nprint(*{'numpy', 'pydantic', 'kafka', 'torch', 'msgpack', 'socket'} & set(sys.modules))"
    )
    assert script(code).stdout.strip() == ""


def test_a_call_costs_microseconds() -> None:
    with losswatch.start("r", transport=MemoryTransport()) as run:
        durations = []
        for step in range(5000):
            before = time.perf_counter()
            run.log(step, total=0.1, components={"a": 0.2, "b": 0.3, "c": 0.4, "d": 0.5})
            durations.append(time.perf_counter() - before)
    # Ten times what it takes on an idle machine: a lock, a log line or an encoding here would be seen.
    assert sorted(durations)[2500] < 20e-6
