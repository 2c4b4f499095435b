"""What the chart takes from elsewhere is up to date, and its values are documented, one by one."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from scripts import generate_helm_chart
from tests.deploy.helm.chart import CHART, ROOT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


def test_the_generated_files_are_up_to_date() -> None:
    rendered = generate_helm_chart.render()
    stale = [path.name for path, text in rendered.items() if not path.exists() or path.read_text() != text]
    assert not stale, f"run python -m scripts.generate_helm_chart: {stale}"
    assert not generate_helm_chart.leftovers(rendered)


def test_every_value_is_described() -> None:
    described = {name for name, _, _ in generate_helm_chart.documented_values((CHART / "values.yaml").read_text())}
    undescribed = {
        path for path in paths(VALUES) if not any(path == name or path.startswith(f"{name}.") for name in described)
    }
    groups = {path for path in undescribed if any(name.startswith(f"{path}.") for name in described)}
    assert undescribed == groups


def test_the_schema_has_exactly_the_values_there_are() -> None:
    def known(schema: dict[str, Any], values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, set[str]]]:
        if schema.get("additionalProperties") is False:
            yield prefix, schema["properties"].keys() ^ values.keys()
            for name in schema["properties"].keys() & values.keys():
                if isinstance(values[name], dict):
                    yield from known(schema["properties"][name], values[name], f"{prefix}.{name}")

    differences = {path: names for path, names in known(SCHEMA, VALUES) if names and path != ".settings"}
    assert differences == {"": {"global", "enabled"}}, "both are for parent charts"


def test_the_settings_leave_out_secrets_and_what_the_chart_sets() -> None:
    settings = SCHEMA["properties"]["settings"]["properties"]
    assert not {"kafka_password", "alertmanager_token", "kafka", "http_port", "device", "group"} & settings.keys()
    assert {"max_runs", "thresholds", "http_host", "checkpoint_seconds"} <= settings.keys()
    assert settings["max_runs"]["minimum"] == 1


def test_the_application_is_the_one_of_this_checkout() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version
