"""The rules, the routing and the runbooks belong together and to the code."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.telemetry import Telemetry
from consumers.view import View
from detectors.catalog import KINDS
from service.metrics import Exposition

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RULES = sorted((PROMETHEUS / "rules").glob("*.rules.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
RUNBOOK_URL = "https://example.org/losswatch/docs/runbooks/{}.md"
ALWAYS_FIRING = "LosswatchWatchdog"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ALL_RULES: list[dict[str, Any]] = [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL_RULES if "alert" in rule}
alerts = pytest.mark.parametrize("name", ALERTS)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{output}"
    return output


def test_promtool_accepts_the_rules_and_finds_nothing_to_complain_about() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_the_rules_pass_their_unit_tests() -> None:
    assert UNIT_TESTS
    run("promtool", "test", "rules", *UNIT_TESTS)


def test_promtool_accepts_the_prometheus_configuration() -> None:
    assert "1 rule files found" in run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_the_configuration_scrapes_the_job_that_the_rules_name() -> None:
    jobs = {job["job_name"] for job in load(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    named = {job for rule in ALL_RULES for job in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert named == jobs


def test_amtool_accepts_the_alertmanager_configuration() -> None:
    run("amtool", "check-config", ALERTMANAGER)


@alerts
def test_an_alert_is_routed_by_its_severity(name: str) -> None:
    severity = ALERTS[name]["labels"]["severity"]
    receiver = "watchdog" if name == ALWAYS_FIRING else "pager" if severity == "critical" else "team"
    labels = (f"alertname={name}", f"severity={severity}")
    run(
        "amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}", *labels
    )


def test_every_inhibition_names_alerts_that_exist() -> None:
    matchers = [
        matcher
        for rule in load(ALERTMANAGER)["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ]
    named = {name for matcher in matchers for name in re.findall(r"Losswatch\w+", matcher)}
    assert named
    assert named <= ALERTS.keys()


@alerts
def test_an_alert_says_how_bad_what_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    summary = rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert re.fullmatch(r"[^{}]+\.", summary), "a summary is one sentence, the same for every run"
    assert rule["annotations"]["description"].rstrip().endswith(".")
    assert rule["annotations"]["runbook_url"] == RUNBOOK_URL.format(name)


@alerts
def test_an_alert_has_a_runbook(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^(#+ .*)$", page, flags=re.MULTILINE)
    assert headings == [f"# {name}", "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]


@alerts
def test_an_alert_is_listed_with_its_severity(name: str) -> None:
    page = (ROOT / "docs" / "alerting.md").read_text(encoding="utf-8")
    assert f"| [{name}](runbooks/{name}.md) | {ALERTS[name]['labels']['severity']} | " in page


def test_no_runbook_is_left_over() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == ALERTS.keys()


@pytest.mark.parametrize("name", [name for name in ALERTS if name != ALWAYS_FIRING])
def test_an_alert_is_tested_silent_and_firing(name: str) -> None:
    expected = [
        check["exp_alerts"]
        for path in UNIT_TESTS
        for unit in load(path)["tests"]
        for check in unit.get("alert_rule_test", ())
        if check["alertname"] == name
    ]
    assert any(not alerts for alerts in expected), "never tested to be silent"
    assert any(alerts for alerts in expected), "never tested to fire"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_finding_has_an_alert_of_its_severity(kind: str) -> None:
    name = "Losswatch" + "".join(part.capitalize() for part in kind.split("_"))
    assert name in ALERTS, f"add the alert {name} for findings of kind {kind}"
    assert ALERTS[name]["labels"]["severity"] == KINDS[kind].severity
    assert f'kind="{kind}"' in ALERTS[name]["expr"]


def test_every_alert_on_findings_is_about_a_kind_that_exists() -> None:
    named = {kind for rule in ALL_RULES for kind in re.findall(r'kind="(\w+)"', rule["expr"])}
    assert named == KINDS.keys()


def test_every_metric_that_the_rules_name_is_one_that_the_service_exports() -> None:
    telemetry = Telemetry()
    telemetry.heartbeat = telemetry.checkpointed = 1.0  # without a first beat their metrics are left out
    exposition = Exposition(View, telemetry, thresholds={}, version="0")
    exported = set()
    for family in exposition.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
        exported |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    texts = [text for rule in ALL_RULES for text in (rule["expr"], *rule.get("annotations", {}).values())]
    queried = {name for text in texts for name in re.findall(r"\blosswatch_\w+", text)}
    assert queried
    assert queried <= exported
