"""What runs in the pods, as whom, with which settings, and how Kubernetes learns that it is well."""

from __future__ import annotations

import json
import os
from inspect import signature
from typing import get_args

import pytest
from pydantic import SecretStr

from consumers.kafka import KafkaBroker
from consumers.outbox import FLUSH_SECONDS
from service.access import OPEN
from service.settings import Settings
from tests.deploy.helm.chart import (
    CI_VALUES,
    Object,
    environment,
    one,
    pod_templates,
    render,
    service_pod,
    workload,
)

TOKEN = "sesame-open-sesame"
SECRETS = {
    f"LOSSWATCH_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
}
cases = pytest.mark.parametrize("case", CI_VALUES)


@cases
def test_every_pod_keeps_the_restricted_standard(case: str) -> None:
    for _, pod in pod_templates(render(case)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all(volume.keys() & {"emptyDir", "secret", "configMap"} for volume in pod.get("volumes", ()))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@cases
def test_no_pod_gets_a_token_or_the_addresses_of_services_as_settings(case: str) -> None:
    for _, pod in pod_templates(render(case)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False


@cases
def test_nothing_is_there_twice_which_server_side_apply_would_refuse(case: str) -> None:
    for _, pod in pod_templates(render(case)):
        for container in pod["containers"]:
            for part, key in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "name")):
                names = [entry[key] for entry in container.get(part, ())]
                assert len(names) == len(set(names))
        names = [volume["name"] for volume in pod.get("volumes", ())]
        assert len(names) == len(set(names))


def test_the_user_is_the_one_of_the_image_unless_the_cluster_chooses() -> None:
    assert service_pod(render())["securityContext"]["runAsUser"] == 10001
    assert "runAsUser" not in service_pod(render("minimal"))["securityContext"]


def test_the_service_can_write_to_a_folder_of_its_own_and_calls_it_home() -> None:
    pod = service_pod(render())
    assert {"name": "tmp", "mountPath": "/tmp"} in pod["containers"][0]["volumeMounts"]
    assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
    assert environment(pod["containers"][0])["HOME"] == "/tmp"


def test_each_probe_asks_what_it_is_for() -> None:
    (container,) = service_pod(render())["containers"]
    asked = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "http", "scheme": "HTTP"},
        "liveness": {"path": "/healthz", "port": "http", "scheme": "HTTP"},
        "readiness": {"path": "/readyz", "port": "http", "scheme": "HTTP"},
    }
    assert {"/healthz", "/readyz"} <= OPEN, "the kubelet has no token"
    assert container["ports"] == [{"name": "http", "containerPort": 9108, "protocol": "TCP"}]
    assert environment(container)["LOSSWATCH_HTTP_PORT"] == "9108"


def test_the_service_has_minutes_to_start() -> None:
    startup = service_pod(render())["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120


def test_the_service_has_longer_to_stop_than_a_broker_that_hardly_answers_can_take() -> None:
    findings_and_snapshots = 2 * FLUSH_SECONDS
    commit_and_two_clients_to_close = 3 * signature(KafkaBroker).parameters["answer_timeout"].default
    grace = service_pod(render())["terminationGracePeriodSeconds"]
    assert grace > findings_and_snapshots + commit_and_two_clients_to_close


def test_the_environment_makes_the_settings_that_the_values_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_losswatch-tokens_token", TOKEN)
    monkeypatch.setenv("SECRET_losswatch-tokens_metrics", TOKEN)
    settings = settings_of(render("full"), monkeypatch)
    assert settings.bootstrap_servers == "kafka-0.kafka:9092,kafka-1.kafka:9094"
    assert (settings.group, settings.partitions, settings.device) == ("losswatch-prod", 24, "cpu")
    assert (settings.max_runs, settings.checkpoint_seconds) == (1_000_000, 2.5)
    assert settings.thresholds == {"class_entropy_floor": 0.8}
    assert settings.log_format == "text"
    assert settings.http_host == "0.0.0.0"
    assert settings.kafka_arguments() == {"security_protocol": "PLAINTEXT", "request_timeout_ms": 20000}


def test_a_login_with_certificates_takes_its_secrets_from_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_losswatch-user_password", "hunter2")
    assert settings_of(render("tls-sasl"), monkeypatch).kafka_arguments() == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": 'losswatch "prod"',
        "sasl_plain_password": "hunter2",
        "ssl_cafile": "/etc/losswatch/kafka-ca/ca.crt",
        "ssl_certfile": "/etc/losswatch/kafka-client/tls.crt",
        "ssl_keyfile": "/etc/losswatch/kafka-client/tls.key",
    }


