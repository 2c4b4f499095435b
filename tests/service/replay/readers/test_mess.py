"""What real logs hold beside clean rows: each mess by itself."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from losswatch.arrays import reported
from losswatch.schema import RunEnd, RunStart, Steps
from service.replay import notes
from service.replay.mapping import Options
from service.replay.sources import Log, open_log
from tests.service.replay.readers.told import phases, series, totals


def written(folder: Path, content: str | bytes, name: str = "log.csv") -> Log:
    """A log with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_log(path)


def table(steps: Iterable[int], loss: float = 1.0) -> str:
    """Rows of a table of steps and losses, which tell where they were written."""
    return "".join(f"{step},{loss + at / 1000}\n" for at, step in enumerate(steps))


def objects(rows: Iterable[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def runs(log: Log) -> dict[str, list[int]]:
    """The training steps of each run."""
    out: dict[str, list[int]] = {}
    for record in log.records():
        if isinstance(record, Steps):
            out.setdefault(record.run.rpartition("/")[2], []).extend(record.step.tolist())
    return out


CLEAN = "step,loss\n" + table(range(30))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + CLEAN.encode(),
        CLEAN.replace("\n", "\r\n").encode(),
        CLEAN.replace("\n", "\r").encode(),
        CLEAN.encode("utf-16"),
        b"\xfe\xff" + CLEAN.encode("utf-16-be"),
        CLEAN.replace("step,loss", "   step ,  loss  ").replace(",", " ,   ").encode(),
        CLEAN.replace(",", "\t").encode(),
        CLEAN.replace(",", ";").replace(".", ",").encode(),
        CLEAN.replace(",", "   ").encode(),
        CLEAN.replace("step,loss", "# step,loss").encode(),
        CLEAN.replace("\n", ",\n").replace("loss,", "loss").encode(),
        "".join(f"\x1b[32m{line}\x1b[0m\n" for line in CLEAN.splitlines()).encode(),
        CLEAN.encode().rstrip(b"\n"),
        CLEAN.encode() + b"\0" * 64,
        b"\n\nstarting\n" + CLEAN.replace("\n", "\n\n").encode(),
    ],
    ids=[
        *("bom", "windows", "old_mac", "utf_16", "utf_16_be", "padded", "tabs", "decimal_commas", "blanks", "comment"),
        *("trailing_commas", "colours", "no_last_end", "nul_at_the_end", "empty_lines"),
    ],
)
def test_ways_to_write_the_same_table(content: bytes, tmp_path: Path) -> None:
    log = written(tmp_path, content)
    assert phases(log.records()) == {"train": list(range(30))}
    np.testing.assert_allclose(totals(log.records()), 1 + np.arange(30) / 1000)


def test_every_spelling_of_a_number(tmp_path: Path) -> None:
    cells = {
        "0.5": 0.5,
        '"1,234.5"': 1234.5,
        "85.3%": 85.3,
        "tensor(0.25)": 0.25,
        "\"tensor(0.75, device='cuda:0')\"": 0.75,
        "1e-3": 0.001,
        " 7 ": 7.0,
        "1e400": np.inf,
        "inf": np.inf,
        "-Infinity": -np.inf,
        "1.#INF": np.inf,
    }
    log = written(tmp_path, "step,loss\n" + "".join(f"{at},{cell}\n" for at, cell in enumerate(cells)))
    assert totals(log.records()) == list(cells.values())


@pytest.mark.parametrize("cell", ["nan", "NaN", "NAN", "-nan", "+nan", "1.#QNAN", "1.#IND", "-nan(ind)"])
def test_every_spelling_of_nan_is_a_loss_that_is_nan(cell: str, tmp_path: Path) -> None:
    log = written(tmp_path, f"step,loss\n0,0.5\n1,{cell}\n2,0.4\n")
    assert np.isnan(totals(log.records())).tolist() == [False, True, False]


@pytest.mark.parametrize("cell", ["", "  ", "null", "None", "N/A", "-"])
def test_an_empty_cell_is_a_loss_that_was_not_logged(cell: str, tmp_path: Path) -> None:
    log = written(tmp_path, f"step,loss,acc\n0,0.5,1\n1,{cell},1\n2,0.4,1\n")
    (steps,) = (record for record in log.records() if isinstance(record, Steps))
    assert steps.total is not None
    assert reported(steps.total).tolist() == [True, False, True]


@pytest.mark.parametrize("value", ['"NaN"', "NaN", '"nan"'])
def test_nan_in_json_with_and_without_quotes(value: str, tmp_path: Path) -> None:
    log = written(tmp_path, f'{{"step":0,"loss":0.5}}\n{{"step":1,"loss":{value}}}\n{{"step":2,"loss":null}}\n')
    assert np.isnan(totals(log.records())).tolist() == [False, True]


