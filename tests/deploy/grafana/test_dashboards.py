"""The committed dashboards are what the code makes, valid, and good ones."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from consumers.telemetry import Telemetry
from consumers.view import View
from detectors.catalog import CELLS
from scripts.generate_dashboards import stale
from service.metrics import Exposition
from tests.deploy.grafana.dashboards import DASHBOARDS, ROOT, Dashboard, queries
from tests.deploy.grafana.lint import problems

SCHEMA = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text(encoding="utf-8"))
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
dashboards = pytest.mark.parametrize("uid", DASHBOARDS)


def exported() -> dict[str, str]:
    """The name of every metric that the service can export, and the family it is of."""
    telemetry = Telemetry()
    telemetry.heartbeat = telemetry.checkpointed = 1.0  # without a first beat their metrics are left out
    families = Exposition(View, telemetry, thresholds={}, version="0").collect()
    names = {f.name + suffix: f.name for f in families for suffix in SUFFIXES.get(f.type, ("",))}
    readings = [f"losswatch_{reading.name}" for cell in CELLS for reading in cell.readings if reading.exported]
    return names | {name: name for name in readings}


EXPORTED = exported()


def test_there_are_four_dashboards_that_lead_from_the_fleet_to_the_service() -> None:
    assert DASHBOARDS.keys() == {"losswatch-fleet", "losswatch-run", "losswatch-publishers", "losswatch-service"}
    assert all(board["uid"] == uid for uid, board in DASHBOARDS.items())


@dashboards
def test_a_dashboard_is_explained(uid: str) -> None:
    title = DASHBOARDS[uid]["title"].removeprefix("losswatch / ")
    assert f"| {title} | `{uid}` | " in (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    assert not stale(), "run python -m scripts.generate_dashboards"


@dashboards
def test_a_dashboard_is_what_grafana_reads(uid: str) -> None:
    jsonschema.Draft7Validator(SCHEMA).validate(DASHBOARDS[uid])


@dashboards
def test_a_dashboard_is_a_good_one(uid: str) -> None:
    assert not problems(DASHBOARDS[uid], EXPORTED.keys())


def test_every_metric_is_shown_somewhere() -> None:
    asked = {name for board in DASHBOARDS.values() for q in queries(board) for name in re.findall(r"\w+", q.expr)}
    families = set(EXPORTED.values())
    unseen = families - {family for name, family in EXPORTED.items() if name in asked}
    assert not unseen, "add a panel, or say in the code of the dashboards where it belongs"


def first_panel(board: Dashboard) -> Any:
    return board["panels"][1]


def ask(expr: str) -> Callable[[Dashboard], None]:
    def change(board: Dashboard) -> None:
        first_panel(board)["targets"][0]["expr"] = expr

    return change


def put(*path: str | int, value: Any) -> Callable[[Dashboard], None]:
    def change(board: Dashboard) -> None:
        node: Any = board
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


PANEL = ("panels", 1)
BAD = {
    "does not parse": ask("sum(rate(up)"),
    "nothing exports losswatch_reday": ask('losswatch_reday{job=~"$job"}'),
    "not limited to the chosen job": ask("losswatch_ready"),
    "without rate or increase": ask('sum(losswatch_steps_total{job=~"$job"})'),
    "a fixed range": ask('sum(rate(losswatch_steps_total{job=~"$job"}[5m]))'),
    "one series per run": ask('max by (run) (losswatch_run_steps{job=~"$job"})'),
    "is not a variable": ask('losswatch_ready{job=~"$jobs"}'),
    "is not the variable": put(*PANEL, "datasource", "uid", value="P123"),
    "a title and a description": put(*PANEL, "description", value=""),
    "is not one that we use": put(*PANEL, "fieldConfig", "defaults", "unit", value="furlong"),
    "words for when nothing is known": put(*PANEL, "fieldConfig", "defaults", "noValue", value=""),
    "repeats": put(*PANEL, "repeat", value="run"),
    "have the id": put(*PANEL, "id", value=1),
    "overlap": put("panels", 2, "gridPos", "x", value=0),
    "are not in line": put("panels", 2, "gridPos", "h", value=3),
    "does not follow the time range": put("templating", "list", 1, "refresh", value=1),
    "no metric of ours": put("templating", "list", 1, "query", value="label_values(up, job)"),
    "leads to no document": put("links", 0, "url", value="${docs}/runbooks/LosswatchNothing.md"),
    "leads to no dashboard": put("links", 0, "url", value="/d/losswatch-nothing"),
    "leads outside": put("links", 0, "url", value="https://example.com"),
    "which is not there": put("links", 0, "url", value="${page}/${runs}"),
    "a fixed uid": put("uid", value=""),
}


@pytest.mark.parametrize("told", BAD)
def test_what_is_wrong_with_a_dashboard_is_found(told: str) -> None:
    board = copy.deepcopy(DASHBOARDS["losswatch-fleet"])
    BAD[told](board)
    assert told in "\n".join(problems(board, EXPORTED.keys()))


@pytest.mark.parametrize(("key", "value"), [("titel", "x"), ("gridPos", {"x": "left"}), ("description", 7)])
def test_a_misspelt_or_mistyped_property_is_not_valid(key: str, value: Any) -> None:
    board = copy.deepcopy(DASHBOARDS["losswatch-fleet"])
    first_panel(board)[key] = value
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(board)


def test_the_provisioned_datasource_and_folder_are_fixed() -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "losswatch.yaml").read_text(encoding="utf-8"))
    (source,) = sources["datasources"]
    assert (source["type"], source["uid"]) == ("prometheus", "losswatch-prometheus")
    providers = yaml.safe_load((PROVISIONING / "dashboards" / "losswatch.yaml").read_text(encoding="utf-8"))
    (provider,) = providers["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["folderUid"] == "losswatch"
