"""The command ``losswatch score``."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from service.cli import app

VALUES = [f"{x:.6g}" for x in 1 + 0.05 * np.random.default_rng(0).standard_normal(400)]


def write(path: Path, values: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"2026-01-01 {i // 60:02}:{i % 60:02}:00,{value}" for i, value in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    return path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def scores(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["anomaly_score"] for row in csv.DictReader(file)]


def scored(folder: Path, values: list[str], *options: str) -> list[str]:
    source, target = write(folder / "series.csv", values), folder / "scores.csv"
    result = call(source, "--time", "timestamp", "--output", target, *options)
    assert result.exit_code == 0, result.output
    return scores(target)


def with_spike(at: int, value: str = "9.0") -> list[str]:
    return [*VALUES[:at], value, *VALUES[at + 1 :]]


def test_every_row_gets_a_score_and_keeps_its_columns(tmp_path: Path) -> None:
    found = scored(tmp_path, with_spike(300))
    assert len(found) == 400
    assert max(range(400), key=lambda row: float(found[row])) == 300
    assert float(found[300]) > 0.5
    assert (tmp_path / "scores.csv").read_text().splitlines()[1] == f"2026-01-01 00:00:00,{VALUES[0]},0.000000"


@pytest.mark.parametrize("cut", [1, 17, 64, 65, 200, 301])
def test_a_score_does_not_change_when_later_rows_are_cut_or_altered(tmp_path: Path, cut: int) -> None:
    whole = scored(tmp_path / "whole", with_spike(300))
    assert scored(tmp_path / "cut", with_spike(300)[:cut]) == whole[:cut]
    altered = [*with_spike(300)[:cut], *["1e30", "", "-7"] * 40]
    assert scored(tmp_path / "altered", altered)[:cut] == whole[:cut]


def test_rows_without_a_number_get_no_score_and_are_counted(tmp_path: Path) -> None:
    values = [*VALUES[:100], "", "n/a", "nan", "inf", *VALUES[100:]]
    source, target = write(tmp_path / "series.csv", values), tmp_path / "out.csv"
    result = call(source, "--output", target)
    assert result.exit_code == 0
    assert "4 rows have no number (row 101, 102, 103, ...)" in result.output
    found = scores(target)
    assert found[100:104] == [""] * 4
    write(tmp_path / "series.csv", VALUES)
    call(source, "--output", target)
    assert [*found[:100], *found[104:]] == scores(target)


def test_a_change_for_the_better_is_no_anomaly_with_a_goal(tmp_path: Path) -> None:
    values = [*VALUES[:300], *(f"{float(value) - 0.6:.6g}" for value in VALUES[300:])]
    better, worse = (scored(tmp_path / goal, values, "--goal", goal) for goal in ("lower", "higher"))
    both = scored(tmp_path / "both", values)
    assert max(map(float, better[300:])) < 0.5 < max(map(float, worse[300:]))
    assert max(map(float, both[300:])) > 0.4


def test_many_files_give_what_each_alone_gives(tmp_path: Path) -> None:
    for name, length in (("a.csv", 400), ("below/b.csv", 130), ("c.csv", 0)):
        write(tmp_path / "in" / name, with_spike(100)[:length])
    result = call("--many", tmp_path / "in", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "530 rows scored; written to 3 files" in result.output
    whole = scored(tmp_path / "alone", with_spike(100))
    assert scores(tmp_path / "out" / "a.csv") == whole
    assert scores(tmp_path / "out" / "below" / "b.csv") == whole[:130]
    assert scores(tmp_path / "out" / "c.csv") == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Name one file, or a folder with --many DIR."),
        (["missing.csv"], "missing.csv cannot be read: No such file or directory."),
        (["series.csv", "--column", "loss"], "series.csv has no column 'loss'. It has 'timestamp', 'value'."),
        (["series.csv", "--time", "when"], "series.csv has no column 'when'."),
        (["series.csv", "--output", "series.csv"], "series.csv would overwrite its own input"),
        (["--many", "nowhere"], "nowhere is not a folder."),
        (["empty.csv"], "empty.csv has no column 'value'. It has none: the file is empty."),
    ],
)
def test_what_cannot_be_done_is_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "series.csv", VALUES)
    (tmp_path / "empty.csv").write_text("")
    result = call(*arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_rows_that_go_back_in_time_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "series.csv"
    source.write_text("t;value\n1;1,0\n3;2\n2;3\n")
    result = call(source, "--time", "t", "--output", tmp_path / "out.csv")
    assert "1 rows are older than the row before" in result.output
