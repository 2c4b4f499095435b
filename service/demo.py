"""``losswatch demo``: a broker, the service, and real training jobs that publish to it.

For each of the five case studies one job fails the way it did and one does the same task well; the demo fails
unless the service finds out exactly that. The jobs are processes of their own (`examples`); they reach the
service, and its advice reaches them, through Kafka alone.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from service.broker import EmbeddedBroker
from service.cases import ADVISED, CASES, COLLAPSING
from service.settings import Settings
from service.story import Case, Json, Narrator, Part, kinds_fired

EXAMPLES: Final = Path(__file__).resolve().parent.parent / "examples"
START_LIMIT: Final = 60.0
"""Seconds the service may take to be ready."""
JOB_LIMIT: Final = 150.0
"""Seconds the jobs of a case may take."""
SETTLE_LIMIT: Final = 30.0
"""Seconds the service may take to see the end of jobs that have ended."""
STOP_LIMIT: Final = 10.0
"""Seconds a process may take to end when asked."""


class DemoFailed(Exception):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(slots=True)
class Job:
    """A training job: a process that prints every step as a line of JSON."""

    part: Part
    process: subprocess.Popen[str]
    course: list[Mapping[str, float]] = field(default_factory=list)
    reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, name=self.part.run, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.course.append(json.loads(line))


@dataclass(frozen=True, slots=True)
class Service:
    """``losswatch serve`` as a process, and its HTTP API."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def get(self, path: str) -> Any:
        """The JSON at ``path``, or nothing while the service does not answer. `DemoFailed` if it has ended."""
        if self.process.poll() is not None:
            raise DemoFailed(f"the service ended with status {self.process.returncode}:\n{_tail(self.log)}")
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def findings(self) -> list[Json]:
        """The newest state of every finding so far."""
        answer = self.get("/api/findings")
        return list(answer["findings"]) if answer else []

    def status(self, run: str) -> str | None:
        """What the service says of a run; nothing if it does not know it."""
        answer = self.get("/api/runs")
        return next((known["status"] for known in (answer or {"runs": []})["runs"] if known["run"] == run), None)


def run_demo(
    letters: str = "a", follow_advice: bool = False, keep: bool = False, console: Console | None = None
) -> int:
    """Play the cases of these letters and return the exit status.

    0 if exactly the expected findings fired, 1 if not, 2 if it could not be run, 130 if interrupted.
    With ``follow_advice`` case A has a third job, which starts like the collapsing one and takes the advised
    weight. With ``keep`` the broker and the service stay up until Ctrl-C.
    """
    narrator = Narrator(console or Console())
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no process is left behind
    try:
        with ExitStack() as stack:
            return _run(stack, narrator, [case for case in CASES if case.letter in letters], follow_advice, keep)
    except DemoFailed as failure:
        narrator.say(f"[bold red]The demo could not be run:[/] {escape(str(failure))}")
        return 2
    except KeyboardInterrupt:
        narrator.say("Stopped.")
        return 130
    finally:
        signal.signal(signal.SIGTERM, terminated)


def _run(stack: ExitStack, narrator: Narrator, cases: Sequence[Case], follow_advice: bool, keep: bool) -> int:
    there = all((EXAMPLES / case.script).is_file() for case in cases)
    if not there or importlib.util.find_spec("sklearn") is None:
        raise DemoFailed("its training jobs are not installed. Run `make demo` in a checkout of the project.")
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="losswatch-demo-")))
    narrator.say("Starting a broker and the service ...")
    try:
        kafka = stack.enter_context(EmbeddedBroker(binary=Settings().broker_binary)).address
    except RuntimeError as error:
        raise DemoFailed(str(error)) from error
    service = stack.enter_context(_service(kafka, folder / "service.log"))
    narrator.say(f"Watch it at [bold]{service.url}[/]")
    problems: list[str] = []
    for case in cases:
        parts = case.parts + ((ADVISED,) if follow_advice and COLLAPSING in case.parts else ())
        problems += _play(case, parts, kafka, service, narrator, folder)
    for problem in problems:
        narrator.say(f"[bold red]{escape(problem)}[/]")
    if not problems:
        narrator.say("[green]Every expected finding fired, and no other.[/]")
    if keep:
        narrator.say(f"Still up: {service.url} (Kafka at {kafka}). Ctrl-C ends it.")
        _until_interrupted()
    return 1 if problems else 0


