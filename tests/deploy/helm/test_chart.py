"""Both helms take the chart with every file of values, and Kubernetes' own schemas take what comes out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from scripts.get_helm import RELEASES, Release
from tests.deploy.helm.chart import (
    CHART,
    CI_VALUES,
    HELM3,
    HELM4,
    Object,
    one,
    parse,
    refusal,
    render,
    run_helm,
    workload,
)

CRDS = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "crds").glob("*.json")}
KUBERNETES = ("1.27", "1.32", "1.37")

releases = pytest.mark.parametrize("release", RELEASES, ids=lambda release: f"helm-{release.version}")
cases = pytest.mark.parametrize("case", CI_VALUES)


def problems(document: Object, kubernetes: str) -> list[str]:
    if document["kind"] in CRDS:
        return [error.message for error in Draft202012Validator(CRDS[document["kind"]]).iter_errors(document)]
    try:
        kubernetes_validate.validate(document, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@releases
@cases
def test_helm_finds_nothing_to_complain_about(release: Release, case: str) -> None:
    done = run_helm(release, "lint", "--strict", CHART, "--values", CI_VALUES[case])
    assert done.returncode == 0, done.stdout


@cases
def test_both_helms_make_the_same(case: str) -> None:
    assert render(case, release=HELM3) == render(case, release=HELM4)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@cases
def test_every_object_is_one_that_kubernetes_takes(case: str, kubernetes: str) -> None:
    assert {d["kind"]: found for d in render(case) if (found := problems(d, kubernetes))} == {}


def test_every_kind_of_object_occurs_in_the_cases() -> None:
    kinds = {document["kind"] for case in CI_VALUES for document in render(case)}
    assert kinds >= CRDS.keys()
    assert kinds - CRDS.keys() == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Job", "NetworkPolicy", "Pod", "PodDisruptionBudget",
        "Service", "ServiceAccount", "StatefulSet",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "imagePullPolcy")),
        ("ServiceMonitor", ("spec", "endpoints", 0, "intervall")),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "annotation")),
        ("Job", ("spec", "retries")),
    ],
)
def test_the_schemas_notice_a_misspelt_field(kind: str, path: tuple[Any, ...]) -> None:
    broken = copy.deepcopy(one(render("full"), kind))
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = "x"
    assert problems(broken, KUBERNETES[-1])


@releases
def test_a_package_has_everything_that_the_folder_has(release: Release, tmp_path: Path) -> None:
    done = run_helm(release, "package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("losswatch-*.tgz")
    assert render("full", release=release, chart=package) == render("full")


def test_the_chart_works_inside_another_one(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    (parent / "charts" / "losswatch").symlink_to(CHART)
    dependency = {"name": "losswatch", "version": "0.1.0", "condition": "losswatch.enabled"}
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(about))
    values = {"global": {"registry": "x"}, "losswatch": {"enabled": True, "kafka": {"bootstrapServers": "kafka:9092"}}}
    done = run_helm(HELM4, "template", "watch-prod", parent, values=values)
    assert done.returncode == 0, done.stderr
    assert "kind: Deployment" in done.stdout


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"kafka": {"bootstrapServers": ""}}, "bootstrapServers"),
        ({"kafka": {"bootstrapServers": "kafka"}}, "bootstrapServers"),
        ({"kafka": {"sasl": {"password": "hunter2"}}}, "password"),
        ({"kafka": {"sasl": {"mechanism": "SCRAM"}}}, "mechanism"),
        ({"kafka": {"settings": {"sasl_plain_password": "hunter2"}}}, "sasl_plain_password"),
        ({"settings": {"kafka_password": "hunter2"}}, "kafka_password"),
        ({"settings": {"max_run": 5}}, "max_run"),
        ({"settings": {"max_runs": "many"}}, "max_runs"),
        ({"settings": {"max_runs": 0}}, "max_runs"),
        ({"settings": {"http_port": 80}}, "http_port"),
        ({"replicas": -1}, "replicas"),
        ({"replicaCount": 2}, "replicaCount"),
        ({"kind": "DaemonSet"}, "kind"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"service": {"port": 99999}}, "port"),
        ({"autoscaling": {"type": "both"}}, "type"),
        ({"autoscaling": {"minReplicas": 0}}, "minReplicas"),
        ({"autoscaling": {"keda": {"lagThreshold": "1k"}}}, "lagThreshold"),
        ({"monitor": {"interval": "15"}}, "interval"),
        ({"livenessProbe": {"httpGet": {"path": "/"}}}, "livenessProbe"),
        ({"terminationGracePeriodSeconds": 5}, "terminationGracePeriodSeconds"),
        ({"prometheusRule": {"overrides": {"LosswatchDown": {"severity": "info"}}}}, "severity"),
        ({"gpu": {"count": 0}}, "count"),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused_by_its_name(values: Object, word: str) -> None:
    message = refusal(values)
    assert "schema" in message
    assert word in message


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"replicas": 13}, "kafka.partitions is 12"),
        ({"autoscaling": {"type": "keda", "maxReplicas": 13}}, "kafka.partitions is 12"),
        ({"autoscaling": {"type": "hpa", "minReplicas": 5, "maxReplicas": 4}}, "more than autoscaling.maxReplicas"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN", "username": "me"}}}, "name the Secret"),
        ({"kafka": {"sasl": {"mechanism": "PLAIN", "existingSecret": "s"}}}, "give the user name"),
        ({"prometheusRule": {"enabled": True, "overrides": {"Typo": {"for": "5m"}}}}, "there is no such alert"),
    ],
    ids=str,
)
def test_values_that_contradict_each_other_are_refused_with_a_sentence(values: Object, sentence: str) -> None:
    assert sentence in refusal(values)


def test_selectors_stay_the_same_whatever_the_labels_are() -> None:
    values = {"commonLabels": {"team": "ml"}, "podLabels": {"a": "b"}, "image": {"tag": "9"}, "gpu": {"enabled": True}}
    assert workload(render(values=values))["spec"]["selector"] == workload(render())["spec"]["selector"]
    assert workload(render())["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "losswatch",
        "app.kubernetes.io/instance": "watch-prod",
        "app.kubernetes.io/component": "service",
    }


def test_names_fit_however_long_the_release_is() -> None:
    done = run_helm(HELM4, "template", "r" * 53, CHART, "--values", CI_VALUES["full"])
    names = [document["metadata"]["name"] for document in parse(done.stdout)]
    assert max(len(name) for name in names if "dashboard" not in name) <= 63


def test_every_object_is_in_its_namespace_and_says_what_it_belongs_to() -> None:
    for document in render("full"):
        if document["metadata"]["name"].endswith(("-object", "-text")):
            continue  # extraManifests are the user's
        metadata = document["metadata"]
        expected = "monitoring" if document["kind"] in ("ServiceMonitor", "PrometheusRule", "ConfigMap") else "ml"
        assert metadata["namespace"] == expected
        assert metadata["labels"]["app.kubernetes.io/name"] == "watch"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "watch-prod"
        assert metadata["labels"]["team"] == "ml"


def test_extra_manifests_are_templates_as_objects_and_as_text() -> None:
    names = {document["metadata"]["name"] for document in render("full") if document["kind"] == "ConfigMap"}
    assert {"watch-prod-object", "watch-prod-text"} <= names


def test_the_notes_say_what_is_missing_and_what_is_dangerous() -> None:
    def notes(case: str, **values: Any) -> str:
        # A dry run without a cluster is the only way to see them.
        arguments = ("install", "watch-prod", CHART, "--dry-run=client", "--values", CI_VALUES[case])
        return run_helm(HELM4, *arguments, values=values).stdout.partition("NOTES:")[2]

    bare = notes("default")
    assert "monitor.kind=ServiceMonitor" in bare
    assert "prometheusRule.enabled=true" in bare
    assert "WARNING" not in bare
    assert "monitor.labels.release=<release>" in notes("statefulset")
    assert "Each pod shows the runs of its own partitions" in notes("statefulset")
    assert "monitor.labels" not in notes("full")
    assert "no login" in notes("default", service={"type": "LoadBalancer"})
    sasl = {"mechanism": "PLAIN", "existingSecret": "s", "username": "me"}
    assert "unencrypted" in notes("default", kafka={"sasl": sasl})
