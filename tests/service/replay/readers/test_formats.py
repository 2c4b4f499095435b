"""Every format, on the files of ``tests/data``: how it is told from others, how columns are used, what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from losswatch.schema import Steps
from service.replay.mapping import Options
from service.replay.sources import format_names, open_log
from tests.service.replay.readers.told import told

ROOT = Path(__file__).parents[4]
DATA = ROOT / "tests" / "data"
GOLDEN = Path(__file__).parent / "golden"
FILES = {
    "array.json": "json",
    "detectron2.json": "detectron2",
    "detr.txt": "detr",
    "events.out.tfevents.1700000000.host.1.0": "tensorboard",
    "history.json": "history",
    "keras.csv": "keras",
    "lightning.csv": "lightning",
    "llamafactory.jsonl": "llamafactory",
    "losswatch.jsonl": "losswatch",
    "mmcv.log.json": "mmcv",
    "mmengine.json": "mmengine",
    "own.csv": "csv",
    "own.jsonl": "jsonl",
    "run-exp_validation-tag-epoch_loss.csv": "tensorboard-csv",
    "sb3.csv": "sb3",
    "trainer_state.json": "huggingface",
    "ultralytics.csv": "ultralytics",
    "ultralytics_classify.csv": "ultralytics",
    "wandb_chart.csv": "wandb",
    "yolo_results.txt": "yolo-txt",
    "yolov5.csv": "ultralytics",
}


def account(name: str) -> str:
    """All that is said about a file."""
    log = open_log(DATA / name)
    records = told(log.records())
    explained = log.explain().replace(f"{DATA}/", "")
    return "\n".join([explained, "", *records, *(f"{count} {reason}" for reason, count in log.warnings.items()), ""])


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_the_golden_records(name: str) -> None:
    """After a wanted change: ``python -m tests.service.replay.readers.test_formats`` writes the golden files anew."""
    assert account(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "expected"), FILES.items())
def test_the_format_is_told_by_content_and_not_by_name(name: str, expected: str, tmp_path: Path) -> None:
    other = tmp_path / "some.log"
    other.write_bytes((DATA / name).read_bytes())
    assert open_log(other).format == expected


def test_every_format_has_a_file_and_every_file_is_small() -> None:
    assert set(FILES.values()) == set(format_names())
    assert set(FILES) == {path.name for path in DATA.iterdir() if path.suffix not in (".py", "")}
    assert max(path.stat().st_size for path in DATA.iterdir()) < 20_000


def test_a_forced_format_wins_over_detection() -> None:
    assert open_log(DATA / "lightning.csv", Options(format="csv")).format == "csv"


@pytest.mark.parametrize("name", FILES)
def test_steps_rise_in_every_phase_of_a_session(name: str) -> None:
    newest: dict[tuple[str, str | None, str], int] = {}
    for record in open_log(DATA / name).records():
        if isinstance(record, Steps):
            key = record.run, record.session, record.phase
            steps = [newest.get(key, -1), *record.step.tolist()]
            assert steps == sorted(set(steps))
            newest[key] = steps[-1]


def main() -> None:
    """Write the golden files anew."""
    GOLDEN.mkdir(exist_ok=True)
    for name in FILES:
        (GOLDEN / f"{name}.txt").write_text(account(name), encoding="utf-8")


if __name__ == "__main__":
    main()
