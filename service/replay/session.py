"""One call of ``losswatch replay``, from what was asked for to the exit status."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from consumers.rows import Limits
from losswatch.encoding import encode
from losswatch.kafka_transport import KafkaTransport
from losswatch.schema import Finding, Record
from losswatch.transport import Unavailable
from service.replay.compare import parting, told, totals
from service.replay.engine import Names, Outcome, Replay
from service.replay.files import NoSuchFile, files_of
from service.replay.publish import Published, at_once, paced, publish
from service.replay.report import render
from service.replay.sources import Direction, Log, Options, Unreadable, open_log
from service.replay.summary import Summary, refused_of
from service.replay.verdict import Severity, at_least, verdict_on
from service.serve import CannotServe, deployed_thresholds, product_version
from service.settings import Settings

PASSED: Final = 0
FOUND: Final = 1
UNREADABLE: Final = 2
DIRECTIONS: Final[Mapping[str, Direction]] = {"higher": "higher", "lower": "lower"}


class Unusable(Exception):
    """The call cannot be carried out; the message says why."""


class Mapped(BaseModel):
    """What a mapping file says about the columns: the options of the command line, by name."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: str | None = None
    step: str | None = None
    total: str | None = None
    components: dict[str, str] = {}
    """Column by the name of the component."""
    metrics: dict[str, str] = {}
    """Column, or column and better direction, by the name of the metric."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be read, how, and against which thresholds."""

    paths: Sequence[Path]
    options: Options
    settings: Settings
    thresholds: Mapping[str, float]

    @classmethod
    def of(
        cls,
        files: Sequence[str],
        settings: Settings,
        *,
        format: str | None = None,
        step: str | None = None,
        total: str | None = None,
        components: Iterable[str] = (),
        metrics: Iterable[str] = (),
        mapping: Path | None = None,
        thresholds: Iterable[str] = (),
    ) -> Request:
        """From the words of the command line. Raises Unusable."""
        own = {name: _finite(name, value) for name, value in map(partial(_pair, "--threshold"), thresholds)}
        try:
            paths = files_of(files)
            known = deployed_thresholds(settings)
        except (NoSuchFile, CannotServe) as error:
            raise Unusable(str(error)) from error
        if unknown := sorted(own.keys() - known.keys()):
            raise Unusable(f"No detector has the threshold {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        in_file = Mapped() if mapping is None else _mapped(mapping)
        named = in_file.metrics | dict(map(partial(_pair, "--metric"), metrics))
        options = Options(
            format=format or in_file.format,
            step=step or in_file.step,
            total=total or in_file.total,
            components=in_file.components | dict(map(partial(_pair, "--component"), components)),
            metrics={name: _metric(column) for name, column in named.items()},
        )
        return cls(paths, options, settings, {**known, **own})

    def open(self, path: Path) -> Log:
        """The log in a file. Raises Unreadable."""
        return open_log(path, self.options)

    def replay(self, *, curves: bool = False) -> Replay:
        """A fleet for the files."""
        limits = Limits(
            runs=max(self.settings.max_runs, len(self.paths)),
            series_per_run=self.settings.max_series_per_run,
            name_length=self.settings.max_label_length,
        )
        return Replay(self.open, self.thresholds, limits, dtype=self.settings.dtype, curves=curves)


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
    with _progress(len(request.paths)) as advance:
        tell = _print if as_json else None
        for outcome in replay.results(request.paths, tell, turned=lambda steps: advance(0, steps)):
            advance(1, None)
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
        summary.show(refused_of(replay.telemetry.counters["refused"]))
    return status


def compare_all(request: Request) -> int:
    """Compare the first run of every file with that of the first file."""
    if len(request.paths) < 2:
        raise Unusable("Compare with what? --compare takes two logs or more.")
    outcomes = list(request.replay().results(request.paths))
    status = PASSED
    for outcome in outcomes:
        if outcome.error is not None:
            print(outcome.error, file=sys.stderr)
            status = UNREADABLE
    usable = [outcome for outcome in outcomes if outcome.runs]
    if len(usable) < 2:
        raise Unusable("Fewer than two of the files hold a run, so that there is nothing to compare.")
    first, console = usable[0], Console()
    for other in usable[1:]:
        one, two = first.runs[0], other.runs[0]
        console.print(f"[bold]{escape(one.run)}[/] and [bold]{escape(two.run)}[/]", highlight=False)
        logs = request.open(first.path), request.open(other.path)
        phases = [phase for phase in one.components if phase in two.components]
        for phase in phases:
            found = parting(totals(logs[0], phase), totals(logs[1], phase))
            for line in told(one, two, phase, found):
                console.print(Padding(escape(line), (0, 0, 0, 2), expand=False), highlight=False)
        if not phases:
            console.print("  They have no phase with a total in common.", highlight=False)
    return status


def publish_all(request: Request, speed: float) -> int:
    """Publish the files instead of judging them here."""
    address = request.settings.bootstrap_servers
    if not address:
        raise Unusable("Publish to which Kafka? Add --bootstrap-servers HOST:PORT.")
    names, failed = Names(), list[str]()
    logs = [_renamed(request.open, path, names, failed) for path in request.paths]
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


def _renamed(open_: Callable[[Path], Log], path: Path, names: Names, failed: list[str]) -> Iterator[Record]:
    """The records of a file, its runs told apart from those of the others; ends where it is unreadable."""
    try:
        for record in open_(path).records():
            name = names.of(path, record.run)
            yield record if name == record.run else record.model_copy(update={"run": name})
    except Unreadable as error:
        failed.append(str(error))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise Unusable(f"The report could not be written: {error}") from error


def _print(finding: Finding) -> None:
    sys.stdout.write(encode(finding).decode() + "\n")


@contextmanager
def _progress(files: int) -> Iterator[Callable[[int, int | None], None]]:
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


def _mapped(path: Path) -> Mapped:
    try:
        return Mapped.model_validate(yaml.safe_load(path.read_text(encoding="utf-8-sig")) or {})
    except OSError as error:
        raise Unusable(f"The mapping {path} could not be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Unusable(f"The mapping {path} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors())
        raise Unusable(f"The mapping {path} cannot be used: {wrong}.") from error


def _pair(option: str, text: str) -> tuple[str, str]:
    """NAME=VALUE; the name ends at the first equals sign."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise Unusable(f"{option} wants NAME=VALUE, not {text!r}.")
    return name, value


def _metric(column: str) -> tuple[str, Direction | None]:
    """COLUMN, or COLUMN:higher, or COLUMN:lower."""
    name, _, direction = column.rpartition(":")
    return (name, DIRECTIONS[direction]) if name and direction in DIRECTIONS else (column, None)


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Unusable(f"The threshold {name} must be a number, not {text!r}.")
    return value
