from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from typer.testing import CliRunner

from losswatch.schema import Record, RunEnd, Steps
from service.cli import app
from service.replay.event_folders import folders_of
from service.replay.sources import open_events


def write(folder: Path, tag: str, steps: Sequence[int], began: float = 0.0, level: float = 1.0) -> Path:
    """An event file with the scalar ``level + step / 100`` a second."""
    before = set(folder.glob("*")) if folder.exists() else set()
    writer = EventFileWriter(str(folder), filename_suffix=f".{began:.0f}")
    for i, step in enumerate(steps):
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=level + step / 100)])
        writer.add_event(Event(wall_time=1e9 + began + i, step=step, summary=summary))
    writer.close()
    (made,) = set(folder.glob("*")) - before - {path for path in folder.glob("*") if path.is_dir()}
    return made


def records(folder: Path) -> list[Record]:
    """Those of the only run of several files in a folder."""
    found = folders_of(path for path in folder.rglob("*") if path.is_file())
    assert list(found) == [folder]
    return list(open_events(folder, found[folder]).records())


def totals(found: Sequence[Record], phase: str) -> dict[int, float]:
    return {
        step: round(total, 3)
        for record in found
        if isinstance(record, Steps) and record.phase == phase and record.total is not None
        for step, total in zip(record.step.tolist(), record.total.tolist(), strict=True)
    }


def test_the_folders_that_keras_writes_are_two_phases_of_one_run(tmp_path: Path) -> None:
    write(tmp_path / "train", "epoch_loss", range(30))
    write(tmp_path / "validation", "epoch_loss", range(30), level=2.0)
    found = records(tmp_path)
    assert {record.run for record in found} == {tmp_path.as_posix()}
    assert totals(found, "train") == {step: round(1 + step / 100, 3) for step in range(30)}
    assert totals(found, "val") == {step: round(2 + step / 100, 3) for step in range(30)}


def test_an_evaluation_beside_the_file_of_training_is_of_the_same_run(tmp_path: Path) -> None:
    write(tmp_path, "loss", range(0, 300, 10))
    write(tmp_path / "eval", "loss", range(0, 300, 100), level=2.0)
    found = records(tmp_path)
    assert len(totals(found, "train")) == 30
    assert list(totals(found, "val").values()) == [2.0, 3.0, 4.0]


def test_the_series_that_torch_writes_to_folders_of_their_own_are_of_the_run_beside_them(tmp_path: Path) -> None:
    write(tmp_path, "lr", range(30))
    for series in ("train", "val"):
        write(tmp_path / f"loss_{series}", "loss", range(30))
    for series in ("seg", "box"):
        write(tmp_path / f"parts_loss_{series}", "parts/loss", range(30))
    found = records(tmp_path)
    assert len(totals(found, "train")) == len(totals(found, "val")) == 30
    components = {name for record in found if isinstance(record, Steps) for name in record.components}
    assert components == {"parts/loss/seg", "parts/loss/box"}


def test_a_further_file_in_the_folder_goes_on_with_the_run(tmp_path: Path) -> None:
    write(tmp_path, "loss", range(100))
    write(tmp_path, "loss", range(80, 200), began=1000.0)
    found = records(tmp_path)
    assert len({record.run for record in found}) == 1
    assert len({record.session for record in found}) == 2
    assert sum(isinstance(record, RunEnd) for record in found) == 1
    assert list(totals(found, "train")) == list(range(200))


def test_runs_side_by_side_stay_runs_of_their_own(tmp_path: Path) -> None:
    write(tmp_path / "train_1", "loss", range(30))
    write(tmp_path / "train_2", "loss", range(30))
    write(tmp_path / "only" / "train", "loss", range(30))
    assert not folders_of(path for path in tmp_path.rglob("*") if path.is_file())


def test_a_folder_of_another_name_beside_an_event_file_is_another_run(tmp_path: Path) -> None:
    write(tmp_path, "loss", range(30))
    write(tmp_path / "1700000000.1", "hp_metric", range(30))
    assert not folders_of(path for path in tmp_path.rglob("*") if path.is_file())


def test_what_only_has_the_name_of_an_event_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "loss", range(30))
    (tmp_path / "events.out.tfevents.9.host").write_text("no event")
    assert not folders_of(path for path in tmp_path.rglob("*") if path.is_file())


def test_one_run_is_told_and_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "exp" / "train", "epoch_loss", range(30))
    write(tmp_path / "exp" / "validation", "epoch_loss", range(30))
    monkeypatch.chdir(tmp_path / "exp")
    told = CliRunner().invoke(app, ["replay", "train", "validation"], env={"COLUMNS": "300"})
    assert told.exit_code == 0, told.output
    assert "exp  tensorboard, 60 rows: train to step 29, val to step 29" in told.stdout
    explained = CliRunner().invoke(app, ["replay", "train", "validation", "--explain"], env={"COLUMNS": "300"})
    assert "2 TensorBoard event files of one run" in explained.stdout