def test_a_half_written_last_line_is_left_out_and_counted(tmp_path: Path) -> None:
    for content in (CLEAN + "30", objects({"step": at, "loss": 1.0 + at / 1000} for at in range(30)) + '{"step": 3'):
        log = written(tmp_path, content)
        assert phases(log.records()) == {"train": list(range(30))}
        assert log.warnings == {notes.HALF_LINE: 1}


def test_a_half_written_trainer_state_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    rows = [{"step": at, "loss": 1.0} for at in range(1, 10)]
    log = written(tmp_path, json.dumps({"epoch": 1.0, "log_history": rows}, indent=2)[:-40])
    assert phases(log.records())["train"] == list(range(1, 9))
    assert log.warnings == {notes.HALF_LINE: 1}


def test_repeated_header_lines_are_left_out_and_counted(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + table(range(5)) + "step,loss\n" + table(range(5, 10)))
    assert phases(log.records()) == {"train": list(range(10))}
    assert log.warnings == {notes.HEADER_AGAIN: 1}


def test_a_new_header_names_the_columns_from_there(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n0,0.5\n1,0.4\nstep,acc,loss\n2,0.9,0.3\n")
    assert series(log.records()) == {"total": [0.5, 0.4, 0.3], "acc": [0.9]}


def test_progress_bars_and_messages_between_rows_are_counted(tmp_path: Path) -> None:
    bars = '  0%|          | 0/3 [00:00<?]\r 33%|###  | {"step": 0, "loss": 0.5}\n'
    content = bars + 'WARNING: slow\n{"step": 1, "loss": 0.4}\n'
    log = written(tmp_path, content, "log.jsonl")
    assert totals(log.records()) == [0.5, 0.4]
    assert log.warnings == {notes.NO_ROW: 2}


def test_keys_with_blanks_and_slashes_stay_as_they_are(tmp_path: Path) -> None:
    log = written(
        tmp_path, objects({"step": at, "coco/AP .5": 0.1, "loss a+b": 1.0, "loss c/d": 1.0} for at in range(5))
    )
    assert set(series(log.records())) == {"coco/AP .5", "loss a+b", "loss c/d"}


def test_gaps_are_no_reason_to_end(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + table([0, 10, 20, 5000, 5010]))
    assert runs(log) == {"log.csv": [0, 10, 20, 5000, 5010]}
    assert not log.warnings


def test_duplicate_rows_count_once(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + "".join(f"{at // 2},{1 + at // 2 / 1000}\n" for at in range(40)))
    assert runs(log) == {"log.csv": list(range(20))}
    assert log.warnings == {notes.DUPLICATE: 20}


def test_rows_of_one_step_complete_each_other(tmp_path: Path) -> None:
    content = "step,train_loss,lr,val_loss\n0,0.5,,\n0,,0.1,\n0,,,0.7\n1,0.4,,\n1,,0.1,\n1,,,0.6\n"
    log = written(tmp_path, content)
    assert series(log.records()) == {"total": [0.5, 0.4], "learning_rate": [0.1, 0.1]}
    assert series(log.records(), "val") == {"total": [0.7, 0.6]}
    assert phases(log.records()) == {"train": [0, 1], "val": [0, 1]}
    assert not log.warnings


def test_a_run_that_goes_back_to_a_checkpoint_is_a_new_session_of_it(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + table(range(0, 500, 10)) + table(range(300, 700, 10), 2.0))
    assert runs(log) == {"log.csv": [*range(0, 500, 10), *range(300, 700, 10)]}
    assert log.warnings == {notes.WENT_BACK: 1}
    starts = [record.session for record in log.records() if isinstance(record, RunStart)]
    assert len(starts) == len(set(starts)) == 2


def test_runs_appended_to_one_file_are_runs_of_their_own(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + 3 * table(range(0, 200, 10)))
    assert runs(log) == {name: list(range(0, 200, 10)) for name in ("log.csv", "log.csv#2", "log.csv#3")}
    assert log.warnings == {notes.NEW_RUN: 2}
    assert sum(isinstance(record, RunEnd) for record in log.records()) == 3


@pytest.mark.parametrize("behind", [1, 2, 5, 15])
def test_of_two_writers_the_one_ahead_is_followed(behind: int, tmp_path: Path) -> None:
    rows = [row for at in range(15, 60) for row in (f"{10 * at},1.0\n", f"{10 * (at - behind)},5.0\n")]
    log = written(tmp_path, "step,loss\n" + "".join(rows))
    assert set(runs(log)) == {"log.csv"}
    assert np.mean(np.array(totals(log.records())) == 1.0) > 0.9
    assert log.warnings[notes.SECOND_WRITER] >= 40


def test_two_writers_in_step_count_once(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + "".join(f"{at},1.0\n{at},1.5\n" for at in range(30)))
    assert totals(log.records()) == [1.0] * 30
    assert log.warnings == {notes.STEP_AGAIN: 30}


def test_an_evaluation_that_counts_epochs_is_put_at_the_last_training_step(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    for at in range(40):
        rows.append({"step": 50 * at + 50, "loss": 1.0})
        if at % 10 == 9:
            rows.append({"step": at // 10 + 1, "val_acc": 0.5})
    log = written(tmp_path, objects(rows))
    assert phases(log.records())["val"] == [500, 1000, 1500, 2000]
    assert runs(log).keys() == {"log.csv"}
    assert not log.warnings


def test_an_evaluation_without_a_step_is_put_at_the_last_training_step(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss,val_loss\n0,0.5,\n1,0.4,\n,,0.6\n2,0.3,\n")
    assert phases(log.records()) == {"train": [0, 1, 2], "val": [1]}


def test_training_rows_without_a_usable_step_are_left_out_and_counted(tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss\n" + table(range(5000)) + "-1,1.0\n0.5,1.0\n,1.0\n1e300,1.0\nnan,1.0\n")
    assert phases(log.records()) == {"train": list(range(5000))}
    assert log.warnings == {notes.NO_STEP: 5}


def test_without_a_step_rows_are_counted(tmp_path: Path) -> None:
    log = written(tmp_path, "loss,acc\n0.5,0.1\n0.4,0.2\n0.3,0.3\n")
    assert phases(log.records()) == {"train": [0, 1, 2]}
    assert "rows are counted" in log.explain()


def test_batches_within_epochs_are_put_after_each_other(tmp_path: Path) -> None:
    rows = "".join(f"{epoch},{batch},1.0\n" for epoch in range(3) for batch in range(0, 100, 20))
    log = written(tmp_path, "epoch,batch,loss\n" + rows)
    assert phases(log.records()) == {"train": list(range(0, 300, 20))}


def test_a_run_appended_to_a_log_of_batches_is_a_run_of_its_own(tmp_path: Path) -> None:
    rows = "".join(f"{epoch},{batch},1.0\n" for epoch in range(3) for batch in range(5))
    log = written(tmp_path, "epoch,batch,loss\n" + rows + rows)
    assert runs(log) == {"log.csv": list(range(15)), "log.csv#2": list(range(15))}


def test_a_series_that_begins_late_is_declared_when_it_comes(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"step": at, "loss": 1.0} for at in range(9000)]
    log = written(tmp_path, objects([*rows, {"step": 9000, "loss": 1.0, "val_acc": 0.5}]))
    declared = [record.metrics for record in log.records() if isinstance(record, RunStart)]
    assert declared == [{}, {"acc": "higher"}]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (10_000, 30_000):
        log = written(tmp_path, "step,loss,a_loss\n" + "".join(f"{at},1.0,0.5\n" for at in range(rows)))
        tracemalloc.start()
        assert sum(len(record.step) for record in log.records() if isinstance(record, Steps)) == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("size", [1, 63, 64, 65, 4095, 4096, 4097, 9000])
def test_no_step_is_lost_between_blocks(size: int, tmp_path: Path) -> None:
    log = written(tmp_path, "step,loss,val_loss\n" + "".join(f"{at},1.0,{at}\n" for at in range(size)))
    assert phases(log.records()) == {"train": list(range(size)), "val": list(range(size))}
    assert series(log.records(), "val")["total"] == [float(at) for at in range(size)]


def test_the_columns_that_the_user_names_win(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("i,objective,part_one,loss,quality,val_q\n" + "".join(f"{at},3,1,2,4,5\n" for at in range(5)))
    options = Options(
        step="i",
        total="objective",
        components={"one": "part_one"},
        metrics={"q": ("quality", "lower"), "val_quality": ("val_q", None)},
    )
    log = open_log(path, options)
    assert series(log.records()) == {"total": [3.0] * 5, "one": [1.0] * 5, "loss": [2.0] * 5, "q": [4.0] * 5}
    assert series(log.records(), "val") == {"val_quality": [5.0] * 5}
    (start,) = (record for record in log.records() if isinstance(record, RunStart))
    assert start.metrics == {"loss": "lower", "q": "lower"}
