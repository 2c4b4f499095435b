from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from service.replay.files import NoSuchFile, files_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/log.json", "a/results.csv", "a/deep/events.out.tfevents.1.host", "a/weights.pt", "a/notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(found: Iterable[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_stands_for_whatever_may_be_a_log(folder: Path) -> None:
    found = files_of([str(folder)])
    assert names(found, folder) == ["a/deep/events.out.tfevents.1.host", "a/results.csv", "b/log.json"]


def test_a_file_is_taken_whatever_it_is_called(folder: Path) -> None:
    assert names(files_of([str(folder / "a/weights.pt")]), folder) == ["a/weights.pt"]


def test_a_pattern_stands_for_files_and_folders(folder: Path) -> None:
    assert names(files_of([str(folder / "**" / "*.json")]), folder) == ["b/log.json"]
    assert names(files_of([str(folder / "[b]")]), folder) == ["b/log.json"]


def test_a_file_is_taken_once(folder: Path) -> None:
    assert files_of([str(folder / "b"), str(folder / "b/log.json"), str(folder / "b" / "*")]) == {
        folder / "b/log.json": True
    }


def test_a_name_with_brackets_is_a_name(folder: Path) -> None:
    odd = folder / "run[1].csv"
    odd.write_text("x")
    assert files_of([str(odd)]) == {odd: True}


def test_nothing_to_read_is_said(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(NoSuchFile, match="No log is in the folder"):
        files_of([str(folder / "empty")])
    with pytest.raises(NoSuchFile, match="No file fits"):
        files_of([str(folder / "*.xml")])
