"""Prometheus, Alertmanager and Grafana find in their containers what the rest of deploy/ holds, and it is valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.deploy.commands import PROMETHEUS, ROOT, RULES, load, run
from tests.deploy.compose.composed import FOLDER, binds, copied

Services = dict[str, Any]
IN_COMPOSE = {"127.0.0.1:9108": "losswatch:9108", "127.0.0.1:9093": "alertmanager:9093"}
"""An address in deploy/prometheus/prometheus.yml, and the one that containers use instead."""


def test_everything_that_is_mounted_is_there(services: Services) -> None:
    mounted = {
        source for name in ("alertmanager", "grafana", "prometheus") for source in binds(services[name]).values()
    }
    assert {path for path in mounted if not path.exists()} <= {FOLDER / "secrets"}


def test_promtool_accepts_what_prometheus_is_given(services: Services, tmp_path: Path) -> None:
    folder = copied(services["prometheus"], "/etc/prometheus", tmp_path)
    assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", folder / "prometheus.yml")


def test_prometheus_is_configured_as_everywhere_but_for_addresses() -> None:
    text = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
    for address, name in IN_COMPOSE.items():
        text = text.replace(address, name)
    assert load(FOLDER / "prometheus.yml") == yaml.safe_load(text)


def test_amtool_accepts_what_alertmanager_is_given(services: Services, tmp_path: Path) -> None:
    folder = copied(services["alertmanager"], "/etc/alertmanager", tmp_path)
    assert "SUCCESS" in run("amtool", "check-config", folder / "alertmanager.yml")
    assert list((folder / "templates").glob("*.tmpl"))


@pytest.mark.parametrize("address", IN_COMPOSE.values())
def test_prometheus_asks_at_addresses_that_exist(services: Services, address: str) -> None:
    name, _, port = address.partition(":")
    assert [published["target"] for published in services[name]["ports"]] == [int(port)]


def test_grafana_is_given_its_datasource_and_its_dashboards(services: Services, tmp_path: Path) -> None:
    grafana = services["grafana"]
    folder = copied(grafana, "/etc/grafana/provisioning", tmp_path)
    (datasource,) = [source for path in (folder / "datasources").iterdir() for source in load(path)["datasources"]]
    variable = datasource["url"].removeprefix("${").removesuffix("}")
    address = urlsplit(grafana["environment"][variable])
    assert [published["target"] for published in services[address.hostname or ""]["ports"]] == [address.port]
    (provider,) = [found for path in (folder / "dashboards").iterdir() for found in load(path)["providers"]]
    dashboards = binds(grafana)[provider["options"]["path"]]
    assert dashboards == ROOT / "deploy" / "grafana" / "dashboards"
    uids = [json.loads(path.read_text(encoding="utf-8"))["uid"] for path in dashboards.glob("*.json")]
    assert uids
    assert all(uids)
