"""The compose file: accepted by Docker Compose, sound, and in step with the code and the Dockerfile."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from service.cases import ADVISED, COLLAPSING, HEALTHY
from service.settings import Settings
from tests.deploy.commands import ROOT, run
from tests.deploy.compose.composed import EXAMPLE, FILE, GPU_FILE, compose, resolved

Services = dict[str, Any]
DEMO = ("demo-advised", "demo-collapsing", "demo-healthy")
LASTING = ("alertmanager", "grafana", "kafka", "losswatch", "prometheus")
DEFAULTS = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("files", [[FILE], [FILE, GPU_FILE]], ids=["cpu", "gpu"])
def test_docker_compose_accepts_the_files(files: list[Path]) -> None:
    assert compose("config", "--quiet", files=files) == ""


def test_docker_compose_refuses_a_misspelt_key(tmp_path: Path) -> None:
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text(FILE.read_text(encoding="utf-8").replace("depends_on:", "depend_on:"), encoding="utf-8")
    with pytest.raises(AssertionError, match="depend_on"):
        compose("config", "--quiet", files=[misspelt])


@pytest.mark.parametrize("path", [FILE, GPU_FILE], ids=["cpu", "gpu"])
def test_the_file_fits_the_schema_of_compose(path: Path) -> None:
    run(Path(sys.executable).with_name("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path)


def test_the_example_lists_exactly_the_variables_with_their_defaults() -> None:
    text = FILE.read_text(encoding="utf-8") + GPU_FILE.read_text(encoding="utf-8")
    used = re.findall(r"\$\{(\w+):-([^}]*)\}", text)
    assert set(used) == DEFAULTS.items()
    assert len(used) == text.count("${"), "a variable has no default"


def test_the_versions_are_those_of_the_project_and_of_its_dockerfile() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert DEFAULTS["LOSSWATCH_VERSION"] == project["version"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"ARG PYTHON_IMAGE={DEFAULTS['PYTHON_IMAGE']}\n" in dockerfile
    assert f"ARG TORCH={DEFAULTS['TORCH']}\n" in dockerfile


def test_every_image_names_its_version(services: Services) -> None:
    tags = {service["image"].rpartition(":")[2] for service in services.values()}
    assert [tag for tag in tags if not re.search(r"\d+\.\d+", tag)] == []


def test_these_are_all_services(services: Services) -> None:
    assert services.keys() == {*LASTING, *DEMO}


@pytest.mark.parametrize("name", LASTING)
def test_a_service_is_started_again_checked_and_open_to_this_machine_only(services: Services, name: str) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service or name == "losswatch", "the image of losswatch brings its own"
    assert [port for port in service["ports"] if port["host_ip"] != "127.0.0.1"] == []


@pytest.mark.parametrize("name", ["alertmanager", "grafana", "prometheus"])
def test_a_health_check_asks_at_the_port_that_is_published(services: Services, name: str) -> None:
    assert f":{services[name]['ports'][0]['target']}/" in services[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["losswatch", *DEMO])
def test_our_containers_have_no_more_rights_than_they_need(services: Services, name: str) -> None:
    service = services[name]
    assert service["read_only"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_what_is_stored_outlives_its_container(services: Services) -> None:
    kept = {
        name: [mount["target"] for mount in services[name].get("volumes", ()) if mount["type"] == "volume"]
        for name in LASTING
    }
    assert kept == {
        "alertmanager": ["/alertmanager"],
        "grafana": ["/var/lib/grafana"],
        "kafka": [services["kafka"]["environment"]["KAFKA_LOG_DIRS"]],
        "losswatch": [],
        "prometheus": ["/prometheus"],
    }
    flags = [*services["prometheus"]["command"], *services["alertmanager"]["command"]]
    assert {"--storage.tsdb.path=/prometheus", "--storage.path=/alertmanager"} <= set(flags)


def test_the_service_understands_its_variables(services: Services) -> None:
    given = services["losswatch"]["environment"]
    settings = Settings(**{name.removeprefix("LOSSWATCH_").lower(): value for name, value in given.items()})
    assert settings.bootstrap_servers == "kafka:9092"
    assert {"-".join(map(str, (port["published"], port["target"]))) for port in services["losswatch"]["ports"]} == {
        f"{DEFAULTS['LOSSWATCH_PORT']}-{settings.http_port}"
    }


def test_jobs_outside_are_sent_to_the_port_of_kafka_that_is_published() -> None:
    kafka = resolved(environment={"KAFKA_PORT": "7777"})["kafka"]
    (port,) = kafka["ports"]
    assert f"HOST://127.0.0.1:{port['published']}" in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"HOST://:{port['target']}" in kafka["environment"]["KAFKA_LISTENERS"].split(",")
    assert port["published"] == "7777"


def test_the_gpu_file_gives_the_service_a_gpu_and_a_torch_that_uses_it() -> None:
    service = resolved([FILE, GPU_FILE])["losswatch"]
    assert service["build"]["args"]["TORCH"] == service["environment"]["LOSSWATCH_DEVICE"] == "cuda"
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_the_demo_runs_the_jobs_of_losswatch_demo_once(services: Services) -> None:
    commands = {name: services[name]["command"] for name in DEMO}
    runs = {command[command.index("--run") + 1]: command for command in commands.values()}
    assert runs.keys() == {part.run for part in (COLLAPSING, HEALTHY, ADVISED)}
    for part in (COLLAPSING, HEALTHY):
        assert tuple(runs[part.run][-len(part.arguments) :]) == part.arguments
    job = (ROOT / "examples" / "test_time_adaptation.py").read_text(encoding="utf-8")
    options = {word for command in runs.values() for word in command if word.startswith("--")}
    assert [option for option in options if f'"{option}"' not in job] == []
    assert {services[name]["restart"] for name in DEMO} == {"no"}
    assert {services[name]["build"]["target"] for name in DEMO} == {"demo"}
