"""Whatever the bytes are: a record or a WireError, in bounded time."""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from losswatch.encoding import JSON, MAX_BYTES, MAX_DETAIL, MSGPACK, Reason, WireError, decode, encode
from losswatch.fields import MAX_SERIES, MAX_SLICE_SERIES
from losswatch.schema import INBOUND, RECORDS, Record, Steps
from tests.publisher.wire.samples import RECORDS as SAMPLES
from tests.publisher.wire.strategies import names, records

STEPS: dict[str, Any] = {"v": 1, "type": "steps", "run": "r", "time": 1.0, "step": [1]}
FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def refusal(value: bytes | None, content_type: str = JSON) -> WireError:
    with pytest.raises(WireError) as caught:
        decode(value, content_type)
    return caught.value


def bounded(value: bytes, content_type: str) -> None:
    """Decode, and see that nothing but a record or a well-formed WireError comes of it."""
    try:
        outcome: Record | WireError = decode(value, content_type, accept=RECORDS)
    except WireError as error:
        outcome = error
    if isinstance(outcome, WireError):
        assert outcome.reason in get_args(Reason)
        assert 0 < len(outcome.detail) <= MAX_DETAIL
        assert outcome.detail.isprintable()


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (None, "empty", "no value"),
        (b"", "empty", "no value"),
        (b"{", "not_json", "EOF"),
        (b"{} {}", "not_json", "trailing"),
        (b'{"v":1,"type":"steps","run":"\xff"}', "not_json", "unicode"),
        (b'{"run":"\\ud800"}', "not_json", "escape"),
        (b"[" * 100_000, "not_json", "recursion"),
        (b'{"v":' * 100_000, "not_json", "recursion"),
        (b'{"v":1' + b"0" * 5_000 + b"}", "not_json", "out of range"),
        (b"[1]", "invalid", "expected an object, found a list"),
        (b"null", "invalid", "expected an object, found null"),
        (b'{"type":"steps"}', "unknown_version", "v is null, expected 1"),
        (b'{"v":2,"type":"steps"}', "unknown_version", "v is 2, expected 1"),
        (b'{"v":true,"type":"steps"}', "unknown_version", "v is true/false"),
        (b'{"v":1.0,"type":"steps"}', "unknown_version", "v is 1"),
        (b'{"v":1}', "unknown_type", "type is null"),
        (b'{"v":1,"type":"stepz"}', "unknown_type", "'stepz', expected one of run_start, steps,"),
        (b'{"v":1,"type":["steps"]}', "unknown_type", "type is a list"),
        (encode(SAMPLES["finding"]), "unknown_type", "'finding', expected one of run_start, steps,"),
    ],
)
def test_json_that_is_no_record_says_why(value: bytes | None, reason: str, detail: str) -> None:
    error = refusal(value)
    assert error.reason == reason
    assert detail in error.detail


