from __future__ import annotations

import uuid

import pytest

from losswatch.encoding import JSON, MSGPACK
from losswatch.headers import cloud_event, content_type
from losswatch.schema import RECORDS, RunEnd
from tests.publisher.wire.samples import RECORDS as SAMPLES


def test_headers_are_a_cloud_event_in_binary_mode() -> None:
    assert cloud_event(SAMPLES["steps"], MSGPACK) == [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"io.losswatch.steps.v1"),
        ("ce_source", b"/losswatch/ttt-42"),
        ("ce_id", b"8f3c/1"),
        ("ce_time", b"2025-11-24T16:00:00.500000Z"),
        ("content-type", b"application/vnd.losswatch+msgpack"),
    ]


def test_every_type_has_its_event_type() -> None:
    types = {dict(cloud_event(record))["ce_type"].decode() for record in SAMPLES.values()}
    assert types == {f"io.losswatch.{model.model_fields['type'].default}.v1" for model in RECORDS}


def test_any_run_id_makes_a_plain_source() -> None:
    event = dict(cloud_event(RunEnd(run='a/b "c"\n\U0001f600', time=0.0)))
    assert event["ce_source"] == b"/losswatch/a%2Fb%20%22c%22%0A%F0%9F%98%80"


@pytest.mark.parametrize("known", [{}, {"session": "8f3c"}, {"seq": 1}])
def test_without_session_and_seq_the_id_is_random(known: dict[str, str | int]) -> None:
    record = RunEnd(run="r", time=0.0, **known)
    first, second = (dict(cloud_event(record))["ce_id"].decode() for _ in range(2))
    assert first != second
    assert uuid.UUID(first).version == 4


@pytest.mark.parametrize("time", [1e300, -1e300, 1e12])
def test_a_time_that_no_calendar_has_is_left_out(time: float) -> None:
    assert "ce_time" not in dict(cloud_event(RunEnd(run="r", time=time)))


def test_the_content_type_is_read_back() -> None:
    assert content_type(cloud_event(SAMPLES["steps"], MSGPACK)) == MSGPACK
    assert content_type([("other", b"x"), ("Content-Type", b"application/json")]) == JSON


@pytest.mark.parametrize("headers", [[], [("content-type", None)], [("content-type", b"")], [("other", b"x")]])
def test_without_a_content_type_it_is_json(headers: list[tuple[str, bytes | None]]) -> None:
    assert content_type(headers) == JSON


def test_a_content_type_of_odd_bytes_is_still_text() -> None:
    assert content_type([("content-type", b"\xff")]) == "\ufffd"
