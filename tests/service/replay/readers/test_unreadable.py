"""Files that cannot be understood: one sentence, and nothing but `Unreadable`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from losswatch.schema import Record, Steps
from service.replay.engine import Replay
from service.replay.mapping import Options
from service.replay.notes import Unreadable
from service.replay.sources import format_names, open_log
from tests.service.replay.readers.test_formats import DATA, FILES

NUMBERS = st.sampled_from(["0", "1", "-1", "0.5", "nan", "", "inf", "1e400", "1,5", "abc", "-", "1_0", "9" * 400, '"'])
NAMES = st.sampled_from(["step", "epoch", "batch", "loss", "val_loss", "a_loss", "acc", "", "lr", "time", "é", "loss"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
QUICK = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def read(path: Path, options: Options | None = None) -> None:
    """Read all of a file; only `Unreadable` may be raised."""
    try:
        log = open_log(path, options)
        records = list(log.records())
    except Unreadable as error:
        said = str(error)
    else:
        said = log.explain()
        check(records, strictly=log.format != "losswatch")
    assert said.startswith(str(path))


def check(records: Iterable[Record], *, strictly: bool) -> None:
    """Steps rise within a phase of a session."""
    newest: dict[tuple[str, str | None, str], int] = {}
    for record in records:
        if isinstance(record, Steps) and strictly:
            key = record.run, record.session, record.phase
            steps = [newest.get(key, -1), *record.step.tolist()]
            assert steps == sorted(set(steps))
            newest[key] = steps[-1]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", None, "it is empty"),
        (b"\n\n \0\0", None, "nothing but blanks"),
        (b"hello\nworld\n", 1, "no format recognises it"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), 1, "binary"),
        (b"step,loss\n", 1, "no format recognises it"),
        (b"0,1.5\n1,1.4\n2,1.3\n", 1, "no format recognises it"),
        (b'{"log_history": []}', None, "no line of it is a row"),
        (b'{"loss": [0.5, 0.4', 1, "it is no JSON"),
        (b'{"name": "x", "note": "y"}\n{"name": "z"}\n', 1, "no column of numbers"),
        (b"step,time\n0,1\n1,2\n", 1, "no column of numbers"),
        (b"name,height,width\nx,1,2\ny,2,3\n", 1, "no name in it is that of a loss or a metric"),
        (b"step,loss\n0,\n1,\n", None, "no row of it has both a step and a number"),
        (b'{"v":1,"type":"steps","run":"a","time":0.0,"step":[]}\n', 1, "0"),
    ],
)
def test_the_first_line_at_fault_is_named(content: bytes, line: int | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        list(open_log(path).records())
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_a_file_that_is_not_there_or_a_folder_is_said_to_be_so(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.csv", "No such file"), (tmp_path, "directory")):
        with pytest.raises(Unreadable, match=reason):
            open_log(path)


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(Unreadable, match=r"no format 'keras3'; known are losswatch, tensorboard, .*, csv"):
        open_log(DATA / "keras.csv", Options(format="keras3"))


@pytest.mark.parametrize(
    "options",
    [Options(step="s"), Options(total="s"), Options(components={"a": "s"}), Options(metrics={"a": ("s", None)})],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(options: Options) -> None:
    with pytest.raises(Unreadable, match=r"no column 's' of numbers; it has epoch, loss, mae, val_loss, val_mae"):
        open_log(DATA / "keras.csv", options)


@pytest.mark.parametrize("name", FILES)
def test_any_format_forced_on_any_file_reads_it_or_says_why_not(name: str) -> None:
    for each in format_names():
        read(DATA / name, Options(format=each))


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_read_or_said_not_to_be(name: str, tmp_path: Path) -> None:
    data = (DATA / name).read_bytes()
    path = tmp_path / "log"
    for keep in (0.1, 0.37, 0.5, 0.77, 0.999):
        path.write_bytes(data[: int(keep * len(data))])
        read(path)


@QUICK
@given(name=st.sampled_from(sorted(FILES)), at=st.floats(0, 1), noise=st.binary(min_size=1, max_size=20))
def test_noise_in_a_file_raises_nothing_else(name: str, at: float, noise: bytes, tmp_path: Path) -> None:
    data = (DATA / name).read_bytes()
    place = int(at * len(data))
    path = tmp_path / "log"
    path.write_bytes(data[:place] + noise + data[place + len(noise) :])
    read(path)


@QUICK
@given(content=st.binary(max_size=300))
def test_bytes_raise_nothing_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    read(path)


@QUICK
@given(names=st.lists(NAMES, min_size=1, max_size=5), rows=st.lists(st.lists(NUMBERS, max_size=6), max_size=20))
def test_any_table_raises_nothing_else(names: list[str], rows: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("\n".join(",".join(cells) for cells in [names, *rows]), encoding="utf-8")
    read(path)


@QUICK
@given(rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=6) | VALUES, max_size=15))
def test_any_objects_raise_nothing_else(rows: list[object], tmp_path: Path) -> None:
    path = tmp_path / "log"
    for content in ("\n".join(map(json.dumps, rows)), json.dumps(rows), json.dumps({"log_history": rows, "epoch": 1})):
        path.write_text(content, encoding="utf-8")
        read(path)


@QUICK
@given(document=st.dictionaries(NAMES, st.lists(VALUES, max_size=6) | VALUES, max_size=5))
def test_any_history_raises_nothing_else(document: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(json.dumps(document), encoding="utf-8")
    read(path)


def test_a_document_that_is_damaged_in_the_middle_is_read_up_to_the_line_at_fault(tmp_path: Path) -> None:
    rows = [f'{{"step": {step}, "loss": {1 / (1 + step)}}}' for step in range(50)]
    rows[30] = '{"step": 30, "loss": oops}'
    log = tmp_path / "trainer_state.json"
    log.write_text('{"log_history": [\n' + ",\n".join(rows) + "\n]}")
    (outcome,) = Replay(open_log).results([log])
    assert str(outcome.error) == f"{log}:32: what follows is no JSON: expecting value"
    assert [run.steps for run in outcome.runs] == [30]
