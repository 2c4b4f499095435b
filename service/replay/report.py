"""The report of a replay: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import service.page
from losswatch.schema import Finding
from service.page import words
from service.replay.curves import CurveKey, Curves
from service.replay.engine import Outcome, RunResult
from service.replay.plot import HEIGHT, WIDTH, Mark, Plot, plot
from service.replay.verdict import LABELS, LEVELS, Verdict, in_a_line, shortened, sure, unjudged, verdict_on

STYLE: Final = Path(service.page.__file__).parent / "static" / "page.css"
ROLES: Final = ("total", "share", "component", "metric", "reading", "slice")
"""The order of the plots of a run."""
MOST_SHARES: Final = 8
"""Lines in one plot."""
CLASSES: Final = {"critical": "critical", "warning": "warning", "info": "info", "pending": "pending"} | {
    "unknown": "warming",
    "quiet": "finished",
}
"""The page's style of each level."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot and what it shows; ``names`` of its lines where there are several."""

    title: str
    phase: str
    role: str
    plot: Plot
    names: Sequence[str] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """One run."""

    anchor: str
    name: str
    result: RunResult
    verdict: Verdict
    figures: Sequence[Figure]
    explained: str | None


def render(outcomes: Sequence[Outcome], version: str) -> str:
    """The report, runs in the order of their trouble."""
    told = [(result, verdict_on(result), outcome.explained) for outcome in outcomes for result in outcome.runs]
    told.sort(key=lambda each: (each[1].rank, each[1].fired[0].began if each[1].fired else 0, each[0].run))
    names = shortened([result.run for result, _, _ in told])
    sections = [
        Section(f"run-{number}", names[number], result, verdict, list(_figures(result, verdict)), explained)
        for number, (result, verdict, explained) in enumerate(told)
    ]
    counts = {level: sum(section.verdict.level == level for section in sections) for level in LEVELS}
    return (
        _environment()
        .get_template("report.html")
        .render(
            sections=sections,
            failed=[outcome for outcome in outcomes if outcome.error is not None],
            remarks=[
                (outcome.path, [*outcome.unusable, *(f"{what}: {count}" for what, count in outcome.warnings.items())])
                for outcome in outcomes
                if outcome.unusable or outcome.warnings
            ],
            counts={level: count for level, count in counts.items() if count},
            version=version,
            style=Markup(STYLE.read_text(encoding="utf-8")),  # ours, and within <style> nothing is escaped
        )
    )


def _environment() -> Environment:
    templates = Environment(
        loader=PackageLoader("service.replay"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"number": words.number}
    templates.globals |= {
        "LABELS": LABELS,
        "CLASSES": CLASSES,
        "WIDTH": WIDTH,
        "HEIGHT": HEIGHT,
        "words": words,
        "in_a_line": in_a_line,
        "sure": sure,
        "unjudged": unjudged,
    }
    return templates


def _figures(result: RunResult, verdict: Verdict) -> Iterator[Figure]:
    curves = result.curves or Curves()
    findings = [*verdict.fired, *verdict.pending]
    keys = sorted(curves.by_key, key=lambda key: (ROLES.index(key.role), key.phase != "train", key.phase))
    for key in keys:
        if key.role == "share":
            continue
        drawn = plot([curves.by_key[key].points()], [m for f in findings if _about(f, key, keys) for m in _marks(f)])
        if drawn is not None:
            yield Figure(key.name, key.phase, key.role, drawn)
        shares = [each for each in keys if each.role == "share" and each.phase == key.phase]
        if key.role == "total" and shares:
            yield from _shares(curves, shares)


def _shares(curves: Curves, keys: Sequence[CurveKey]) -> Iterator[Figure]:
    shown = keys[:MOST_SHARES]
    if (drawn := plot([curves.by_key[key].points() for key in shown])) is not None:
        yield Figure(
            "shares of the total",
            keys[0].phase,
            "share",
            drawn,
            [key.name for key in shown],
            len(keys) - len(shown),
        )


def _about(finding: Finding, key: CurveKey, keys: Sequence[CurveKey]) -> bool:
    """Whether a finding is to be seen in this curve: its own, or else the total of its phase."""
    if finding.phase != key.phase:
        return False
    subjects = {finding.subject, *(other.subject for other in finding.also)}
    if any(each.phase == finding.phase and each.name in subjects and each.role != "share" for each in keys):
        return key.name in subjects
    return key.role in ("total", "reading")


def _marks(finding: Finding) -> Iterator[Mark]:
    kind = words.plain(finding.kind)
    tone = finding.severity if finding.confirmed is not None else "pending"
    yield Mark(finding.began, tone, "began", f"{kind} began at step {words.number(finding.began)}")
    if finding.confirmed is not None:
        yield Mark(finding.confirmed, tone, "confirmed", f"{kind} confirmed at step {words.number(finding.confirmed)}")
