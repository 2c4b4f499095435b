"""What the demo tells: what is right and wrong with its findings, and how that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN_EVERY: Final = 50
"""Steps between two lines about a job."""
SUMMED_UP: Final = 3
"""Columns of the summary, which is to fit 80 characters."""
COLOURS: Final = {"info": "cyan", "warning": "yellow", "critical": "bold red"}

Json = Mapping[str, Any]
Course = Sequence[Mapping[str, float]]
"""A job's steps so far, as it printed them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One job of the demo and what the service must say about it."""

    run: str
    what: str
    arguments: tuple[str, ...]
    """Of the training job's command line."""
    must_fire: frozenset[str]
    may_fire: frozenset[str] = frozenset()

    def misjudged(self, fired: Set[str]) -> list[str]:
        """What is wrong with these findings, in words; empty if nothing is.

        >>> Part("r", "a healthy job", (), frozenset()).misjudged({"diversity_collapse"})
        ['r: diversity_collapse fired but should not have']
        """
        missing = sorted(self.must_fire - fired)
        excess = sorted(fired - self.must_fire - self.may_fire)
        return [f"{self.run}: {kind} should have fired but did not" for kind in missing] + [
            f"{self.run}: {kind} fired but should not have" for kind in excess
        ]


@dataclass(frozen=True, slots=True)
class Column:
    """A number that the jobs of a case print."""

    name: str
    title: str
    form: str = ".3f"

    def told(self, now: Mapping[str, float], short: bool = False) -> str:
        """The number at a step, for a line of its own or ``short`` for a table."""
        return format(now[self.name], ".2f" if short and self.form.endswith("f") else self.form)


@dataclass(frozen=True, slots=True)
class Case:
    """One of the case studies: a training job in variants."""

    letter: str
    title: str
    script: str
    """File in ``examples``."""
    parts: tuple[Part, ...]
    columns: tuple[Column, ...]
    """The first `SUMMED_UP` of them are in the summary too."""


def kinds_fired(findings: Sequence[Json], run: str) -> set[str]:
    """The kinds of findings of a run that fired, whether or not they are resolved by now."""
    return {str(f["kind"]) for f in findings if f["run"] == run and f["confirmed"] is not None}


class Narrator:
    """Tells what happens as it happens: each finding once per state, each job every so many steps."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, str]] = set()
        self._shown: dict[str, int] = {}

    def say(self, text: str) -> None:
        """Print one paragraph; ``text`` may hold markup."""
        self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)

    def introduce(self, case: Case, parts: Sequence[Part]) -> None:
        """Tell what a case is about, and what must be found in each of its jobs."""
        self.say(f"\n[bold]Case {case.letter.upper()}[/]: {case.title}")
        for part in parts:
            expected = f"must fire: {', '.join(sorted(part.must_fire))}" if part.must_fire else "nothing must fire"
            allowed = f"; may fire: {', '.join(sorted(part.may_fire))}" if part.may_fire else ""
            self.say(f"  [bold]{part.run}[/]: {part.what}; {expected}{allowed}")

    def progress(self, case: Case, run: str, course: Course) -> None:
        """Tell how far a job is."""
        end = len(course)
        for now in course[self._shown.get(run, 0) : end]:
            if now["step"] % SHOWN_EVERY == 0:
                shown = "   ".join(f"{column.title} {column.told(now)}" for column in case.columns)
                self.say(f"[dim]{run:15}[/] step {now['step']:3.0f}   {shown}")
        self._shown[run] = end

    def findings(self, findings: Sequence[Json]) -> None:
        """Tell the findings that have fired or were resolved since the last time."""
        for finding in sorted(findings, key=lambda finding: int(finding["step"])):
            key = (str(finding["id"]), str(finding["state"]))
            if finding["confirmed"] is not None and key not in self._told:
                self._told.add(key)
                self.say(describe(finding))

    def summary(self, case: Case, courses: Mapping[Part, Course], findings: Sequence[Json]) -> None:
        """Tell how every job went and what the service found in it."""
        columns = case.columns[:SUMMED_UP]
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
        for heading in ("run", *(column.title for column in columns), "findings fired"):
            table.add_column(heading, no_wrap=True)
        for part, course in courses.items():
            ends = (course[0], course[-1])
            table.add_row(
                part.run,
                *(" -> ".join(column.told(now, short=True) for now in ends) for column in columns),
                "\n".join(sorted(kinds_fired(findings, part.run))) or "none",
            )
        self.say("\nFrom the first step to the last:")
        self._console.print(table)


def describe(finding: Json) -> str:
    """A finding that fired or was resolved, as a paragraph with markup."""
    name = escape(finding["kind"] + (f" ({finding['subject']})" if finding["subject"] else ""))
    run, message = f"[bold]{escape(finding['run'])}[/]", escape(finding["message"])
    if finding["state"] == "resolved":
        return f"[green]RESOLVED[/] {run} {name} at step {finding['step']}: {message}"
    colour = COLOURS[finding["severity"]]
    since = f"began at step {finding['began']}, confirmed at step {finding['confirmed']}"
    return f"[{colour}]{finding['severity'].upper()} {name}[/] {run} {since}: {message}{_advice(finding.get('advice'))}"


def _advice(advice: Json | None) -> str:
    if advice is None:
        return ""
    if advice["action"] == "set_weight":
        return f" [bold]Advice: set the weight of {escape(advice['component'])} to {advice['value']:.2f}.[/]"
    return " [bold]Advice: stop the job.[/]"
