"""The summary that a person reads in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from losswatch.schema import Finding
from service.page import words
from service.replay.engine import Outcome, RunResult
from service.replay.verdict import LABELS, LEVELS, Verdict, in_a_line, shortened, sure, unjudged, verdict_on

STYLES: Final = {
    "critical": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "pending": "magenta",
    "unknown": "blue",
    "quiet": "bold",
}
IN_FULL: Final = 3
"""Runs that are told in full; more are told in a line each."""
MOST_FINDINGS: Final = 10
"""Findings of a run that are told in full."""


class Summary:
    """Gathers what became of the files and prints it: worst first."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._runs: list[tuple[RunResult, Verdict]] = []
        self._failed: list[Outcome] = []
        self._notes: list[str] = []
        self._overlooked = 0

    def add(self, outcome: Outcome) -> None:
        """Take in what became of a file."""
        self._runs += [(result, verdict_on(result)) for result in outcome.runs]
        if outcome.error is not None:
            self._failed.append(outcome)
        notes = [*outcome.unusable, *(f"{what}: {count}" for what, count in outcome.warnings.items())]
        self._notes += [f"{outcome.path}: {note}" for note in notes]

    def overlook(self) -> None:
        """Count a file that was found in a folder and is no log."""
        self._overlooked += 1

    def show(self, refused: Mapping[str, int], faults: int = 0) -> None:
        """Print everything. ``refused`` are the series that a cap kept out, by cap; ``faults`` counts the blocks that a
        detector could not judge."""
        self._runs.sort(key=lambda pair: (pair[1].rank, pair[1].fired[0].began if pair[1].fired else 0, pair[0].run))
        if len(self._runs) <= IN_FULL:
            for result, verdict in self._runs:
                self._in_full(result, verdict)
        else:
            self._in_lines()
        for note in self._notes[:MOST_FINDINGS]:
            self._say(f"[dim]{escape(note)}[/]")
        if len(self._notes) > MOST_FINDINGS:
            self._say(f"[dim]and {len(self._notes) - MOST_FINDINGS} more remarks about files[/]")
        for cap, count in refused.items():
            self._say(
                f"[yellow]The cap {escape(cap)} kept {count} series out; docs/settings.md tells how to raise it.[/]"
            )
        if faults:
            self._say(f"[bold red]{faults} blocks could not be judged: a fault of losswatch, told in the log above.[/]")
        if self._overlooked:
            self._say(f"[dim]Files in the folders that are no logs: {self._overlooked}.[/]")
        for outcome in self._failed:
            self._say(f"[bold red]Unreadable:[/] {escape(str(outcome.error))}")
        self._totals()

    def _in_full(self, result: RunResult, verdict: Verdict) -> None:
        steps = ", ".join(f"{phase} to step {words.number(step)}" for phase, step in result.newest_step.items())
        self._say(
            f"[{STYLES[verdict.level]}]{verdict.label}[/]  [bold]{escape(result.run)}[/]  "
            f"[dim]{result.format}, {_rows(result.steps)}{': ' * bool(steps)}{escape(steps)}[/]"
        )
        told = [*verdict.fired, *verdict.pending]
        for finding in told[:MOST_FINDINGS]:
            self._finding(finding)
        if len(told) > MOST_FINDINGS:
            self._indented(f"[dim]and {len(told) - MOST_FINDINGS} more findings: --json or --html has them all[/]")
        if not told:
            found = (
                "Nothing was found." if verdict.level == "quiet" else "Nothing could be judged: that is not healthy."
            )
            self._indented(found)
        if result.late_steps:
            self._indented(f"[dim]{words.number(result.late_steps)} rows repeat steps or go back and were left out.[/]")
        for line in unjudged(verdict):
            self._indented(f"[dim]{escape(line)}[/]")
        self._say("")

    def _finding(self, finding: Finding) -> None:
        style = STYLES[finding.severity if finding.confirmed is not None else "pending"]
        about = " ".join(filter(None, (finding.phase, words.subject(finding))))
        self._indented(
            f"[{style}]{finding.severity}[/] [bold]{escape(finding.kind)}[/] {escape(about)}: {sure(finding)}"
        )
        self._indented(escape(finding.message), 4)
        if finding.advice is not None:
            self._indented(f"[bold]Advice:[/] {escape(words.advised(finding.advice))}.", 4)

    def _in_lines(self) -> None:
        names = shortened([result.run for result, _ in self._runs])
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True)
        table.add_column("run", overflow="fold", max_width=60)
        table.add_column("rows", justify="right", no_wrap=True)
        table.add_column("found", overflow="fold")
        for (result, verdict), name in zip(self._runs, names, strict=True):
            label = f"[{STYLES[verdict.level]}]{verdict.label}[/]"
            found = escape(in_a_line(verdict))
            if self._console.is_terminal:
                table.add_row(label, escape(name), words.number(result.steps), found)
            else:
                self._say(f"{label}  {escape(name)}  {_rows(result.steps)}  {found}")
        if self._console.is_terminal:
            self._console.print(table)
        never = sorted({kind for _, verdict in self._runs for kind in verdict.silent})
        if never:
            told = ", ".join(
                f"{words.plain(kind)} in {sum(kind in verdict.silent for _, verdict in self._runs)}" for kind in never
            )
            self._say(f"[dim]Never judged, too few steps or a part of the input missing, in so many runs: {told}.[/]")

    def _totals(self) -> None:
        counts = {level: sum(verdict.level == level for _, verdict in self._runs) for level in LEVELS}
        told = [f"{count} {LABELS[level].lower()}" for level, count in counts.items() if count]
        told += [f"{len(self._failed)} unreadable"] if self._failed else []
        runs = f"{len(self._runs)} run{'s' * (len(self._runs) != 1)}"
        self._say(f"{runs}: {', '.join(told)}." if told else "No run was found.")

    def _indented(self, text: str, by: int = 2) -> None:
        if self._console.is_terminal:
            self._console.print(Padding(text, (0, 0, 0, by), expand=False), highlight=False)
        else:
            self._say(" " * by + text)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=not self._console.is_terminal)


def _rows(count: int) -> str:
    return f"{words.number(count)} row{'s' * (count != 1)}"


def refused_of(counters: Mapping[tuple[str, ...], int]) -> dict[str, int]:
    """What caps kept out, by cap."""
    return {labels[0]: count for labels, count in counters.items() if labels}
