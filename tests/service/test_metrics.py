from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from consumers.telemetry import COUNTERS, HISTOGRAMS, Telemetry
from consumers.view import Table, View
from detectors.catalog import CELLS
from service.metrics import Exposition, label
from tests.service.sample_view import HOSTILE, NOW, THRESHOLDS, big_view, finding, run, sample_view

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def telemetry() -> Telemetry:
    """A service that has worked for a while: at monotonic second 1000."""
    counts = Telemetry()
    counts.count("records", "losswatch.steps", "steps", by=40)
    counts.count("dead_letters", "losswatch.steps", "not_json", by=2)
    counts.count("findings", "diversity_collapse", "firing")
    counts.observe("batch_records", 7)
    counts.observe("stage_seconds", 0.002, "decode")
    counts.observe("event_age_seconds", 0.25)
    counts.lag = {("losswatch.steps", 3): 12}
    counts.heartbeat, counts.checkpointed, counts.ready = 999.5, 997.0, True
    return counts


def exposition(view: View, counts: Telemetry | None = None) -> Exposition:
    return Exposition(
        lambda: view, counts or telemetry(), THRESHOLDS, "1.2.3", clock=lambda: NOW, monotonic=lambda: 1000.0
    )


def text(view: View, accept: str = "", counts: Telemetry | None = None) -> str:
    return exposition(view, counts).render(accept)[0].decode()


def samples(exposed: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families: Iterable[Metric] = parse_text(exposed)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


@pytest.mark.parametrize(("accept", "file"), [("", "metrics.txt"), (OPENMETRICS, "metrics.openmetrics")])
def test_the_exposition_is_the_golden_one(accept: str, file: str) -> None:
    """After a wanted change: ``python -m tests.service.test_metrics`` writes the golden files anew."""
    assert text(sample_view(), accept) == (GOLDEN / file).read_text()


def test_the_accept_header_chooses_the_format() -> None:
    made = exposition(View())
    assert made.render("text/plain")[1].startswith("text/plain; version=0.0.4")
    assert made.render(OPENMETRICS)[1].startswith("application/openmetrics-text; version=1.0.0")


def test_openmetrics_is_valid() -> None:
    families = list(parse_openmetrics(text(sample_view(), OPENMETRICS)))  # type: ignore[no-untyped-call]  # it has no types
    assert {family.name for family in families} >= {"losswatch_records", "losswatch_component_share_ratio"}


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: scripts/install-system.sh installs it"
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text(sample_view()), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_metric_is_documented() -> None:
    documented = DOCS.read_text()
    names = {family.name for family in exposition(sample_view()).collect()}
    missing = [name for name in sorted(names) if f"`{name}" not in documented]
    assert not missing, f"docs/metrics.md does not mention {', '.join(missing)}"


def test_every_reading_of_the_detectors_is_documented() -> None:
    documented = DOCS.read_text()
    names = {reading.name for cell in CELLS for reading in cell.readings if reading.exported}
    missing = [name for name in sorted(names) if f"`losswatch_{name}" not in documented]
    assert not missing, f"docs/metrics.md does not mention {', '.join(missing)}"


def test_what_is_not_known_is_left_out() -> None:
    table = Table("x_ratio", "X.", ("phase",), [("a", "train"), ("b", "train")], np.array([np.nan, -np.inf]))
    found = samples(text(View(tables=[table])))
    readings = {labels: value for (name, labels), value in found.items() if name == "losswatch_x_ratio"}
    assert readings == {frozenset({("run", "b"), ("phase", "train")}): -np.inf}


def test_hostile_names_stay_one_label() -> None:
    names = [HOSTILE, 'a"} 1\nlosswatch_ready 0', "\x00\x1b[31m", "\ud800", "x" * 5000, "{}\\"]
    view = View(runs={name: run(name) for name in names})
    for accept, parse in (("", parse_text), (OPENMETRICS, parse_openmetrics)):
        families = list(parse(text(view, accept)))
        labels = [one.labels["run"] for f in families for one in f.samples if one.name == "losswatch_run_info"]
        assert len(set(labels)) == len(names)
        assert all(len(one) <= 200 for one in labels)
        assert not any(char in one for one in labels for char in "\x00\x1b\ud800")
        ready = [one.value for f in families for one in f.samples if one.name == "losswatch_ready"]
        assert ready == [1.0]


def test_names_that_are_cut_alike_stay_different() -> None:
    assert label("x" * 300 + "a", 40) != label("x" * 300 + "b", 40)
    assert label("a\x00", 40) != label("a\x01", 40)


def test_counters_start_at_zero() -> None:
    found = samples(text(View(), counts=Telemetry()))
    names = {name for name, _ in found}
    assert {f"losswatch_{name}_total" for name, meaning in COUNTERS.items() if not meaning.labels} <= names
    assert {f"losswatch_{name}_count" for name, (meaning, _) in HISTOGRAMS.items() if not meaning.labels} <= names
    assert found["losswatch_dead_letters_total", frozenset({("topic", "losswatch.steps"), ("reason", "not_json")})] == 0
    assert not any(name.endswith("timestamp_seconds") for name in names)


def test_of_two_findings_of_one_kind_the_living_one_is_shown() -> None:
    old = finding("a", "k", "warning", "resolved", 1, 2, 0.5, 0.9, "old")
    new = finding("a", "k", "warning", "firing", 30, 34, 0.6, 0.9, "new")
    for order in ([old, new], [new, old]):
        found = samples(text(View(findings={"a": order})))
        states = [value for (name, _), value in found.items() if name == "losswatch_finding_state"]
        began = [value for (name, _), value in found.items() if name == "losswatch_finding_began_step"]
        assert (states, began) == ([2], [30])


def test_a_runs_own_thresholds_are_exported_if_a_detector_has_them() -> None:
    declared = {"thresholds": {"class_entropy_floor": 0.7, "nonsense": 1.0}}
    found = samples(text(View(runs={"a": run("a", declared=declared)})))
    overrides = {labels: value for (name, labels), value in found.items() if name == "losswatch_threshold_override"}
    assert overrides == {frozenset({("run", "a"), ("name", "class_entropy_floor")}): 0.7}


def test_a_run_that_is_gone_leaves_no_series() -> None:
    view = sample_view()
    views = [view, replace(view, runs={}, tables=(), findings={})]
    made = Exposition(lambda: views[-1], Telemetry(), {}, "1")
    assert b"ttt-collapse" not in made.render("")[0]


def test_scraping_changes_nothing() -> None:
    counts = telemetry()
    made = exposition(sample_view(), counts)
    before = repr((counts.counters, counts.histograms, counts.lag))
    assert made.render("") == made.render("")
    assert repr((counts.counters, counts.histograms, counts.lag)) == before


def test_ten_thousand_runs_of_ten_readings_are_exposed_in_time() -> None:
    made = exposition(big_view(10_000, 10))
    begun = time.process_time()
    content, _ = made.render("")
    assert time.process_time() - begun < 2.0
    assert content.count(b"\nlosswatch_reading_") == 100_000


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "metrics.txt").write_text(text(sample_view()))
    (GOLDEN / "metrics.openmetrics").write_text(text(sample_view(), OPENMETRICS))
