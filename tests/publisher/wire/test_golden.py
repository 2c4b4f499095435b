from __future__ import annotations

import pytest

from losswatch.encoding import JSON, MSGPACK, decode, encode
from losswatch.schema import RECORDS as MODELS
from losswatch.schema import Record
from tests.publisher.wire.samples import GOLDEN, RECORDS, golden

NAMED = pytest.mark.parametrize(("name", "record"), RECORDS.items(), ids=RECORDS.keys())


def test_every_type_of_record_has_a_golden_file() -> None:
    assert {type(record) for record in RECORDS.values()} == set(MODELS)
    assert {path.name.partition(".")[0] for path in GOLDEN.iterdir()} == RECORDS.keys()


@NAMED
def test_a_record_is_written_as_the_golden_json_says(name: str, record: Record) -> None:
    assert golden(record)[0] == (GOLDEN / f"{name}.json").read_text()


@NAMED
def test_a_record_is_written_as_the_golden_msgpack_says(name: str, record: Record) -> None:
    assert golden(record)[1] == (GOLDEN / f"{name}.msgpack.hex").read_text()


@NAMED
def test_the_golden_json_is_read_as_the_record(name: str, record: Record) -> None:
    read = decode((GOLDEN / f"{name}.json").read_bytes(), JSON, accept=MODELS)
    assert encode(read, MSGPACK) == encode(record, MSGPACK)


@NAMED
def test_the_golden_msgpack_is_read_as_the_record(name: str, record: Record) -> None:
    read = decode(bytes.fromhex((GOLDEN / f"{name}.msgpack.hex").read_text()), MSGPACK, accept=MODELS)
    assert encode(read, MSGPACK) == encode(record, MSGPACK)


def test_json_is_compact_and_leaves_out_what_was_never_set() -> None:
    assert encode(RECORDS["run_end"]) == (
        b'{"v":1,"type":"run_end","run":"ttt-42","session":"8f3c","seq":6,"time":1764000000.5,'
        b'"status":"failed","error":"RuntimeError: out of memory"}'
    )