def test_the_user_name_may_be_in_the_secret_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_losswatch-kafka_username", "me")
    monkeypatch.setenv("SECRET_losswatch-kafka_password", "hunter2")
    arguments = settings_of(render("keda"), monkeypatch).kafka_arguments()
    assert (arguments["sasl_plain_username"], arguments["sasl_plain_password"]) == ("me", "hunter2")


def test_certificates_are_mounted_where_the_settings_look_for_them() -> None:
    documents = render("tls-sasl")
    for pod in (service_pod(documents), one(documents, "Job")["spec"]["template"]["spec"]):
        mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts["kafka-ca"] == {"name": "kafka-ca", "mountPath": "/etc/losswatch/kafka-ca", "readOnly": True}
        volumes = {volume["name"]: volume.get("secret") for volume in pod["volumes"]}
        assert volumes["kafka-client"] == {
            "secretName": "losswatch-user",
            "defaultMode": 0o440,
            "items": [{"key": "user.crt", "path": "tls.crt"}, {"key": "user.key", "path": "tls.key"}],
        }


@cases
def test_no_secret_is_written_down(case: str) -> None:
    documents = render(case)
    assert not [document for document in documents if document["kind"] == "Secret"]
    for _, pod in pod_templates(documents):
        for container in pod["containers"]:
            values = environment(container) if "env" in container else {}
            for name in values.keys() & SECRETS:
                assert "secretKeyRef" in values[name]


def test_an_empty_setting_is_given_and_none_is_left_to_its_default() -> None:
    pod = service_pod(render(values={"settings": {"external_url": "", "log_format": None}}))
    variables = environment(pod["containers"][0])
    assert variables["LOSSWATCH_EXTERNAL_URL"] == ""
    assert "LOSSWATCH_LOG_FORMAT" not in variables


def test_the_page_is_protected_by_a_token_and_a_certificate_and_the_test_of_the_chart_can_read_it() -> None:
    documents = render("full")
    pod = service_pod(documents)
    (container,) = pod["containers"]
    variables = environment(container)
    assert variables["LOSSWATCH_HTTP_TOKEN"] == {"secretKeyRef": {"name": "losswatch-tokens", "key": "token"}}
    assert variables["LOSSWATCH_METRICS_TOKEN"] == {"secretKeyRef": {"name": "losswatch-tokens", "key": "metrics"}}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert variables["LOSSWATCH_HTTP_TLS_CERT"] == f"{mounts['http-tls']}/tls.crt"
    assert variables["LOSSWATCH_HTTP_TLS_KEY"] == f"{mounts['http-tls']}/tls.key"
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    (test,) = one(documents, "Pod")["spec"]["containers"]
    assert environment(test).items() <= variables.items()
    assert test["command"][-1] == "https://watch-prod:443"


def test_threads_follow_the_cpus_that_were_asked_for() -> None:
    threads = environment(service_pod(render())["containers"][0])["OMP_NUM_THREADS"]
    assert threads["resourceFieldRef"]["resource"] == "requests.cpu"
    assert "OMP_NUM_THREADS" not in environment(service_pod(render("minimal"))["containers"][0])


