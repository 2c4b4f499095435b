"""The rules and the runbooks belong together and to the code."""

from __future__ import annotations

import re

import pytest

from consumers.telemetry import Telemetry
from detectors.catalog import KINDS
from scripts.configure_alerting import configured
from service.alerts import HOLD_SECONDS, alert_name
from service.metrics import Exposition
from service.settings import Settings
from tests.deploy.commands import ALERTS, ALL_RULES, PROMETHEUS, ROOT, RULES, load, run
from tests.service.sample_view import sample_view

UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
SETTINGS = Settings()
ALWAYS_FIRING = "LosswatchWatchdog"
RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}
alerts = pytest.mark.parametrize("name", ALERTS)


def test_promtool_accepts_the_rules_and_finds_nothing_to_complain_about() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_the_rules_pass_their_unit_tests() -> None:
    assert UNIT_TESTS
    run("promtool", "test", "rules", *UNIT_TESTS)


def test_promtool_accepts_the_prometheus_configuration() -> None:
    assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


def test_the_configuration_scrapes_the_job_that_the_rules_name() -> None:
    jobs = {job["job_name"] for job in load(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    named = {job for rule in ALL_RULES for job in re.findall(r'job="([^"]*)"', rule["expr"])}
    assert named == jobs - {"alertmanager"}


@alerts
def test_an_alert_says_how_bad_what_and_where_to_read_on(name: str) -> None:
    rule = ALERTS[name]
    summary = rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert re.fullmatch(r"[^{}]+\.", summary), "a summary is one sentence, the same for every run"
    assert rule["annotations"]["description"].rstrip().endswith(".")
    assert rule["annotations"]["runbook_url"] == SETTINGS.runbook_url.replace("{alert}", name)


@pytest.mark.parametrize("name", [name for name, rule in ALERTS.items() if "$labels.run " in str(rule)])
def test_an_alert_on_a_run_leads_to_its_page_and_dashboard_and_says_what_to_do(name: str) -> None:
    annotations = ALERTS[name]["annotations"]
    if ALERTS[name]["labels"]["severity"] == "info":
        return  # it goes to nobody
    assert {"advice", "run_url", "dashboard_url"} <= annotations.keys()
    assert annotations["dashboard_url"].startswith(f"{SETTINGS.grafana_url}/d/losswatch-run?var-run={{{{")


def test_all_alerts_lead_to_the_same_places_after_the_addresses_were_configured() -> None:
    own = Settings(runbook_url="https://wiki.acme.io/{alert}", grafana_url="https://grafana.acme.io")
    for path in RULES:
        text = configured(path.read_text(encoding="utf-8"), own, "training")
        assert "example.org" not in text
        assert 'job="losswatch"' not in text
    assert "https://wiki.acme.io/LosswatchWatchdog\n" in text


def test_the_last_word_counts_as_long_in_the_rules_as_in_what_the_service_hands_over() -> None:
    held = next(rule["expr"] for rule in ALL_RULES if rule.get("record") == "finding:losswatch_finding_state:last")
    assert f"[{HOLD_SECONDS / 60:.0f}m]" in held


@pytest.mark.parametrize("record", sorted(RECORDED))
def test_a_recording_rule_is_named_by_level_metric_and_operation(record: str) -> None:
    assert re.fullmatch(r"[a-z_]+:losswatch_[a-z_]+:[a-z0-9_]+", record)


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
    name = alert_name(kind)
    assert name in ALERTS, f"add the alert {name} for findings of kind {kind}"
    assert ALERTS[name]["labels"]["severity"] == KINDS[kind].severity
    assert f'kind="{kind}"' in ALERTS[name]["expr"]


def test_every_alert_on_findings_is_about_a_kind_that_exists() -> None:
    named = {kind for rule in ALL_RULES for kind in re.findall(r'kind="(\w+)"', rule["expr"])}
    assert named == KINDS.keys()


def test_every_metric_that_the_rules_name_is_one_that_the_service_exports_or_they_make() -> None:
    telemetry = Telemetry()
    telemetry.heartbeat = telemetry.checkpointed = 1.0  # without a first beat their metrics are left out
    exposition = Exposition(sample_view, telemetry, thresholds={}, version="0")
    exported = set()
    for family in exposition.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}
        exported |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    texts = [text for rule in ALL_RULES for text in (rule["expr"], *rule.get("annotations", {}).values())]
    recorded = {name for text in texts for name in re.findall(r"\w+:losswatch_\w+:\w+", text)}
    queried = {name for text in texts for name in re.findall(r"(?<!:)\blosswatch_\w+\b(?!:)", text)}
    assert queried
    assert queried <= exported
    assert recorded <= RECORDED
