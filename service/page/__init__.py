"""The status page: what a person looks at without Grafana. Rendered here, refreshed in place by ``static/page.js``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from consumers.telemetry import Telemetry
from consumers.view import RunView, Trace, View
from losswatch.schema import Finding
from service.page import classes, coverage, words
from service.page.slices import TABLES, bests
from service.page.sparkline import HEIGHT, WIDTH, Sparkline, sparkline
from service.page.words import LABELS, LEVELS, State

PER_PAGE: Final = 50
KINDS: Final = ("total", "reading", "component", "metric", "slice")
"""The order of the charts of a run."""
NEWEST: Final = {
    "total_reported": "total",
    "class_entropy_ratio": "reading",
    "class_entropy_bound_ratio": "reading",
    "embedding_cosine_ratio": "reading",
    "component_value": "component",
    "metric_value": "metric",
}
"""The table that has the newest value of a kind of trace: a trace is thinned and may end a little earlier."""
CLASS_ENTROPY: Final = "class_entropy_ratio"
EMBEDDING_COSINE: Final = "embedding_cosine_ratio"
NAMES: Final = {CLASS_ENTROPY: "class entropy", EMBEDDING_COSINE: "mean cosine of embeddings"}
"""Readings under a more readable name."""
ABOUT: Final = {
    "diversity_decline": CLASS_ENTROPY,
    "diversity_collapse": CLASS_ENTROPY,
    "representation_collapse": EMBEDDING_COSINE,
}
"""The reading that findings of a kind without a subject are about."""


Newest = Mapping[tuple[str, str, str, str], float]
"""Newest values by run, kind of trace, phase and name (empty for totals)."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A sparkline and what it shows."""

    name: str
    phase: str
    kind: str
    svg: Sparkline
    newest: float
    floor: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One run of the list."""

    run: RunView
    state: State
    charts: Sequence[Chart]


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the table of components."""

    phase: str
    name: str
    value: float | None
    weight: float | None
    contribution: float | None
    share: float | None


def run_path(run: str) -> str:
    """The address of a run's page; the name is one segment, whatever it holds.

    >>> run_path("a/b?c")
    '/runs/a%2Fb%3Fc'
    """
    return f"/runs/{quote(run, safe='', errors='replace')}"