@pytest.mark.parametrize(
    "value",
    [
        b"\xc1",
        b"\x01\x01",
        b"\x91" * 100_000 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\x90\x01",
        b"\xa2\xff\xff",
        b"\xc7\x0c\xff\xff\xff\xff\xff" + b"\x00" * 8,
    ],
    ids=[
        "reserved",
        "two",
        "deep",
        "huge list",
        "huge map",
        "huge bytes",
        "list as key",
        "no utf-8",
        "absurd timestamp",
    ],
)
def test_bytes_that_are_no_msgpack_are_told_so(value: bytes) -> None:
    assert refusal(value, MSGPACK).reason == "not_msgpack"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"run": ""}, "run: "),
        ({"run": 7}, "run: "),
        ({"run": "x" * 201}, "run: "),
        ({"time": None}, "time: "),
        ({"time": True}, "time: "),
        ({"time": "1"}, "time: "),
        ({"time": float("nan")}, "time: "),
        ({"time": 10**400}, "time: "),
        ({"seq": -1}, "seq: "),
        ({"seq": 1.5}, "seq: "),
        ({"seq": 10**400}, "seq: "),
        ({"dropped": {"x": True}}, "dropped.x: "),
        ({"step": []}, "1 to 4096 steps, this one 0"),
        ({"step": [0] * 4097}, "1 to 4096 steps, this one 4097"),
        ({"step": 1}, "step: expected an array of whole numbers, found 1"),
        ({"step": [1.5]}, "step: expected whole numbers, found 1.5"),
        ({"step": [True]}, "step: expected whole numbers, found true/false"),
        ({"step": [None]}, "step: expected whole numbers, found null"),
        ({"step": [float("nan")]}, "step: expected whole numbers"),
        ({"step": [-1]}, "step: expected whole numbers from 0"),
        ({"step": [2**53]}, "step: expected whole numbers from 0"),
        ({"step": [2**64]}, "step: expected whole numbers of at most 64 bits"),
        ({"total": [True]}, "total: expected numbers, found true/false"),
        ({"total": ["0.5"]}, "total: expected numbers, found the text '0.5'"),
        ({"total": [[0.5]]}, "total: expected numbers, found a list"),
        ({"total": [10**400]}, "total: expected numbers that a float64 can hold"),
        ({"total": "NaN"}, "total: expected an array of numbers, found the text 'NaN'"),
        ({"total": [0.5, 0.5]}, "total has 2 values for 1 steps"),
        ({"components": {"": [0.5]}}, "components"),
        ({"components": {"a": [0.5], "b": []}}, "components.b has 0 values for 1 steps"),
        ({"components": [0.5]}, "components: "),
        ({"slices": {"s": {"m": [0.5, 0.5]}}}, "slices.s.m has 2 values for 1 steps"),
        ({"checkpoint": [1]}, "checkpoint.0: "),
        ({"checkpoint": []}, "checkpoint has 0 values for 1 steps"),
    ],
)
def test_steps_that_are_wrong_name_the_field_and_the_fault(changes: dict[str, Any], detail: str) -> None:
    error = refusal(json.dumps(STEPS | changes).encode())
    assert error.reason == "invalid"
    assert detail in error.detail


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"d": ">f8"}, "'d' must be one of"),
        ({"d": "|O8"}, "'d' must be one of"),
        ({"d": ["<f8"]}, "'d' must be one of"),
        ({"b": "\x00" * 8}, "'b' must be bytes, found the text"),
        ({"b": b"1234567"}, "multiple of element size"),
        ({"s": None}, "'s' must be a list"),
        ({"s": []}, "'s' must be a list"),
        ({"s": [1, 1, 1]}, "'s' must be a list"),
        ({"s": [-1]}, "'s' does not fit"),
        ({"s": [2]}, "'s' does not fit"),
        ({"s": [2**63, 2]}, "'s' does not fit"),
        ({"s": [2**63, 0]}, "'s' does not fit"),
        ({"s": [1, 1]}, "expected 1 dimension(s)"),
        ({"s": [1.0, 1]}, "'s' must be a list"),
    ],
)
def test_buffers_that_are_wrong_name_the_fault(changes: dict[str, Any], detail: str) -> None:
    buffer = {"d": "<f8", "s": [1], "b": bytes(8)}
    assert isinstance(decode(msgpack.packb(STEPS | {"total": buffer}), MSGPACK), Steps)
    error = refusal(msgpack.packb(STEPS | {"total": buffer | changes}), MSGPACK)
    assert error.reason == "invalid"
    assert error.detail.startswith("total: ")
    assert detail in error.detail


