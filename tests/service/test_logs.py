from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    libraries = {name: logging.getLogger(name).level for name in ("kafka", "uvicorn", "asyncio")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in libraries.items():
        logging.getLogger(name).setLevel(before)


def test_text_is_one_aligned_line_and_control_characters_cannot_fake_another() -> None:
    out = io.StringIO()
    logs.configure("info", "text", out)
    logging.getLogger("consumers.worker").info("run %s", "a\nfake")
    line = out.getvalue()
    assert line.endswith(" info    worker     run a\\nfake\n")
    assert line.count("\n") == 1


def test_text_keeps_tracebacks_readable() -> None:
    out = io.StringIO()
    logs.configure("info", "text", out)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("x").exception("it failed")
    assert "it failed\nTraceback (most recent call last):\n" in out.getvalue()


def test_json_is_one_object_a_line_with_the_extras() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    logging.getLogger("service.serve").warning("away %d", 3, extra={"broker": "kafka:9092"})
    entry = json.loads(out.getvalue())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {"level": "warning", "logger": "service.serve", "message": "away 3", "broker": "kafka:9092"}


def test_what_the_libraries_say_is_heard_only_at_debug() -> None:
    out = io.StringIO()
    logs.configure("info", "text", out)
    logging.getLogger("kafka.cluster").error("refresh failed")
    assert out.getvalue() == ""
    logs.configure("debug", "text", out)
    logging.getLogger("kafka.cluster").error("refresh failed")
    assert "refresh failed" in out.getvalue()
