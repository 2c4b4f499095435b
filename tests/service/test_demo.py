from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from service import demo
from service.cases import CASES, COLLAPSING
from service.demo import DemoFailed, Job, Service, run_demo
from service.story import Case

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_without_its_training_job_the_demo_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "EXAMPLES", tmp_path)
    output = io.StringIO()
    assert run_demo(console=Console(file=output, width=200)) == 2
    assert "make demo" in output.getvalue()


def test_a_job_collects_the_steps_its_process_prints() -> None:
    program = "import json\nfor step in range(3): print(json.dumps({'step': step}), flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        job = Job(COLLAPSING, process)
        job.reader.join(10)
    assert job.course == [{"step": 0}, {"step": 1}, {"step": 2}]


def test_a_process_ends_with_its_block(tmp_path: Path) -> None:
    with demo._process(["-c", "import time; time.sleep(60)"], tmp_path / "log", stdout=None) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_a_service_that_has_ended_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with demo._process(["-c", "import sys; sys.exit('no broker there')"], log, stdout=None) as process:
        process.wait(10)
        with pytest.raises(DemoFailed, match=r"status 1:\nno broker there"):
            Service(process, "http://127.0.0.1:1", log).findings()


def test_a_service_that_does_not_answer_yet_has_no_findings(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, text=True) as process:
        service = Service(process, f"http://127.0.0.1:{demo._free_port(0)}", tmp_path / "log")
        assert service.findings() == []
        assert service.status("tta-collapsing") is None
        process.kill()


def test_waiting_ends_with_the_reason_once_the_limit_is_over(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    began = time.monotonic()
    with pytest.raises(DemoFailed, match=r"it never came \(0 s\):\nline 85\n"):
        demo._wait_until(lambda: False, 0.0, "it never came", log)
    assert time.monotonic() - began < 5


def test_a_port_in_use_is_not_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        assert demo._free_port(taken) != taken
    assert demo._free_port(taken) == taken


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.letter))
def test_the_examples_print_what_the_demo_reads(case: Case) -> None:
    """The demo reads these names from a job's JSON."""
    command = [sys.executable, str(demo.EXAMPLES / case.script), "--json", "--steps-per-second", "1e9"]
    for part in case.parts:
        with subprocess.Popen(
            [*command, *part.arguments, "--bootstrap-servers", "127.0.0.1:1"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            first = json.loads(process.stdout.readline())
            process.kill()
        assert {"step", *(column.name for column in case.columns)} <= first.keys()


@pytest.mark.timeout(240)
def test_the_demo_finds_exactly_what_there_is_to_find() -> None:
    output = io.StringIO()
    assert run_demo(follow_advice=True, console=Console(file=output, width=100)) == 0, output.getvalue()
    text = output.getvalue()
    assert "CRITICAL diversity_collapse tta-collapsing" in text
    assert "WARNING component_conflict (diversity) tta-collapsing" in text
    without, with_advice = map(float, re.findall(r"([\d.]+)% with", text.partition("at its end")[2]))
    assert with_advice > without + 30


@pytest.mark.timeout(300)
def test_the_demo_of_the_other_cases_finds_exactly_what_there_is_to_find() -> None:
    output = io.StringIO()
    assert run_demo("bcde", console=Console(file=output, width=100)) == 0, output.getvalue()
