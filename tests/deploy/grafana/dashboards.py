"""The generated dashboards, and their queries as Grafana sends them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
Dashboard = dict[str, Any]
DASHBOARDS: dict[str, Dashboard] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of one panel."""

    dashboard: str
    panel: str
    ref: str
    expr: str
    instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.ref}"


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Every panel but the headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Dashboard) -> Iterator[PanelQuery]:
    """Every query of every panel, and those of the annotations."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield PanelQuery(
                dashboard["uid"], panel["title"], target["refId"], target["expr"], bool(target.get("instant"))
            )
    for annotation in dashboard["annotations"]["list"]:
        yield PanelQuery(dashboard["uid"], f"annotation {annotation['name']}", "A", annotation["expr"], False)


def substituted(text: str, values: Mapping[str, str]) -> str:
    r"""Text with Grafana's variables replaced, as far as their formats are used here.

    >>> substituted('x{job=~"$job",run=${run:doublequote}}[$__range]', {"job": "a", "run": 'b"c', "__range": "1h"})
    'x{job=~"a",run="b\\"c"}[1h]'
    """

    def value(found: re.Match[str]) -> str:
        name, style = found["plain"] or found["name"], found["style"]
        if name not in values:
            raise KeyError(f"${name} is not a variable")
        return json.dumps(values[name], ensure_ascii=False) if style == "doublequote" else values[name]

    return re.sub(r"\$(?:(?P<plain>\w+)|\{(?P<name>[\w.]+)(?::(?P<style>\w+))?\})", value, text)
