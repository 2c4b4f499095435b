"""How many pods there are, who decides that, and who may talk to them."""

from __future__ import annotations

import pytest

from losswatch.topics import PREDICTIONS, STEPS
from tests.deploy.helm.chart import one, pod_templates, render, service_pod, workload


@pytest.mark.parametrize("case", ["keda", "hpa"])
def test_who_scales_owns_the_number_of_pods(case: str) -> None:
    documents = render(case)
    assert "replicas" not in workload(documents)["spec"]
    scaler = one(documents, "ScaledObject" if case == "keda" else "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    found = workload(documents)
    assert target == {"apiVersion": "apps/v1", "kind": found["kind"], "name": found["metadata"]["name"]}
    assert not [d for d in documents if d["kind"] in ("ScaledObject", "HorizontalPodAutoscaler") and d is not scaler]


def test_nobody_scales_unless_asked_to() -> None:
    documents = render()
    assert workload(documents)["spec"]["replicas"] == 1
    assert not [d for d in documents if d["kind"] in ("ScaledObject", "HorizontalPodAutoscaler")]


def test_keda_looks_at_the_lag_of_each_topic_that_the_service_reads() -> None:
    documents = render("keda")
    spec = one(documents, "ScaledObject")["spec"]
    assert [trigger["metadata"]["topic"] for trigger in spec["triggers"]] == [STEPS, PREDICTIONS]
    for trigger in spec["triggers"]:
        assert trigger["type"] == "kafka"
        assert trigger["metadata"]["consumerGroup"] == "losswatch"
        assert trigger["metadata"]["lagThreshold"] == "10000"
        assert trigger["metadata"]["sasl"] == "scram_sha256"
        assert trigger["metadata"]["tls"] == "enable"
        assert trigger["metadata"]["excludePersistentLag"] == "true"
        assert trigger["authenticationRef"]["name"] == one(documents, "TriggerAuthentication")["metadata"]["name"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 6)


def test_keda_logs_in_with_what_the_pods_have() -> None:
    documents = render("keda")
    authentication = one(documents, "TriggerAuthentication")["spec"]
    (container,) = service_pod(documents)["containers"]
    assert authentication["env"] == [
        {"parameter": "username", "name": container["env"][2]["name"], "containerName": container["name"]}
    ]
    assert container["env"][2]["name"] == "KAFKA_USERNAME"
    found = {entry["parameter"]: (entry["name"], entry["key"]) for entry in authentication["secretTargetRef"]}
    assert found == {
        "password": ("losswatch-kafka", "password"),
        "ca": ("kafka-ca", "ca.crt"),
        "cert": ("losswatch-client", "tls.crt"),
        "key": ("losswatch-client", "tls.key"),
    }


def test_without_a_login_keda_has_none() -> None:
    documents = render(values={"autoscaling": {"type": "keda"}})
    assert not [d for d in documents if d["kind"] == "TriggerAuthentication"]
    assert all("authenticationRef" not in trigger for trigger in one(documents, "ScaledObject")["spec"]["triggers"])


@pytest.mark.parametrize("partitions", [1, 48])
def test_there_are_never_more_pods_than_partitions(partitions: int) -> None:
    values = {"kafka": {"partitions": partitions}, "autoscaling": {"type": "hpa"}}
    assert one(render(values=values), "HorizontalPodAutoscaler")["spec"]["maxReplicas"] == partitions


def test_scaling_down_takes_its_time() -> None:
    keda = one(render("keda"), "ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    hpa = one(render("hpa"), "HorizontalPodAutoscaler")["spec"]["behavior"]
    assert keda == hpa
    assert hpa["scaleDown"]["stabilizationWindowSeconds"] == 600
    assert hpa["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]


def test_a_drain_takes_one_pod_at_a_time_and_always_a_broken_one() -> None:
    documents = render("full")
    budget = one(documents, "PodDisruptionBudget")["spec"]
    assert budget["selector"] == workload(documents)["spec"]["selector"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_only_dns_kafka_and_what_was_added_goes_out() -> None:
    egress = one(render("full"), "NetworkPolicy")["spec"]["egress"]
    assert [[(p["port"], p["protocol"]) for p in rule["ports"]] for rule in egress] == [
        [(53, "UDP"), (53, "TCP")],
        [(9092, "TCP"), (9094, "TCP")],
        [(443, "TCP")],
    ]
    assert egress[1]["to"] == [{"podSelector": {"matchLabels": {"app": "kafka"}}}]


def test_the_ports_of_kafka_can_be_given() -> None:
    values = {"networkPolicy": {"enabled": True, "kafkaPorts": [9092, 29092]}}
    egress = one(render(values=values), "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for port in egress[1]["ports"]] == [9092, 29092]
    assert "to" not in egress[1]


def test_only_the_port_of_the_page_is_open_to_those_named_and_to_the_test() -> None:
    documents = render("full")
    spec = one(documents, "NetworkPolicy")["spec"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    test, given = rule["from"]
    assert given == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    admitted = [
        labels["app.kubernetes.io/component"]
        for labels, _ in pod_templates(documents)
        if test["podSelector"]["matchLabels"].items() <= labels.items()
    ]
    assert admitted == ["test"]


def test_the_policy_is_about_the_service_and_the_job_and_not_about_the_test() -> None:
    documents = render("full")
    selector = one(documents, "NetworkPolicy")["spec"]["podSelector"]
    (expression,) = selector["matchExpressions"]
    meant = [
        labels["app.kubernetes.io/component"]
        for labels, _ in pod_templates(documents)
        if selector["matchLabels"].items() <= labels.items() and labels[expression["key"]] in expression["values"]
    ]
    assert sorted(meant) == ["service", "topics"]
