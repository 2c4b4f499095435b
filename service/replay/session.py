"""One call of ``losswatch replay``, from what was asked for to the exit status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from losswatch.encoding import encode
from losswatch.kafka_transport import KafkaTransport
from losswatch.schema import Finding, Record
from losswatch.transport import Unavailable
from service.replay.compare import parting, told, totals
from service.replay.engine import Names, Outcome, RunResult
from service.replay.notes import NoLog, Unreadable
from service.replay.publish import Published, at_once, paced, publish
from service.replay.report import render
from service.replay.request import Request, Unusable
from service.replay.summary import Summary, refused_of
from service.replay.verdict import Severity, at_least, verdict_on
from service.serve import product_version

PASSED: Final = 0
FOUND: Final = 1
UNREADABLE: Final = 2


def explain(request: Request) -> int:
    """Print how every file is read."""
    status = PASSED
    for path in request.paths:
        try:
            log = request.open(path)
            for _ in log.records():
                pass
            print(log.explain())
        except Unreadable as error:
            if isinstance(error, NoLog) and path in request.searched:
                continue
            print(error, file=sys.stderr)
            status = UNREADABLE
    return status


def judge(request: Request, as_json: bool, html: Path | None, fail_on: Severity | None) -> int:
    """Replay the files and print what was found."""
    import torch

    torch.set_num_threads(1)  # the blocks are small, and handing them out takes longer
    summary = Summary(Console())
    outcomes: list[Outcome] = []
    status = PASSED
    replay = request.replay(curves=html is not None)
    severities = at_least(fail_on) if fail_on else frozenset()
    with _progress(len(request.paths), quiet=as_json and sys.stdout.isatty()) as advance:
        tell = _print if as_json else None
        for outcome in replay.results(request.paths, tell, turned=lambda steps: advance(0, steps)):
            advance(1, None)
            if request.overlooks(outcome):
                summary.overlook()
                continue
            summary.add(outcome)
            if html is not None:
                outcomes.append(outcome)
            if any(f.severity in severities for result in outcome.runs for f in verdict_on(result).fired):
                status = max(status, FOUND)
            if outcome.error is not None:
                status = UNREADABLE
                if as_json:
                    print(outcome.error, file=sys.stderr)
    if html is not None:
        _write(html, render(outcomes, product_version()))
    if not as_json:
        summary.show(refused_of(replay.telemetry.counters["refused"]), replay.telemetry.total("detector_errors"))
    return status


def compare_all(request: Request, chosen: Sequence[str] = ()) -> int:
    """Compare every run, or those that were ``chosen``, with the first of them."""
    outcomes = [each for each in request.replay().results(request.paths) if not request.overlooks(each)]
    status = PASSED
    for outcome in outcomes:
        if outcome.error is not None:
            print(outcome.error, file=sys.stderr)
            status = UNREADABLE
    one, *others = _chosen([result for outcome in outcomes for result in outcome.runs], chosen)
    console = Console()
    for two in others:
        console.print(f"[bold]{escape(one.run)}[/] and [bold]{escape(two.run)}[/]", highlight=False)
        phases = [phase for phase in one.components if phase in two.components]
        for phase in phases:
            found = parting(*(totals(request.open(each.path), each.own, phase) for each in (one, two)))
            for line in told(one, two, phase, found):
                _indented(console, escape(line))
        if not phases:
            _indented(console, "They have no phase with a total in common.")
    return status


def _indented(console: Console, text: str) -> None:
    """A paragraph on a terminal, else one line."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, 2), expand=False), highlight=False)
    else:
        console.print(f"  {text}", highlight=False, soft_wrap=True)


def _chosen(results: Sequence[RunResult], chosen: Sequence[str]) -> Sequence[RunResult]:
    """The runs to compare, in the order in which they were named. Raises Unusable where those are not two or more."""
    by_name = {result.run: result for result in results}
    if unknown := [name for name in chosen if name not in by_name]:
        raise Unusable(f"There is no run {unknown[0]!r}; there are {', '.join(by_name) or 'none'}.")
    found = [by_name[name] for name in dict.fromkeys(chosen)] or list(results)
    if len(found) < 2:
        names = ", ".join(result.run for result in found)
        raise Unusable(f"Compare with what? --compare takes two runs or more, and there is {names or 'none'}.")
    return found


def publish_all(request: Request, speed: float) -> int:
    """Publish the files instead of judging them here."""
    address = request.settings.bootstrap_servers
    if not address:
        raise Unusable("Publish to which Kafka? Add --bootstrap-servers HOST:PORT.")
    names, failed = Names(), list[str]()
    logs = [_renamed(request, path, names, failed) for path in request.paths]
    transport = KafkaTransport(address, request.settings.kafka_arguments())
    done = Published()
    try:
        with _progress(len(request.paths)) as advance:
            for done in publish(paced(logs, speed) if speed else at_once(logs), transport, time.time, time.sleep):
                advance(0, done.steps)
    except Unavailable as error:
        raise Unusable(f"Not everything was published to {address}: {error}") from error
    for reason in failed:
        print(reason, file=sys.stderr)
    refused = f", {done.refused} refused by the broker" if done.refused else ""
    print(f"{done.records} records of {len(done.runs)} runs were published to {address}{refused}.")
    return UNREADABLE if failed else PASSED


def _renamed(request: Request, path: Path, names: Names, failed: list[str]) -> Iterator[Record]:
    """The records of a file, its runs told apart from those of the others; ends where it is unreadable."""
    try:
        for record in request.open(path).records():
            name = names.of(path, record.run)
            yield record if name == record.run else record.model_copy(update={"run": name})
    except Unreadable as error:
        if not (isinstance(error, NoLog) and path in request.searched):
            failed.append(str(error))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unusable(f"The report could not be written: {error}") from error


def _print(finding: Finding) -> None:
    sys.stdout.write(encode(finding).decode() + "\n")


@contextmanager
def _progress(files: int, quiet: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """Shows on a terminal how many files and steps are done; elsewhere nothing."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[steps]:,} steps"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("replay", total=files, steps=0)

        def advance(done: int, steps: int | None) -> None:
            more: dict[str, Any] = {} if steps is None else {"steps": steps}
            bar.update(task, advance=done, **more)

        yield advance
