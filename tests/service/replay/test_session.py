from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from losswatch.encoding import decode
from losswatch.schema import Finding
from service.cli import app
from service.replay.summary import Summary
from tests.consumers.builders import a_story, make_steps
from tests.service.replay.logs import write_log
from tests.service.replay.sample import sample_outcomes


def replay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)], env={"COLUMNS": "1000"})


@pytest.fixture
def collapse(tmp_path: Path) -> Path:
    """A job that gets a NaN and whose predictions collapse."""
    return write_log(tmp_path / "collapse.jsonl", a_story("ttt-42", blocks=14))


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    """A job in which nothing happens."""
    return write_log(tmp_path / "calm.jsonl", [make_steps("calm", first, 64, seq=first) for first in range(0, 640, 64)])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """No log."""
    path = tmp_path / "broken.csv"
    path.write_text("to whom it may concern\n")
    return path


def test_a_person_reads_what_since_when_how_sure_and_what_to_do(collapse: Path) -> None:
    result = replay(collapse)
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert "critical non_finite train total: since step 35, confirmed at 35; over at 46" in text
    assert "total (train) became nan at step 35" in text
    assert "diversity_collapse test: since step 149, confirmed at 181; still firing when the log ended" in text
    assert "Advice: " in text
    assert "1 run: 1 critical." in text


def test_findings_are_printed_as_on_the_wire(collapse: Path) -> None:
    result = replay(collapse, "--json")
    found = [decode(line.encode(), accept=(Finding,)) for line in result.stdout.splitlines()]
    assert {finding.kind for finding in found if isinstance(finding, Finding)} >= {"non_finite", "diversity_collapse"}
    assert result.stderr == ""


def test_nothing_found_is_not_told_as_healthy_where_detectors_stayed_silent(tmp_path: Path) -> None:
    result = replay(write_log(tmp_path / "short.jsonl", [make_steps("short", 0, 2, seq=0)]))
    assert "Nothing was found." in result.output
    silent = next(line for line in result.output.splitlines() if "Never judged, too few steps" in line)
    assert "component conflict" in silent
    assert "healthy" not in result.output.replace("that is not healthy", "")


@pytest.mark.parametrize(("least", "status"), [("info", 1), ("warning", 1), ("critical", 1), (None, 0)], ids=str)
def test_the_status_says_whether_the_chosen_severity_was_found(
    collapse: Path, calm: Path, least: str | None, status: int
) -> None:
    options = ["--fail-on", least] if least else []
    assert replay(collapse, *options).exit_code == status
    assert replay(calm, *options).exit_code == 0


def test_an_unreadable_file_gives_status_2_and_the_others_go_on(collapse: Path, broken: Path) -> None:
    result = replay(broken, collapse, "--json", "--fail-on", "info")
    assert result.exit_code == 2
    assert "broken.csv" in result.stderr
    assert "diversity_collapse" in result.stdout


@pytest.mark.usefixtures("collapse", "broken")
def test_many_files_give_a_line_each_the_worst_first(tmp_path: Path) -> None:
    for n in range(4):
        write_log(tmp_path / f"calm-{n}.jsonl", [make_steps(f"calm-{n}", 0, 64, seq=0)])
    result = replay(tmp_path)
    lines = result.output.splitlines()
    assert re.match(r"Critical  ttt-42  \d+ rows  non finite \(train total\) since step 35; ", lines[0])
    assert [line.split()[2] for line in lines if line.startswith("Nothing found")] == [f"calm-{n}" for n in range(4)]
    assert lines[-1] == "5 runs: 1 critical, 4 nothing found."


@pytest.mark.parametrize("action", [(), ("--explain",), ("--compare",)], ids=["judge", "explain", "compare"])
def test_what_lies_beside_logs_in_a_folder_is_overlooked(
    tmp_path: Path, calm: Path, collapse: Path, broken: Path, action: tuple[str, ...]
) -> None:
    found = replay(tmp_path, *action)
    assert (found.exit_code, found.stderr) == (0, "")
    assert replay(calm, collapse, broken, *action).exit_code == 2
    if not action:
        assert "Files in the folders that are no logs: 1." in found.stdout