def test_a_gpu_is_asked_for_and_insisted_on() -> None:
    pod = service_pod(render("gpu"))
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"memory": "2Gi", "nvidia.com/gpu": 1}
    assert environment(container)["LOSSWATCH_DEVICE"] == "cuda"
    assert environment(container)["LOSSWATCH_DTYPE"] == "float32"
    assert container["image"] == "losswatch:0.1.0-cuda"
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == {"pool": "gpu", "nvidia.com/gpu.present": "true"}
    assert [taint["key"] for taint in pod["tolerations"]] == ["dedicated", "nvidia.com/gpu"]


def test_without_a_gpu_none_is_taken() -> None:
    pod = service_pod(render())
    assert not pod.keys() & {"runtimeClassName", "tolerations", "nodeSelector"}
    assert pod["containers"][0]["image"] == "losswatch:0.1.0"


def test_a_digest_wins_over_the_tag() -> None:
    image = service_pod(render("full", {"image": {"tag": "latest"}}))["containers"][0]["image"]
    assert image == f"registry.example.org/ml/losswatch@sha256:{4 * '0123456789abcdef'}"


def test_a_rollout_needs_no_pod_too_many() -> None:
    assert workload(render())["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert workload(render("full"))["spec"]["strategy"] == {"type": "Recreate"}


def test_a_stateful_set_starts_its_pods_at_once_and_needs_no_volume() -> None:
    spec = workload(render("statefulset"))["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["serviceName"] == one(render("statefulset"), "Service")["metadata"]["name"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"partition": 2}
    assert "volumeClaimTemplates" not in spec


def test_spreading_means_these_pods_unless_it_says_which() -> None:
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    other = spread | {"labelSelector": {"matchLabels": {"app": "other"}}}
    documents = render(values={"topologySpreadConstraints": [spread, other]})
    found = service_pod(documents)["topologySpreadConstraints"]
    assert found == [spread | {"labelSelector": workload(documents)["spec"]["selector"]}, other]


def test_what_is_extra_arrives_in_the_pod() -> None:
    documents = render("full")
    pod = service_pod(documents)
    (container,) = pod["containers"]
    assert environment(container)["TZ"] == "UTC"
    assert container["envFrom"] == [{"configMapRef": {"name": "proxies"}}]
    assert {"name": "extra", "mountPath": "/extra"} in container["volumeMounts"]
    assert {"name": "extra", "configMap": {"name": "extra"}} in pod["volumes"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["priorityClassName"] == "monitoring"
    metadata = workload(documents)["spec"]["template"]["metadata"]
    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"] == {"reloader.stakater.com/auto": "true"}


def test_only_the_pods_of_the_service_are_behind_the_service() -> None:
    documents = render("full")
    selector = one(documents, "Service")["spec"]["selector"].items()
    behind = [
        labels["app.kubernetes.io/component"] for labels, _ in pod_templates(documents) if selector <= labels.items()
    ]
    assert behind == ["service"]


def test_the_job_runs_before_the_pods_with_the_same_kafka() -> None:
    documents = render("tls-sasl")
    job = one(documents, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["losswatch", "topics", "--create"]
    service = environment(service_pod(documents)["containers"][0])
    assert environment(container).items() <= service.items()
    assert "serviceAccountName" not in pod, "the account is made after the hook"


def settings_of(documents: list[Object], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that the service reads in its pod; a key k of a Secret s is taken from SECRET_s_k."""
    known: dict[str, str] = {}
    for name, value in environment(service_pod(documents)["containers"][0]).items():
        if isinstance(value, dict) and "secretKeyRef" in value:
            text = os.environ[f"SECRET_{value['secretKeyRef']['name']}_{value['secretKeyRef']['key']}"]
        elif isinstance(value, dict):
            continue
        else:
            text = value
            for earlier, meant in known.items():
                text = text.replace(f"$({earlier})", json.dumps(meant)[1:-1])
        known[name] = text
        monkeypatch.setenv(name, text)
    return Settings()
