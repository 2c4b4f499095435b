"""What all dashboards share: variables, links among them, time range, and how they become JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.grafana.links import DOCS, PAGE, Link, as_builder
from deploy.grafana.panels import DATASOURCE, ORANGE, Panel
from deploy.grafana.promql import ALERTS, JOB

TAG: Final = "losswatch"
EVERYTHING: Final = ".*"

Section = tuple[str, Sequence[Panel]]
"""A heading and the panels below it."""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    title: str
    text: str
    variables: Sequence[QueryVariable]
    sections: Sequence[Section]
    annotations: Sequence[dict[str, Any]] = ()
    links: Sequence[Link] = ()

    def render(self) -> str:
        """The dashboard as Grafana reads it. Panels are numbered in their order."""
        board = (
            Dashboard(self.title)
            .uid(self.uid)
            .description(self.text)
            .tags([TAG])
            .readonly()
            .refresh("30s")
            .time("now-1h", "now")
            .timezone("browser")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        for choice in (*self.variables, _page(), _docs()):
            board.with_variable(choice)
        board.link(
            DashboardLink("losswatch")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
        )
        for link in self.links:
            board.link(as_builder(link))
        for heading, panels in self.sections:
            board.with_row(Row(heading))
            for panel in panels:
                board.with_panel(panel)
        made = json.loads(JSONEncoder().encode(board.build()))
        for number, panel in zip(count(1), made["panels"], strict=False):
            panel["id"] = number
        made["annotations"] = {"list": list(self.annotations)}
        return json.dumps(made, indent=2, sort_keys=True) + "\n"


def shown(panels: Iterable[Panel]) -> set[str]:
    """The names of the metrics that panels query."""
    made = json.dumps([json.loads(JSONEncoder().encode(panel.build())) for panel in panels])
    return set(re.findall(r"\blosswatch_\w+", made))


def variable(
    name: str, label: str, query: str, *, several: bool = True, everything: str | None = None
) -> QueryVariable:
    """A choice among label values. Where ``several`` can be chosen all are; ``everything`` is the regular
    expression for all of them, needed where some series do not have the label."""
    made = (
        QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
    )
    if several:
        made.multi(True).include_all(True).current(model.VariableOption(selected=True, text="All", value="$__all"))
    return made.all_value(everything) if everything else made


def job() -> QueryVariable:
    """The scrape jobs of losswatch: several deployments may share a Prometheus."""
    return variable("job", "Job", "label_values(losswatch_build_info, job)")


def instance() -> QueryVariable:
    """The services of the chosen jobs."""
    return variable("instance", "Instance", f"label_values(losswatch_build_info{{{JOB}}}, instance)")


def project() -> QueryVariable:
    """What runs are runs of; a run need not say."""
    query = f"label_values(losswatch_run_info{{{JOB}}}, project)"
    return variable("project", "Project", query, everything=EVERYTHING)


def team() -> QueryVariable:
    """Whose runs are; a run need not say."""
    query = f"label_values(losswatch_run_info{{{JOB}}}, team)"
    return variable("team", "Team", query, everything=EVERYTHING)


def annotation(name: str, expr: str, colour: str, title: str, text: str, tags: str) -> dict[str, Any]:
    """Marks on every panel wherever ``expr`` has a value above 0; neighbouring ones are joined to a span."""
    return {
        "name": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": tags,
    }


def alerts() -> dict[str, Any]:
    """Marks while any alert of ours fires; the watchdog always does."""
    text = "fires for at least one run or service"
    return annotation("losswatch alerts", f"max by (alertname) ({ALERTS})", ORANGE, "{{alertname}}", text, "alertname")


def _page() -> QueryVariable:
    """Where the page of losswatch is: the services tell (LOSSWATCH_EXTERNAL_URL), or it is where a demo has it."""
    told = f'losswatch_build_info{{{JOB},external_url!=""}}'
    demo = f'label_replace(vector(1), "external_url", "{PAGE}", "", "")'
    query = f"query_result(max by (external_url) ({told}) or {demo} unless on () {told})"
    made = variable("page", "losswatch page", query, several=False)
    return made.regex('/external_url="([^"]+)"/').hide(model.VariableHide.HIDE_VARIABLE)


def _docs() -> TextBoxVariable:
    chosen = model.VariableOption(selected=True, text=DOCS, value=DOCS)
    box = TextBoxVariable("docs").label("Documents").default_value(DOCS).current(chosen).options([chosen])
    return box.hide(model.VariableHide.HIDE_VARIABLE)
