from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel

from losswatch import arrays
from losswatch.encoding import JSON, MSGPACK, decode, encode
from losswatch.schema import RECORDS, Record, Steps
from tests.publisher.wire.strategies import records

ENCODINGS = pytest.mark.parametrize("content_type", [JSON, MSGPACK])
EXAMPLES = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def plain(value: Any) -> Any:
    """The value in a form that compares: NaN equals NaN, and differs from "not reported"."""
    if isinstance(value, BaseModel):
        return {"type of it": type(value)} | {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 1:
        return value.shape, [plain(item) for item in arrays.to_list(value)]
    if isinstance(value, np.ndarray):
        return value.shape, plain(value.tolist())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return ("float", repr(value)) if isinstance(value, float) else value


@ENCODINGS
@EXAMPLES
@given(record=records)
def test_any_record_comes_back_as_it_was_sent(record: Record, content_type: str) -> None:
    assert plain(decode(encode(record, content_type), content_type, accept=RECORDS)) == plain(record)


@EXAMPLES
@given(record=records)
def test_what_was_read_is_written_again_byte_for_byte(record: Record) -> None:
    for content_type in (JSON, MSGPACK):
        value = encode(record, content_type)
        assert encode(decode(value, content_type, accept=RECORDS), content_type) == value


@ENCODINGS
def test_not_reported_nan_and_infinity_stay_apart(content_type: str) -> None:
    sent = Steps(run="r", time=0.0, step=[1, 2, 3, 4], total=[None, float("nan"), float("inf"), -0.0])
    read = decode(encode(sent, content_type), content_type)
    assert isinstance(read, Steps)
    assert read.total is not None
    assert arrays.reported(read.total).tolist() == [False, True, True, True]
    assert np.isnan(read.total[1])
    assert repr(read.total[2:].tolist()) == "[inf, -0.0]"


def test_bare_tokens_of_json_are_numbers_too() -> None:
    read = decode(b'{"v":1,"type":"steps","run":"r","time":0,"step":[1,2,3],"total":[NaN,Infinity,-Infinity]}')
    assert isinstance(read, Steps)
    assert read.total is not None
    assert repr(read.total.tolist()) == "[nan, inf, -inf]"


def test_a_buffer_of_float64_is_read_without_a_copy() -> None:
    read = decode(encode(Steps(run="r", time=0.0, step=[1], total=[0.5]), MSGPACK), MSGPACK)
    assert isinstance(read, Steps)
    assert read.total is not None
    assert not read.total.flags.owndata
