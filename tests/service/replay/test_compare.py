from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from losswatch.schema import Record, Steps
from service.cli import app
from service.replay.compare import parting
from tests.consumers.builders import make_start
from tests.service.replay.logs import write_log

STEPS = 320


def a_run(
    name: str, *, scale: float = 1.0, seed: int = 0, declared: Any = None, names: Sequence[str] = ("c0", "c1")
) -> Iterator[Record]:
    """A job whose total is the sum of two noisy components, times ``scale``."""
    noise = np.random.default_rng(seed)
    step = np.arange(STEPS)
    level = np.exp(-step / 200)
    parts = {part: level * (1 + k + 0.05 * noise.standard_normal(STEPS)) for k, part in enumerate(names)}
    total = scale * np.sum(list(parts.values()), axis=0)
    if declared:
        yield make_start(name, objective={"train": declared})
    for first in range(0, STEPS, 64):
        of = slice(first, first + 64)
        components = {part: values[of] for part, values in parts.items()}
        yield Steps(
            run=name, time=0.0, session="s", seq=1 + first, step=step[of], total=total[of], components=components
        )


def compared(folder: Path, *runs: Iterator[Record]) -> str:
    logs = [write_log(folder / f"{number}.jsonl", list(run)) for number, run in enumerate(runs)]
    result = CliRunner().invoke(app, ["replay", *map(str, logs), "--compare"], env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_same_declared_formula_may_be_compared(tmp_path: Path) -> None:
    form = {"form": "weighted_sum", "weights": {"c0": 1.0, "c1": 1.0}}
    told = compared(tmp_path, a_run("a", declared=form), a_run("b", declared=form, seed=1))
    assert "The train totals may be compared: both declare weighted sum (c0 1, c1 1)." in told
    assert "the first at which they differ is 0" in told
    assert "They never part by more than their noise." in told


def test_other_declared_weights_must_not_be_compared(tmp_path: Path) -> None:
    told = compared(tmp_path, a_run("a", declared={"form": "sum"}), a_run("b", declared={"form": "mean"}))
    assert "The train totals must not be compared: one declares sum, the other mean." in told


def test_without_a_declaration_the_numbers_tell(tmp_path: Path) -> None:
    told = compared(tmp_path, a_run("a"), a_run("b", seed=1))
    assert "may be compared: the numbers of both fit the sum of the components" in told


def test_the_mean_of_one_is_not_compared_with_the_sum_of_the_other(tmp_path: Path) -> None:
    told = compared(tmp_path, a_run("a"), a_run("b", scale=0.5))
    assert "must not be compared" in told
    assert "the mean of the components" in told


def test_other_components_are_named(tmp_path: Path) -> None:
    told = compared(tmp_path, a_run("a"), a_run("b", names=("c0", "extra")))
    assert "must not be compared: they are made of different components: c1 only in a; extra only in b." in told


def test_totals_that_nothing_explains_are_not_known_to_be_comparable(tmp_path: Path) -> None:
    odd = Steps(run="odd", time=0.0, step=[0, 1], total=[0.123456, 7.654321], components={"c0": [1.0, 1.0]})
    told = compared(tmp_path, iter([odd]), iter([odd.model_copy(update={"run": "same"})]))
    assert "may or may not be comparable" in told
    assert "They are the same at all 2 steps in common." in told


def test_three_logs_are_each_compared_with_the_first(tmp_path: Path) -> None:
    told = compared(tmp_path, a_run("a"), a_run("b"), a_run("c"))
    assert [line for line in told.splitlines() if line.startswith("a and ")] == ["a and b", "a and c"]


def series(seed: int, jump_at: int | None = None, by: float = 0.5) -> Iterator[tuple[int, float]]:
    noise = np.random.default_rng(seed).standard_normal(500)
    for step in range(500):
        later = by if jump_at is not None and step >= jump_at else 0.0
        yield step, float(2 * np.exp(-step / 200) + 0.05 * noise[step] + later)


def test_where_they_part_is_found_within_a_few_steps() -> None:
    found = parting(series(0), series(0, jump_at=300))
    assert found.differ == 300
    assert found.part is not None
    assert 300 <= found.part <= 306
    assert not found.together


@pytest.mark.parametrize("seed", range(1, 9))
def test_noise_alone_does_not_part_them(seed: int) -> None:
    found = parting(series(0), series(seed))
    assert (found.differ, found.part) == (0, None)


def test_series_that_meet_again_are_told_as_together() -> None:
    def bump() -> Iterator[tuple[int, float]]:
        return ((step, total + (200 <= step < 300)) for step, total in series(0))

    found = parting(series(0), bump())
    assert found.part is not None
    assert found.together


def test_steps_that_only_one_has_are_left_out() -> None:
    found = parting(iter([(0, 1.0), (2, 1.0), (4, 1.0)]), iter([(1, 9.0), (2, 1.0), (3, 9.0), (4, 2.0)]))
    assert (found.common, found.differ) == (2, 4)


def test_one_log_cannot_be_compared(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", list(a_run("a")))
    result = CliRunner().invoke(app, ["replay", str(log), "--compare"])
    assert result.exit_code == 2
    assert "--compare takes two runs or more, and there is a." in result.output


def two_in_one(folder: Path) -> Path:
    """A file in which a second run follows the first, from step 0 on."""
    rows = [(step, 2.0 / (1 + step) + 0.1 * run) for run in range(2) for step in range(50)]
    log = folder / "twice.csv"
    log.write_text("step,loss\n" + "".join(f"{step},{loss}\n" for step, loss in rows))
    return log


def test_every_run_of_a_file_is_compared_with_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two_in_one(tmp_path).parent)
    result = CliRunner().invoke(app, ["replay", "twice.csv", "--compare"], env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    assert "twice.csv and twice.csv#2" in result.stdout
    assert "Of 50 steps in common, the first at which they differ is 0." in result.stdout


def test_runs_are_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_in_one(tmp_path)
    write_log(tmp_path / "a.jsonl", list(a_run("a")))
    monkeypatch.chdir(tmp_path)
    call = ["replay", "twice.csv", "a.jsonl", "--compare", "--run", "a", "--run"]
    result = CliRunner().invoke(app, [*call, "twice.csv#2"], env={"COLUMNS": "400"})
    assert next(line for line in result.stdout.splitlines() if " and " in line) == "a and twice.csv#2"
    assert "a and twice.csv\n" not in result.stdout
    result = CliRunner().invoke(app, [*call, "b"], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert "There is no run 'b'; there are twice.csv, twice.csv#2, a." in " ".join(result.output.split())


def test_choosing_runs_without_comparing_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(two_in_one(tmp_path)), "--run", "a"])
    assert result.exit_code == 2