def _play(
    case: Case, parts: Sequence[Part], kafka: str, service: Service, narrator: Narrator, folder: Path
) -> list[str]:
    """Run the jobs of a case side by side, and return what is wrong with the findings."""
    narrator.introduce(case, parts)
    with ExitStack() as stack:
        jobs = [stack.enter_context(_job(case, part, kafka, folder / f"{part.run}.log")) for part in parts]
        _follow(case, jobs, service, narrator, folder)
        return _conclude(case, jobs, _settled(jobs, service, narrator), narrator)


def _follow(case: Case, jobs: Sequence[Job], service: Service, narrator: Narrator, folder: Path) -> None:
    """Tell what happens until all jobs have ended."""

    def ended() -> bool:
        for job in jobs:
            narrator.progress(case, job.part.run, job.course)
        narrator.findings(service.findings())
        return all(job.process.poll() is not None for job in jobs)

    _wait_until(ended, JOB_LIMIT, "the jobs did not end: is this machine very busy?")
    for job in jobs:
        job.reader.join()
        narrator.progress(case, job.part.run, job.course)
        if job.process.returncode != 0 or not job.course:
            said = _tail(folder / f"{job.part.run}.log")
            raise DemoFailed(f"the job {job.part.run} ended with status {job.process.returncode}:\n{said}")


def _settled(jobs: Sequence[Job], service: Service, narrator: Narrator) -> list[Json]:
    """The findings once the service has seen the end of every job."""

    def seen() -> bool:
        return all(service.status(job.part.run) == "finished" for job in jobs)

    _wait_until(seen, SETTLE_LIMIT, "the service did not see the end of the jobs")
    findings = service.findings()
    narrator.findings(findings)
    return findings


def _conclude(case: Case, jobs: Sequence[Job], findings: Sequence[Json], narrator: Narrator) -> list[str]:
    """Sum up, and return what is wrong with the findings."""
    courses = {job.part: job.course for job in jobs}
    narrator.summary(case, courses, findings)
    if ADVISED in courses:
        without, with_advice = (courses[part][-1]["accuracy"] for part in (COLLAPSING, ADVISED))
        narrator.say(
            f"Accuracy of the same job at its end: [red]{without:.1%}[/] without the advice, "
            f"[green]{with_advice:.1%}[/] with it."
        )
    return [text for job in jobs for text in job.part.misjudged(kinds_fired(findings, job.part.run))]


@contextmanager
def _service(kafka: str, log: Path) -> Iterator[Service]:
    port = _free_port(preferred=Settings().http_port)
    command = ["-m", "service.cli", "serve", "--bootstrap-servers", kafka, "--http-port", str(port)]
    with _process(command, log, stdout=None) as process:
        service = Service(process, f"http://127.0.0.1:{port}", log)
        _wait_until(lambda: service.get("/readyz") is not None, START_LIMIT, "the service did not get ready", log)
        yield service


@contextmanager
def _job(case: Case, part: Part, kafka: str, log: Path) -> Iterator[Job]:
    command = [str(EXAMPLES / case.script), "--json", "--run", part.run, "--bootstrap-servers", kafka, *part.arguments]
    with _process(command, log, stdout=subprocess.PIPE) as process:
        yield Job(part, process)


@contextmanager
def _process(command: Sequence[str], log: Path, stdout: int | None) -> Iterator[subprocess.Popen[str]]:
    """A Python process; what it does not write to a pipe goes to ``log``. It ends with the block."""
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, *command], stdout=stdout or errors, stderr=errors, text=True)
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until(done: Callable[[], bool], limit: float, otherwise: str, log: Path | None = None) -> None:
    deadline = time.monotonic() + limit
    while not done():
        if time.monotonic() > deadline:
            raise DemoFailed(f"{otherwise} ({limit:.0f} s)" + (f":\n{_tail(log)}" if log else ""))
        time.sleep(0.25)


def _until_interrupted() -> None:
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _free_port(preferred: int) -> int:
    """``preferred`` if nobody listens there, else any."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("no free port on 127.0.0.1")