def _environment() -> Environment:
    templates = Environment(
        loader=PackageLoader("service.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "number": words.number,
        "percent": words.percent,
        "duration": words.duration,
        "run_path": run_path,
    }
    templates.globals |= {
        "LABELS": LABELS,
        "LEVELS": LEVELS,
        "WIDTH": WIDTH,
        "HEIGHT": HEIGHT,
        "words": words,
        "query": lambda **given: urlencode({name: value for name, value in given.items() if value}),
    }
    return templates


@dataclass(frozen=True, slots=True)
class Pages:
    """Renders the pages. ``thresholds`` are the deployment's; ``bootstrap`` is what jobs connect to."""

    thresholds: Mapping[str, float]
    bootstrap: str
    version: str
    heartbeat_limit: float = 30.0
    _templates: Environment = field(default_factory=_environment)

    def fleet(
        self,
        view: View,
        telemetry: Telemetry,
        now: float,
        beat: float,
        *,
        search: str,
        level: str,
        page: int,
        part: bool,
    ) -> str:
        """The list of runs, worst first. ``beat`` is the age of the worker's heartbeat in seconds;
        ``part`` leaves out the frame around the content."""
        states = {name: words.state_of(run, view.findings.get(name, ()), now) for name, run in view.runs.items()}
        counts = {one: sum(state.level == one for state in states.values()) for one in LEVELS}
        found = [
            run
            for name, run in view.runs.items()
            if (not level or states[name].level == level) and search.casefold() in f"{name} {run.job}".casefold()
        ]
        found.sort(key=lambda run: (states[run.run].rank, -run.started, run.run))
        pages = max(1, -(-len(found) // PER_PAGE))
        page = min(max(page, 1), pages)
        first = (page - 1) * PER_PAGE
        newest = _newest(view, {run.run for run in found[first : first + PER_PAGE]})
        shown = [
            Row(run, states[run.run], self._row_charts(view, run, newest)) for run in found[first : first + PER_PAGE]
        ]
        return self._render(
            "fleet.html", telemetry, now, beat, part,
            rows=shown, counts=counts, total=len(view.runs), found=len(found), first=first,
            search=search, level=level, page=page, pages=pages,
        )  # fmt: skip

    def run(self, view: View, run: RunView, telemetry: Telemetry, now: float, beat: float, *, part: bool) -> str:
        """Everything about one run."""
        findings = view.findings.get(run.run, ())
        traces = sorted(view.traces.get(run.run, ()), key=lambda t: (_order(t), t.phase, t.name))
        newest = _newest(view, {run.run})
        charts = [chart for trace in traces if (chart := self._chart(trace, run, findings, newest))]
        readings = view.of_run(run.run)
        return self._render(
            "run.html", telemetry, now, beat, part,
            run=run, state=words.state_of(run, findings, now), findings=findings, charts=charts,
            components=_components(readings), classes=classes.fares(readings), slices=bests(readings, run.checkpoints),
            coverage=coverage.covered(readings), readings=_single(readings),
            declared=json.dumps(run.declared, indent=2, ensure_ascii=False, default=str),
        )  # fmt: skip

    def missing(self, heading: str, text: str, telemetry: Telemetry, now: float, beat: float, *, part: bool) -> str:
        """A page that says why there is nothing to see."""
        return self._render("missing.html", telemetry, now, beat, part, heading=heading, text=text)

    def login(self, to: str, wrong: bool) -> str:
        """The form that takes the token and leads to ``to``; it tells nothing about the service."""
        return self._templates.get_template("login.html").render(to=to, wrong=wrong)

    def _row_charts(self, view: View, run: RunView, newest: Newest) -> Sequence[Chart]:
        traces = sorted(view.traces.get(run.run, ()), key=lambda t: (_order(t), t.phase != "train"))
        chosen = {t.kind: t for t in reversed(traces) if t.kind == "total" or t.name == CLASS_ENTROPY}
        made = (self._chart(chosen[kind], run, (), newest) for kind in ("total", "reading") if kind in chosen)
        return [chart for chart in made if chart]

    def _chart(self, trace: Trace, run: RunView, findings: Sequence[Finding], newest: Newest) -> Chart | None:
        bound = newest.get((trace.run, "reading", trace.phase, "class_entropy_bound_ratio"), self._floor(run))
        floor = bound if trace.name == CLASS_ENTROPY else None
        svg = sparkline(trace.steps, trace.values, floor, [f.began for f in findings if _about(f, trace)])
        if svg is None:
            return None
        name = "" if trace.kind == "total" else trace.name
        kind = "metric" if trace.kind == "slice" else trace.kind
        value = newest.get((trace.run, kind, trace.phase, name), float(trace.values[-1]))
        return Chart(NAMES.get(trace.name, trace.name), trace.phase, trace.kind, svg, value, floor)

    def _floor(self, run: RunView) -> float | None:
        own = (run.declared.get("thresholds") or {}).get("class_entropy_floor")
        return float(own) if own is not None else self.thresholds.get("class_entropy_floor")

    def _render(self, name: str, telemetry: Telemetry, now: float, beat: float, part: bool, **more: Any) -> str:
        stale = beat > self.heartbeat_limit
        return self._templates.get_template(name).render(
            layout="part.html" if part else "frame.html", now=now, beat=beat, stale=stale, telemetry=telemetry,
            bootstrap=self.bootstrap, version=self.version, **more,
        )  # fmt: skip


def _newest(view: View, runs: Set[str]) -> Newest:
    return {
        (key[0], kind, key[1], table.name if kind == "reading" else "".join(key[2:])): value
        for table in view.tables
        if (kind := NEWEST.get(table.name))
        for key, value in zip(table.keys, table.values.tolist(), strict=True)
        if key[0] in runs and not math.isnan(value)
    }


def _order(trace: Trace) -> int:
    return KINDS.index(trace.kind) if trace.kind in KINDS else len(KINDS)


def _about(finding: Finding, trace: Trace) -> bool:
    """Whether a finding that is not over is about this series."""
    if finding.state == "resolved" or finding.phase != trace.phase:
        return False
    if trace.name in {other.subject for other in finding.also}:
        return True
    return trace.name == (finding.subject or ABOUT.get(finding.kind))


def _components(readings: Mapping[str, Mapping[tuple[str, ...], float]]) -> Sequence[Component]:
    columns = [readings.get(f"component_{name}", {}) for name in ("value", "weight", "contribution", "share_ratio")]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [Component(phase, name, *(column.get((phase, name)) for column in columns)) for phase, name in keys]


def _single(readings: Mapping[str, Mapping[tuple[str, ...], float]]) -> Sequence[tuple[str, str, float]]:
    """The other readings, as (phase, name, value). The first label of each is the phase."""
    return [
        (key[0], _reading(name, key[1:]), value)
        for name, values in readings.items()
        if not name.startswith("component_") and name not in {*TABLES, *classes.TABLES, *coverage.TABLES}
        for key, value in values.items()
    ]


def _reading(name: str, of: Sequence[str]) -> str:
    """A reading as the page calls it; a metric goes by its own name, others say what they are of."""
    if name == "metric_value":
        return " ".join(of)
    title = words.title(name.removesuffix("_ratio"))
    return f"{title} of {' '.join(of)}" if any(of) else title
