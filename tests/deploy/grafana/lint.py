"""What makes a dashboard a bad one: the rules of grafana/dashboard-linter, and some of our own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Set
from itertools import accumulate
from typing import Any

import promql_parser

from tests.deploy.grafana.dashboards import ROOT, Dashboard, panels, queries, substituted

TIMES = {"__rate_interval": "1m", "__range": "1h"}
FROM_PROMETHEUS = {"up", "ALERTS", "scrape_samples_scraped"}
"""Metrics that Prometheus makes itself."""
NO_JOB = {"ALERTS"}
"""Metrics without the labels of a scrape target."""
UNITS = {"none", "short", "s", "percentunit", "eps", "bytes"}
LINK_CONTEXT = re.compile(r"__(data\.fields|field\.labels)\.\w+|__url_time_range")


def problems(board: Dashboard, exported: Set[str]) -> list[str]:
    """Everything that is wrong with a dashboard, given the names of the metrics that exist."""
    return [*_head(board), *_variables(board, exported), *_panels(board), *_layout(board), *_queries(board, exported)]


def _head(board: Dashboard) -> Iterator[str]:
    if not str(board.get("uid", "")).startswith("losswatch-") or board.get("id") is not None:
        yield "needs a fixed uid of our own and no id"
    if board.get("editable") or "losswatch" not in board["tags"]:
        yield "needs the tag losswatch, and not to be editable"
    if not any(link["type"] == "dashboards" and link["keepTime"] and link["includeVars"] for link in board["links"]):
        yield "needs a link to the others by tag that keeps time and variables"
    for source in _values(board, "datasource"):
        if source != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"the datasource {source} is not the variable"


def _values(node: Any, key: str) -> Iterator[Any]:
    """Every value under a key, however deep."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from _values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)


def _names(board: Dashboard) -> dict[str, str]:
    return {choice["name"]: ".*" for choice in board["templating"]["list"]} | TIMES


def _variables(board: Dashboard, exported: Set[str]) -> Iterator[str]:
    choices = board["templating"]["list"]
    if not any(choice["type"] == "datasource" and choice["name"] == "datasource" for choice in choices):
        yield "needs a datasource variable"
    for choice in (choice for choice in choices if choice["type"] == "query"):
        named = set(re.findall(r"\blosswatch_\w+", choice["query"]))
        if choice["refresh"] != 2:
            yield f"variable {choice['name']} does not follow the time range"
        if not named or not named <= exported:
            yield f"variable {choice['name']} asks for {named or 'no metric of ours'}"
    for url in filter(None, _values(board, "url")):
        yield from _link(url, _names(board))


def _link(url: str, known: dict[str, str]) -> Iterator[str]:
    for name in re.findall(r"\$\{([\w.]+)(?::\w+)?\}", url):
        if name not in known and not LINK_CONTEXT.fullmatch(name):
            yield f"the link {url} uses ${{{name}}}, which is not there"
    if (found := re.match(r"/d/([\w-]+)", url)) and not (
        ROOT / "deploy" / "grafana" / "dashboards" / f"{found[1]}.json"
    ).exists():
        yield f"the link {url} leads to no dashboard of ours"
    if found := re.fullmatch(r"\$\{docs\}/([\w./-]+?)(#.*)?", url):
        if not (ROOT / "docs" / found[1]).exists():
            yield f"the link {url} leads to no document"
    elif not url.startswith(("/d/", "${page}/", "${docs}/")):
        yield f"the link {url} leads outside"


def _panels(board: Dashboard) -> Iterator[str]:
    numbers = Counter(panel["id"] for panel in board["panels"])
    yield from (f"{times} panels have the id {number}" for number, times in numbers.items() if times > 1)
    for panel in panels(board):
        title, defaults = panel.get("title") or f"panel {panel['id']}", panel["fieldConfig"]["defaults"]
        if not panel.get("title") or len(panel.get("description", "")) < 8 or not panel["description"].endswith("."):
            yield f"{title}: needs a title and a description that says what to do"
        if defaults.get("unit") not in UNITS and not str(defaults.get("unit", "")).startswith("suffix: "):
            yield f"{title}: unit {defaults.get('unit')!r} is not one that we use"
        if not defaults.get("noValue"):
            yield f"{title}: needs words for when nothing is known"
        if not panel.get("targets"):
            yield f"{title}: asks nothing"
        if panel.get("repeat"):
            yield f"{title}: repeats, and a fleet has thousands of runs"
        if len({target["refId"] for target in panel.get("targets", ())}) < len(panel.get("targets", ())):
            yield f"{title}: two queries have the same letter"


def _layout(board: Dashboard) -> Iterator[str]:
    cells: Counter[tuple[int, int]] = Counter()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        right, bottom = grid["x"] + grid["w"], grid["y"] + grid["h"]
        if right > 24 or not grid["w"] or not grid["h"]:
            yield f"{panel['title']}: does not fit on the grid"
        cells.update((x, y) for x in range(grid["x"], right) for y in range(grid["y"], bottom))
    if any(panels_here > 1 for panels_here in cells.values()):
        yield "panels overlap"
    lines: dict[int, list[dict[str, int]]] = {}
    for panel in board["panels"]:
        lines.setdefault(panel["gridPos"]["y"], []).append(panel["gridPos"])
    for y, line in lines.items():
        edges = [0, *accumulate(grid["w"] for grid in line)]
        if len({grid["h"] for grid in line}) > 1 or [grid["x"] for grid in line] != edges[:-1]:
            yield f"the panels at the height {y} are not in line"


def _queries(board: Dashboard, exported: Set[str]) -> Iterator[str]:
    many = board["uid"] != "losswatch-run"
    for query in queries(board):
        try:
            tree = promql_parser.parse(substituted(query.expr, _names(board)))
        except (ValueError, KeyError) as error:
            yield f"{query}: does not parse: {error}"
            continue
        for selector in selectors(tree):
            yield from (f"{query}: {text}" for text in _selector(selector, exported))
        if re.search(r"\[(?!\$__)", query.expr):
            yield f"{query}: a fixed range does not follow the zoom: use $__rate_interval"
        for counter in re.findall(r"\b\w+_total\b", query.expr):
            if not re.search(rf"\b(rate|increase)\({counter}\b", query.expr):
                yield f"{query}: the counter {counter} says nothing without rate or increase"
        if (
            many
            and re.search(r"by \([^)]*\brun\b", query.expr)
            and not re.search(r"\b(topk|bottomk|count|sum)\b", query.expr)
        ):
            yield f"{query}: one series per run, and a fleet has thousands: use topk"


def _selector(selector: promql_parser.VectorSelector, exported: Set[str]) -> Iterator[str]:
    name = selector.name or ""
    if name not in exported | FROM_PROMETHEUS:
        yield f"nothing exports {name}"
    matched = {matcher.name for matcher in selector.matchers.matchers}
    if name not in NO_JOB and "job" not in matched:
        yield f"{name} is not limited to the chosen job"


def selectors(tree: Any) -> Iterator[promql_parser.VectorSelector]:
    """Every vector selector of a parsed expression."""
    if isinstance(tree, promql_parser.VectorSelector):
        yield tree
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(tree, name, None)
        if child is not None and not isinstance(child, str | int | float | bool):
            yield from selectors(child)
    for argument in getattr(tree, "args", None) or ():
        yield from selectors(argument)
