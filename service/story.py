"""What the demo tells: its jobs, what the service must find in each, and how that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN_EVERY: Final = 50
"""Steps between two lines about a job."""
COLOURS: Final = {"info": "cyan", "warning": "yellow", "critical": "bold red"}

Json = Mapping[str, Any]
Course = Sequence[Mapping[str, float]]
"""A job's steps so far, as it printed them."""


@dataclass(frozen=True, slots=True)
class Part:
    """One job of the demo and what the service must say about it."""

    run: str
    what: str
    weight: float
    """The diversity weight it starts with."""
    must_fire: frozenset[str]
    may_fire: frozenset[str] = frozenset()
    follows_advice: bool = False

    def misjudged(self, fired: set[str]) -> list[str]:
        """What is wrong with these findings, in words; empty if nothing is.

        >>> Part("r", "a healthy job", 5.0, frozenset()).misjudged({"diversity_collapse"})
        ['r: diversity_collapse fired but should not have']
        """
        missing = sorted(self.must_fire - fired)
        excess = sorted(fired - self.must_fire - self.may_fire)
        return [f"{self.run}: {kind} should have fired but did not" for kind in missing] + [
            f"{self.run}: {kind} fired but should not have" for kind in excess
        ]


COLLAPSING: Final = Part(
    "tta-collapsing",
    "diversity weight 0.1",
    0.1,
    must_fire=frozenset({"component_conflict", "diversity_decline", "diversity_collapse"}),
    may_fire=frozenset({"component_dominates"}),  # a weight of 0.1 leaves the diversity less than 1 % of the total
)
HEALTHY: Final = Part("tta-healthy", "diversity weight 5", 5.0, must_fire=frozenset())
ADVISED: Final = Part(
    "tta-advised",
    "0.1, then as advised",
    0.1,
    must_fire=frozenset({"diversity_decline"}),
    # until the advice is followed; the conflict only if it comes late on a busy machine
    may_fire=frozenset({"component_dominates", "component_conflict"}),
    follows_advice=True,
)


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

    def progress(self, run: str, course: Course) -> None:
        """Tell how far a job is."""
        end = len(course)
        for now in course[self._shown.get(run, 0) : end]:
            if now["step"] % SHOWN_EVERY == 0:
                self.say(
                    f"[dim]{run:15}[/] step {now['step']:3.0f}   total {now['total']:.3f}   "
                    f"class entropy {now['class_entropy']:.2f}   accuracy {now['accuracy']:6.1%}   "
                    f"diversity weight {now['weight']:.2f}"
                )
        self._shown[run] = end

    def findings(self, findings: Sequence[Json]) -> None:
        """Tell the findings that have fired or were resolved since the last time."""
        for finding in sorted(findings, key=lambda finding: int(finding["step"])):
            key = (str(finding["id"]), str(finding["state"]))
            if finding["confirmed"] is not None and key not in self._told:
                self._told.add(key)
                self.say(describe(finding))

    def summary(self, courses: Mapping[Part, Course], findings: Sequence[Json]) -> None:
        """Tell how every job went and what the service found in it."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))  # fits 80 columns
        for heading in ("run", "total", "class entropy", "accuracy", "findings fired"):
            table.add_column(heading, no_wrap=True)
        for part, course in courses.items():
            table.add_row(
                part.run,
                *(f"{course[0][name]:.2f} -> {course[-1][name]:.2f}" for name in ("total", "class_entropy")),
                f"{course[0]['accuracy']:.1%} -> {course[-1]['accuracy']:.1%}",
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
