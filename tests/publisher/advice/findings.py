"""Findings for tests, as the service publishes them."""

from __future__ import annotations

from typing import Any

from losswatch.encoding import JSON, encode
from losswatch.headers import cloud_event
from losswatch.schema import Advice, Finding
from losswatch.transport import Received

STARTED = 1000.0


def finding(advice: Advice | None, **fields: Any) -> Finding:
    """A firing finding about a record of the tenth second of run ``r``."""
    made: dict[str, Any] = {
        "run": "r",
        "time": STARTED + 10.0,
        "id": "r/test/diversity_decline/-/45",
        "kind": "diversity_decline",
        "phase": "test",
        "subject": None,
        "severity": "warning",
        "state": "firing",
        "began": 45,
        "confirmed": 49,
        "step": 49,
        "value": 0.9,
        "threshold": 0.85,
        "message": "Class entropy is declining.",
        "advice": advice,
    }
    return Finding(**made | fields)


def weigh(value: float, component: str = "diversity", **fields: Any) -> Finding:
    """A finding that advises a weight."""
    return finding(Advice(action="set_weight", component=component, value=value), **fields)


def stop(**fields: Any) -> Finding:
    """A finding that advises to stop."""
    return finding(Advice(action="stop"), **fields)


def received(record: Finding) -> Received:
    """The finding as it comes from the broker."""
    return Received(encode(record), cloud_event(record, JSON))