def test_thresholds_are_those_of_the_deployment_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = [record for record in a_story("a", blocks=14) if record.type == "predictions"]
    log = write_log(tmp_path / "a.jsonl", story)

    def floors(*options: str) -> set[float]:
        lines = map(json.loads, replay(log, "--json", *options).stdout.splitlines())
        return {line["threshold"] for line in lines if line["kind"] == "diversity_collapse"}

    assert floors("--threshold", "class_entropy_floor=0.7") == {0.7}
    monkeypatch.setenv("LOSSWATCH_THRESHOLDS", '{"class_entropy_floor": 0.75}')
    assert floors() == {0.75}
    assert floors("--threshold", "class_entropy_floor=0.7") == {0.7}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threshold", "speed=3"], "No detector has the threshold speed. Known: "),
        (["--threshold", "class_entropy_floor=high"], "must be a number, not 'high'"),
        (["--component", "loss"], "--component wants NAME=VALUE, not 'loss'"),
        (["--mapping", "missing.yaml"], "missing.yaml"),
        (["nowhere/*.json"], "No file fits nowhere/*.json."),
        (["--html", "no/such/folder/report.html"], "The report could not be written"),
    ],
    ids=["threshold", "number", "pair", "mapping", "pattern", "html"],
)
def test_what_cannot_be_done_is_said_plainly(calm: Path, options: list[str], words: str) -> None:
    result = replay(calm, *options)
    assert result.exit_code == 2
    assert words in result.output


def test_columns_are_named_on_the_command_line_or_in_a_file(tmp_path: Path) -> None:
    log = tmp_path / "own.csv"
    rows = [f"{n},{n * 10},{1.5 if n != 40 else 'nan'},0.5,{n / 100}" for n in range(64)]
    log.write_text("\n".join(["n,tick,objective,part,score", *rows]))
    options = ["--step", "tick", "--total", "objective", "--component", "a=part", "--metric", "quality=score:higher"]
    mapping = tmp_path / "own.yaml"
    mapping.write_text(
        "step: tick\ntotal: objective\ncomponents:\n  a: part\nmetrics:\n  quality: score:higher\n", encoding="utf-8"
    )
    by_options, by_file = replay(log, "--json", *options), replay(log, "--json", "--mapping", mapping)
    assert by_options.stdout == by_file.stdout
    found = map(json.loads, by_file.stdout.splitlines())
    assert {line["began"] for line in found if line["kind"] == "non_finite"} == {400}
    explained = replay(log, "--explain", "--mapping", mapping).output
    assert "quality" in explained
    assert "tick" in explained


def test_an_unknown_word_in_a_mapping_is_named(tmp_path: Path, calm: Path) -> None:
    mapping = tmp_path / "own.yaml"
    mapping.write_text("totl: objective\n")
    result = replay(calm, "--mapping", mapping)
    assert result.exit_code == 2
    assert "totl" in result.output


def test_a_report_is_written_beside_the_summary(tmp_path: Path, collapse: Path, calm: Path) -> None:
    report = tmp_path / "report.html"
    assert "2 runs" in replay(collapse, calm, "--html", report).output
    assert "diversity collapse began at step 149" in report.read_text()


def test_nothing_but_the_result_is_printed_where_nobody_watches(collapse: Path) -> None:
    assert replay(collapse).stderr == ""


def test_hostile_names_do_not_reach_the_terminal_as_markup() -> None:
    output = io.StringIO()
    summary = Summary(Console(file=output, width=300))
    for outcome in sample_outcomes():
        summary.add(outcome)
    summary.show({"series_per_run": 3})
    text = output.getvalue()
    assert "onerror=alert(1)" in text
    assert "The cap series_per_run kept 3 series out" in text
