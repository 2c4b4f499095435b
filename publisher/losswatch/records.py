"""Wire records of what the sender took in: built, split or summarised to fit, and encoded."""

from __future__ import annotations

import importlib.util
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from losswatch import schema, topics
from losswatch.blocks import Fields, Row
from losswatch.buffer import Kind, Outgoing
from losswatch.columns import columns, joined, picked, thinned
from losswatch.encoding import JSON, MSGPACK, decode, encode
from losswatch.headers import cloud_event
from losswatch.notices import Notices, text_of
from losswatch.prediction_fields import NAMED, PER_SAMPLE, every, prediction_fields, reference_fields, summary_fields
from losswatch.samples import MATRICES, WIDE, NotABatch, Reference, Sampled

MAX_RECORD_BYTES: Final = 900_000
"""Longest encoded record: below the megabyte that Kafka brokers take unless told otherwise."""


class Records:
    """Makes the records of one session, numbering them. One thread only."""

    def __init__(self, run: str, session: str, dropped: Counter[str], notices: Notices) -> None:
        self._run = run
        self._session = session
        self._dropped = dropped
        self._notices = notices
        self._next_seq = 0
        self._content_type = MSGPACK if importlib.util.find_spec("msgpack") else JSON

    def start(self, declaration: Mapping[str, Any]) -> list[Outgoing]:
        """``run_start`` for both topics, without the parts of the declaration that are not usable."""
        fields = {name: value for name, value in declaration.items() if value is not None}
        if isinstance(labels := fields.get("labels"), Mapping):
            fields["labels"] = {name: str(value) for name, value in labels.items()}
        record = self._declared(fields)
        return self._control(record)

    def end(self, status: str, error: str | None) -> list[Outgoing]:
        """``run_end`` for both topics."""
        given = {"status": status} | ({"error": error} if error else {})
        return self._control(schema.RunEnd.model_validate(self._common() | given))

    def heartbeat(self, every: float) -> list[Outgoing]:
        """``heartbeat``, of which there will be one at least ``every`` so many seconds."""
        record = schema.Heartbeat.model_validate(self._common() | {"every": every})
        return [self._outgoing("control", topics.STEPS, record, encode(record, self._content_type), 0)]

    def thin(self, records: Sequence[Outgoing]) -> Outgoing:
        """The essential steps of records of one group, as a record in the place of the first."""
        decoded = [decode(each.value, self._content_type) for each in records]
        fields = thinned([record for record in decoded if isinstance(record, schema.Steps)])
        common = self._common() | {"seq": records[0].seq, "time": decoded[0].time}
        record = schema.Steps.model_validate(common | fields)
        value = encode(record, self._content_type)
        return records[0]._replace(value=value, calls=len(record.step))

    def columns(self, rows: Sequence[Row]) -> list[Fields]:
        """The columns of rows of one phase and measure; several where one row would cost the others."""
        try:
            return [columns(rows, self._complainer("steps"))]
        except Exception as error:
            if len(rows) == 1:
                self._unusable(error)
                return []
        half = len(rows) // 2
        return self.columns(rows[:half]) + self.columns(rows[half:])

    def steps(self, block: Sequence[Fields]) -> list[Outgoing]:
        """The block as one record, or as several where one would be too long."""
        fields = joined(block)
        length = len(fields["step"])
        try:
            record = schema.Steps.model_validate(self._common() | fields)
            value = encode(record, self._content_type)
        except Exception as error:  # found row by row, so that one bad row does not cost the block
            if length == 1:
                self._unusable(error)
                return []
        else:
            if len(value) <= MAX_RECORD_BYTES:
                group = (record.phase, record.measured, record.divided_by)
                return [self._outgoing("steps", topics.STEPS, record, value, length, group)]
            if length == 1:
                return self._too_large(1, f"step {record.step[0]} of phase {record.phase}", len(value))
        parts = (
            block
            if len(block) > 1
            else [picked(fields, slice(length // 2)), picked(fields, slice(length // 2, length))]
        )
        half = len(parts) // 2
        return self.steps(parts[:half]) + self.steps(parts[half:])

    def predictions(self, sampled: Sampled) -> list[Outgoing]:
        """The batch, or a summary of it where N x C is too large to ship."""
        complain = self._complainer("predictions")
        try:
            fields = prediction_fields(sampled, complain)
        except NotABatch as error:
            self._dropped["predictions_unusable"] += 1
            complain(str(error))
            return []
        while True:
            record = schema.Predictions.model_validate(self._common() | fields)
            value = encode(record, self._content_type)
            if len(value) <= MAX_RECORD_BYTES:
                return [self._outgoing("predictions", topics.PREDICTIONS, record, value, 1)]
            smaller = _smaller(fields, record.size, math.ceil(len(value) / MAX_RECORD_BYTES))
            if smaller is None:
                return self._too_large(1, f"the predictions of step {record.step}", len(value))
            fields = smaller

    def reference(self, captured: Reference) -> list[Outgoing]:
        """The reference samples; every k-th of them where all would be too long."""
        fields = reference_fields(captured, self._complainer("reference"))
        while True:
            record = schema.Reference.model_validate(self._common() | fields)
            value = encode(record, self._content_type)
            if len(value) <= MAX_RECORD_BYTES:
                return [self._outgoing("predictions", topics.PREDICTIONS, record, value, 1)]
            if len(record.features) == 1:
                return self._too_large(1, "the reference", len(value))
            fields = every(math.ceil(len(value) / MAX_RECORD_BYTES), fields)

    def _common(self) -> dict[str, Any]:
        common = {"run": self._run, "session": self._session, "seq": self._next_seq, "time": time.time()}
        return common | ({"dropped": dict(dropped)} if (dropped := +self._dropped) else {})

    def _control(self, record: schema.Record) -> list[Outgoing]:
        value = encode(record, self._content_type)
        if len(value) > MAX_RECORD_BYTES:
            return self._too_large(1, f"the {record.type} record", len(value))
        first = self._outgoing("control", topics.STEPS, record, value, 0)
        return [first, first._replace(topic=topics.PREDICTIONS)]

    def _outgoing(
        self, kind: Kind, topic: str, record: schema.Record, value: bytes, count: int, group: Any = None
    ) -> Outgoing:
        self._next_seq += 1
        headers = cloud_event(record, self._content_type)
        return Outgoing(kind, topic, self._run.encode(), self._next_seq - 1, value, headers, count, group)

    def _too_large(self, count: int, what: str, size: int) -> list[Outgoing]:
        self._dropped["too_large"] += count
        message = "%s would take %d bytes, more than the %d a record may have: left out"
        self._notices.once("too_large", message, what, size, MAX_RECORD_BYTES)
        return []

    def _declared(self, fields: dict[str, Any]) -> schema.RunStart:
        while True:
            try:
                return schema.RunStart.model_validate(self._common() | fields)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                place = [part for part in first["loc"] if part != "[key]"]
                where = ".".join(map(str, place))
                message = "start(%s) is not usable: %s. The run is published without it; see docs/hook.md"
                self._notices.once(f"declaration.{where}", message, where, first["msg"])
                fields = _without(fields, place)

    def _unusable(self, error: Exception) -> None:
        self._dropped["steps_unusable"] += 1
        self._complainer("steps")(text_of(error))

    def _complainer(self, what: str) -> Callable[[str], object]:
        return lambda reason: self._notices.once(f"unusable {what}", "in %s, %s; said once", what, reason)


def _without(fields: dict[str, Any], place: Sequence[str | int]) -> dict[str, Any]:
    """The declaration without the entry at ``place``: the key of a mapping, or else the whole field."""
    name = place[0]
    value = fields[str(name)]
    if isinstance(value, Mapping) and len(place) > 1 and any(str(key) == str(place[1]) for key in value):
        kept = {key: item for key, item in value.items() if str(key) != str(place[1])}
        return {**fields, str(name): kept}
    return {key: item for key, item in fields.items() if key != name}


def _smaller(fields: Mapping[str, Any], samples: int, times: int) -> dict[str, Any] | None:
    """The batch in about so many times fewer bytes; None where nothing can be left out."""
    kind, single = fields.get("kind"), fields.keys() & {*PER_SAMPLE, *NAMED}
    if samples > 1 and ("values" in fields or kind is None) and (kind not in MATRICES or single & {*WIDE, *NAMED}):
        return every(times, fields)
    if kind in MATRICES:
        return summary_fields(fields)
    if kind == "summary" and single:
        return {name: value for name, value in fields.items() if name not in {"values", "confidence", *single}}
    return None
