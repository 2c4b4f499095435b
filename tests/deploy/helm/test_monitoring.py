"""What Prometheus and Grafana get: scrapes, rules that can be changed one by one, dashboards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.helm.chart import CHART, ROOT, Object, one, pod_templates, render, workload

PROMETHEUS = ROOT / "deploy" / "prometheus"
SOURCES = sorted((PROMETHEUS / "rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
APPLIED = 256 * 1024
"""Most bytes of what ``kubectl apply`` writes into an annotation."""
ALERTS = [
    rule["alert"]
    for path in SOURCES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def rules(values: Object | None = None, case: str = "default") -> Object:
    enabled = {"prometheusRule": {"enabled": True} | (values or {}).pop("prometheusRule", {})} | (values or {})
    spec: Object = one(render(case, enabled), "PrometheusRule")["spec"]
    return spec


def alert(spec: Object, name: str) -> Object | None:
    found = [rule for group in spec["groups"] for rule in group["rules"] if rule.get("alert") == name]
    return found[0] if found else None


def changed(name: str, **override: Any) -> Object:
    """One alert, overridden."""
    found = alert(rules({"prometheusRule": {"overrides": {name: override}}}), name)
    assert found is not None
    return found


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_those_of_the_one_source() -> None:
    originals = [group for path in SOURCES for group in yaml.safe_load(path.read_text())["groups"]]
    assert {group["name"]: group for group in rules()["groups"]} == {group["name"]: group for group in originals}


def test_the_rendered_rules_pass_promtool_and_the_unit_tests_of_the_source(tmp_path: Path) -> None:
    spec = rules()
    rendered = tmp_path / "rendered.yml"
    rendered.write_text(yaml.safe_dump(spec))
    promtool("check", "rules", "--lint=all", "--lint-fatal", rendered)
    units = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
    assert units
    for unit in units:
        content = yaml.safe_load(unit.read_text())
        (tmp_path / unit.name).write_text(yaml.safe_dump(content | {"rule_files": ["rendered.yml"]}))
    promtool("test", "rules", *(tmp_path / unit.name for unit in units))


def test_changed_rules_pass_promtool_too(tmp_path: Path) -> None:
    rendered = tmp_path / "rendered.yml"
    rendered.write_text(yaml.safe_dump(one(render("full"), "PrometheusRule")["spec"]))
    promtool("check", "rules", "--lint=all", "--lint-fatal", rendered)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_can_be_switched_off_alone(name: str) -> None:
    spec = rules({"prometheusRule": {"overrides": {name: {"enabled": False}}}})
    left = [rule["alert"] for group in spec["groups"] for rule in group["rules"] if "alert" in rule]
    assert sorted([*left, name]) == sorted(ALERTS)


def test_every_part_of_an_alert_can_be_changed_and_the_rest_stays() -> None:
    before = alert(rules(), "LosswatchDown")
    assert before is not None
    assert changed("LosswatchDown", expr="vector(0)") == before | {"expr": "vector(0)"}
    assert changed("LosswatchDown", **{"for": "9m"}) == before | {"for": "9m"}
    assert changed("LosswatchDown", keep_firing_for="1h") == before | {"keep_firing_for": "1h"}
    assert changed("LosswatchDown", enabled=True) == before
    labels = {**before["labels"], "severity": "info", "page": "no"}
    assert changed("LosswatchDown", labels={"severity": "info", "page": "no"}) == before | {"labels": labels}
    annotations = {**before["annotations"], "summary": "Gone."}
    assert changed("LosswatchDown", annotations={"summary": "Gone."}) == before | {"annotations": annotations}


def test_labels_for_all_alerts_do_not_take_the_place_of_those_they_have() -> None:
    spec = one(render("full"), "PrometheusRule")["spec"]
    down = alert(spec, "LosswatchDown")
    assert down is not None
    assert down["labels"] == {"severity": "critical", "cluster": "eu-1"}
    assert alert(spec, "LosswatchHookDrops") is None


def test_links_lead_to_where_the_settings_say() -> None:
    spec = one(render("full"), "PrometheusRule")["spec"]
    for group in spec["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["runbook_url"] == f"https://wiki.internal/losswatch/{rule['alert']}"
    assert "example.org" not in re.sub(r"https://grafana\.example\.org/d/losswatch\n", "", yaml.safe_dump(spec))


def test_the_job_is_called_what_the_alerts_call_it() -> None:
    named = {job for text in (path.read_text() for path in SOURCES) for job in re.findall(r'job="([^"]*)"', text)}
    for case, kind in (("full", "Service"), ("statefulset", "StatefulSet")):
        documents = render(case)
        monitor = one(documents, "ServiceMonitor" if kind == "Service" else "PodMonitor")
        labels = one(documents, kind)["metadata"]["labels"]
        assert {labels[monitor["spec"]["jobLabel"]]} == named


@pytest.mark.parametrize("release", ["losswatch", "other"])
def test_the_job_keeps_its_name_whatever_the_release_is_called(release: str) -> None:
    documents = render("statefulset", {"nameOverride": release, "fullnameOverride": release})
    (labels,) = [labels for labels, _ in pod_templates(documents) if labels["app.kubernetes.io/component"] == "service"]
    assert labels["app.kubernetes.io/part-of"] == "losswatch"


def test_a_service_monitor_finds_the_service_from_another_namespace() -> None:
    documents = render("full")
    monitor, service = one(documents, "ServiceMonitor"), one(documents, "Service")
    assert monitor["metadata"]["namespace"] == "monitoring"
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [service["metadata"]["namespace"]]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"] == {"credentials": {"name": "losswatch-tokens", "key": "metrics"}}
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"] == {"secret": {"name": "losswatch-tls", "key": "ca.crt"}}
    assert endpoint["tlsConfig"]["serverName"] == f"{service['metadata']['name']}.ml.svc"
    assert endpoint["honorTimestamps"] is False
    assert monitor["spec"]["sampleLimit"] == 100_000


def test_a_pod_monitor_finds_the_pods() -> None:
    documents = render("statefulset")
    monitor = one(documents, "PodMonitor")
    labels = workload(documents)["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    assert not [document for document in documents if document["kind"] == "ServiceMonitor"]


def test_every_dashboard_becomes_a_config_map_in_its_folder() -> None:
    maps = [d for d in render("full") if d["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    assert {name: json.loads(text) for d in maps for name, text in d["data"].items()} == {
        path.name: json.loads(path.read_text()) for path in DASHBOARDS
    }
    for found in maps:
        assert found["metadata"]["annotations"] == {"grafana_folder": "Training"}
        (text,) = found["data"].values()
        assert len(text) < APPLIED


def test_what_grafana_expands_and_helm_would_too_survives(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "losswatch", ignore=shutil.ignore_patterns("dashboards"))
    (chart / "files" / "dashboards").mkdir()
    board = {"title": 'Run "$run"', "legendFormat": "{{run}} <b>", "expr": 'a{run=~"$run"}\n> 1e6', "limit": 12345678}
    (chart / "files" / "dashboards" / "one_run.json").write_text(json.dumps(board))
    (found,) = (d for d in render("full", chart=chart) if d["metadata"]["name"].endswith("-dashboard-one-run"))
    assert json.loads(found["data"]["one_run.json"]) == board
