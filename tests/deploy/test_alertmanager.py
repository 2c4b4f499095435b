"""Alertmanager's configuration: what goes where, what mutes what, and what the messages say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.commands import ALERTMANAGER, ALERTS, load, run
from tests.deploy.messages import CASES

CONFIG = ALERTMANAGER / "alertmanager.yml"
GOLDEN = Path(__file__).parent / "golden"
ROUTED = {
    "watchdog": {"alertname": "LosswatchWatchdog", "severity": "info"},
    "nobody": {"alertname": "LosswatchRunGone", "severity": "info", "run": "ttt-42", "team": "research"},
    "research": {"severity": "warning", "run": "ttt-42", "team": "research"},
    "research-pager": {"severity": "critical", "run": "ttt-42", "team": "research"},
    "runs": {"severity": "warning", "run": "ttt-42", "team": "nobody-knows-them"},
    "runs-pager": {"severity": "critical", "run": "ttt-42"},
    "operators": {"alertname": "LosswatchLagHigh", "severity": "warning"},
    "operators-pager": {"alertname": "LosswatchDown", "severity": "critical"},
}
"""One alert for every route: the receiver and the labels."""
TEMPLATES = {
    "slack.txt": ("text", '{{ template "losswatch.slack.title" . }}\n\n{{ template "losswatch.slack.text" . }}'),
    "email.txt": ("text", '{{ template "losswatch.email.text" . }}'),
    "email.html": ("html", '{{ template "losswatch.email.html" . }}'),
}


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield route
    for child in route.get("routes", ()):
        yield from routes(child)


def test_amtool_accepts_the_configuration() -> None:
    run("amtool", "check-config", CONFIG)


def test_amlint_finds_nothing_to_complain_about() -> None:
    """But for the receiver that is empty on purpose."""
    run(Path(sys.executable).parent / "amlint", "check", "--strict", "--ignore", "empty-receiver", CONFIG)


@pytest.mark.parametrize("receiver", ROUTED)
def test_an_alert_reaches_its_receiver(receiver: str) -> None:
    labels = [f"{name}={value}" for name, value in ROUTED[receiver].items()]
    run("amtool", "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels)


def test_every_route_and_every_receiver_has_an_alert_that_reaches_it() -> None:
    config = load(CONFIG)
    assert [route["receiver"] for route in routes(config["route"])].count("research") == 1
    assert {route["receiver"] for route in routes(config["route"])} == ROUTED.keys()
    assert {receiver["name"] for receiver in config["receivers"]} == ROUTED.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_on_losswatch_itself_goes_to_its_operators(name: str) -> None:
    if "run" in re.findall(r"\$labels\.(\w+)", str(ALERTS[name])) or name == "LosswatchWatchdog":
        return
    receiver = "operators-pager" if ALERTS[name]["labels"]["severity"] == "critical" else "operators"
    labels = (f"alertname={name}", f"severity={ALERTS[name]['labels']['severity']}")
    run("amtool", "config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}", *labels)


def test_no_route_puts_two_runs_into_one_group() -> None:
    grouped = [route["group_by"] for route in routes(load(CONFIG)["route"]) if "group_by" in route]
    assert grouped
    assert all({"alertname", "cluster", "run"} <= set(labels) for labels in grouped)


def test_every_inhibition_names_alerts_that_exist() -> None:
    for rule in load(CONFIG)["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            for pattern in re.findall(r"Losswatch[\w.*]+", matcher):
                assert any(re.fullmatch(pattern, name) for name in ALERTS), pattern


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("case", CASES)
def test_a_message_is_the_golden_one(case: str, template: str, tmp_path: Path) -> None:
    """After a wanted change: ``python -m tests.deploy.test_alertmanager`` writes the golden files anew."""
    assert rendered(case, template, tmp_path) == (GOLDEN / f"{case}.{template}").read_text(encoding="utf-8")


def test_no_message_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{case}.{name}" for case in CASES for name in TEMPLATES}


def rendered(case: str, template: str, folder: Path) -> str:
    kind, text = TEMPLATES[template]
    data = folder / "data.json"
    data.write_text(json.dumps(CASES[case]), encoding="utf-8")
    glob, text = f"--template.glob={ALERTMANAGER}/templates/*.tmpl", f"--template.text={text}"
    return run("amtool", "template", "render", glob, text, f"--template.type={kind}", f"--template.data={data}")


if __name__ == "__main__":
    import tempfile

    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for case in CASES:
            for template in TEMPLATES:
                (GOLDEN / f"{case}.{template}").write_text(rendered(case, template, Path(made)), encoding="utf-8")