def test_a_buffer_of_floats_is_no_list_of_steps() -> None:
    value = msgpack.packb(STEPS | {"step": {"d": "<f8", "s": [1], "b": bytes(8)}})
    assert refusal(value, MSGPACK).detail == "step: expected whole numbers, found float64"


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"components": dict.fromkeys(map(str, range(1_000_000)), "x")}, f"components: expected at most {MAX_SERIES}"),
        ({"slices": {str(i): {str(j): [0] for j in range(1000)} for i in range(1000)}}, f"{MAX_SLICE_SERIES} series"),
        ({"checkpoint": [1] * 1_000_000}, "checkpoint: List should have at most"),
        ({"total": [0.5] * 1_000_000}, "total has 1000000 values for 1 steps"),
        ({"components": {"x" * 1_000_000: [1]}}, "at most 200 characters"),
    ],
    ids=["names", "slices", "checkpoints", "values", "letters"],
)
def test_a_million_of_anything_is_one_short_refusal(changes: dict[str, Any], most: str) -> None:
    error = refusal(json.dumps(STEPS | changes).encode())
    assert error.reason == "invalid"
    assert most in error.detail
    assert len(error.detail) <= MAX_DETAIL


def test_a_value_above_the_limit_is_not_looked_at() -> None:
    assert refusal(b" " * (MAX_BYTES + 1)).reason == "too_large"
    assert refusal(b" " * MAX_BYTES).reason == "not_json"


def test_a_detail_holds_no_control_characters() -> None:
    assert refusal(json.dumps(STEPS | {"components": {"a\nb": 1}}).encode()).detail.startswith("components.a?b: ")


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/cloudevents+json", "x" * 10_000])
def test_other_content_types_are_refused(content_type: str) -> None:
    assert refusal(b"{}", content_type).reason == "unknown_encoding"


def test_parameters_and_case_of_the_content_type_do_not_matter() -> None:
    assert isinstance(decode(json.dumps(STEPS).encode(), "Application/JSON; charset=utf-8"), Steps)


def test_unknown_fields_and_a_repeated_field_are_no_fault() -> None:
    read = decode(b'{"v":1,"type":"steps","run":"r","run":"s","time":1,"step":[1],"colour":{"a":[{}]}}')
    assert read.run == "s"


def test_a_clock_in_the_future_is_no_fault() -> None:
    assert decode(json.dumps(STEPS | {"time": 1e300}).encode()).time == 1e300


def test_without_msgpack_the_binary_encoding_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    value = msgpack.packb(STEPS)
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'losswatch\[binary\]'"):
        encode(SAMPLES["steps"], MSGPACK)
    error = refusal(value, MSGPACK)
    assert error.reason == "unknown_encoding"
    assert "losswatch[binary]" in error.detail
    assert isinstance(decode(json.dumps(STEPS).encode()), Steps)


def test_an_unknown_content_type_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="unknown content type 'text/plain'"):
        encode(SAMPLES["steps"], "text/plain")


@FUZZ
@given(value=st.binary(min_size=1, max_size=200))
def test_any_bytes_are_a_record_or_a_refusal(value: bytes) -> None:
    for content_type in (JSON, MSGPACK):
        bounded(value, content_type)


@FUZZ
@given(record=records, data=st.data())
def test_a_valid_record_with_bytes_changed_is_a_record_or_a_refusal(record: Record, data: st.DataObject) -> None:
    for content_type in (JSON, MSGPACK):
        value = bytearray(encode(record, content_type))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(value) - 1))
            value[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        bounded(bytes(value) or b"\x00", content_type)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names | st.sampled_from(["NaN", "<f8", "summary"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.sampled_from(["d", "s", "b"]), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = sorted({name for model in INBOUND for name in model.model_fields})


@FUZZ
@given(record=records, field=st.sampled_from(fields), value=anything)
def test_a_valid_record_with_a_field_changed_is_a_record_or_a_refusal(record: Record, field: str, value: Any) -> None:
    bounded(json.dumps(json.loads(encode(record)) | {field: value}).encode(), JSON)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return
    try:
        packed = msgpack.packb(msgpack.unpackb(encode(record, MSGPACK)) | {field: value})
    except OverflowError:
        return
    bounded(packed, MSGPACK)
