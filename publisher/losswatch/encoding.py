"""Records to bytes and back, in the two encodings of the wire.

>>> from losswatch.schema import Steps
>>> value = encode(Steps(run="ttt-42", time=0.0, step=[7], total=[float("nan")]))
>>> value
b'{"v":1,"type":"steps","run":"ttt-42","time":0.0,"step":[7],"total":["NaN"]}'
>>> decode(value).total
array([nan])
>>> decode(b'{"v":1,"type":"steps","run":"ttt-42"}')
Traceback (most recent call last):
losswatch.encoding.WireError: invalid: time: Field required (and 1 more)
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from losswatch import arrays
from losswatch.schema import BY_TYPE, INBOUND, Record

JSON: Final = "application/json"
MSGPACK: Final = "application/vnd.losswatch+msgpack"

VERSION: Final = 1
MAX_BYTES: Final = 16 * 1024 * 1024
"""Longest record value that is looked at."""
LONG: Final = 1024
LONG_WHOLE: Final = 64
"""Entries from which on a column, of any numbers or of whole ones, is worth the look for a shorter type."""
MAX_DETAIL: Final = 300
"""Most characters of a `WireError`'s detail."""

Reason = Literal[
    "empty", "too_large", "unknown_encoding", "not_json", "not_msgpack", "unknown_version", "unknown_type", "invalid"
]


class WireError(ValueError):
    """A record value that cannot be used: ``reason`` for machines, ``detail`` one short sentence for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Final = reason
        short = detail if len(detail) <= MAX_DETAIL else f"{detail[: MAX_DETAIL - 3]}..."
        self.detail: Final = "".join(each if each.isprintable() else "?" for each in short)
        super().__init__(f"{reason}: {self.detail}")


def encode(record: Record, content_type: str = JSON) -> bytes:
    """The record as the value of a Kafka record. Fields that were never set are left out.

    Raises ValueError where the content type is none of the wire's and ModuleNotFoundError where
    msgpack is asked for and not installed.
    """
    fields = {"v": record.v, "type": record.type, **record.model_dump(exclude_unset=True)}
    if content_type == JSON:
        return to_json(fields, inf_nan_mode="strings", fallback=arrays.to_lists)
    if content_type == MSGPACK:
        packed: bytes = _msgpack().packb(fields, default=_buffer)
        return packed
    raise ValueError(f"unknown content type {content_type!r}, expected {JSON} or {MSGPACK}")


def decode(value: bytes | None, content_type: str = JSON, accept: Collection[type[Record]] = INBOUND) -> Record:
    """The record that a Kafka record's value holds.

    ``accept`` are the record types wanted: those that jobs publish, unless told otherwise. Raises
    WireError, and nothing else, whatever the bytes are.
    """
    if not value:
        raise WireError("empty", "the record has no value")
    if len(value) > MAX_BYTES:
        raise WireError("too_large", f"{len(value)} bytes, more than {MAX_BYTES}")
    model = _model_of(fields := _parse(value, content_type), accept)
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise WireError("invalid", _first_of(error)) from error


def _parse(value: bytes, content_type: str) -> Any:
    kind = content_type if content_type in (JSON, MSGPACK) else content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        try:
            return from_json(value)
        except ValueError as error:
            raise WireError("not_json", str(error)) from error
    if kind == MSGPACK:
        try:
            unpackb = _msgpack().unpackb
        except ModuleNotFoundError as error:
            raise WireError("unknown_encoding", str(error)) from error
        try:
            return unpackb(value)
        except ValueError as error:
            raise WireError("not_msgpack", str(error) or type(error).__name__) from error
    raise WireError("unknown_encoding", f"content type {content_type!r:.80}, expected {JSON} or {MSGPACK}")


def _model_of(fields: Any, accept: Collection[type[Record]]) -> type[Record]:
    """Looked at before the rest, so that what is merely newer is told apart from what is broken."""
    if type(fields) is not dict:
        raise WireError("invalid", f"expected an object, found {arrays.kind_of(fields)}")
    version, name = fields.get("v"), fields.get("type")
    if type(version) is not int or version != VERSION:
        raise WireError("unknown_version", f"v is {arrays.kind_of(version)}, expected {VERSION}")
    model = BY_TYPE.get(name) if type(name) is str else None
    if model is None or model not in accept:
        wanted = ", ".join(known for known, each in BY_TYPE.items() if each in accept)
        raise WireError("unknown_type", f"type is {arrays.kind_of(name)}, expected one of {wanted}")
    return model


def _first_of(error: ValidationError) -> str:
    """The first failing field, what is wrong with it, and how many more there are."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(f"{part!s:.60}" for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place}: {message}{more}" if place else f"{message}{more}"


def _msgpack() -> Any:
    try:
        import msgpack
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the binary encoding needs msgpack: pip install 'losswatch[binary]'") from error
    return msgpack


def _buffer(values: Any) -> Any:
    """What msgpack carries for an array: a buffer, or a list where ``null`` and NaN must be told apart."""
    if not isinstance(values, np.ndarray):
        raise TypeError(f"cannot encode {type(values).__name__}")
    if values.ndim == 1 and values.dtype == np.float64 and not arrays.reported(values).all():
        return arrays.to_lists(values)
    long = LONG if values.dtype.kind == "f" else LONG_WHOLE
    return arrays.to_buffer(_shortened(values) if values.ndim == 2 or len(values) >= long else values)


def _shortened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values in the shortest of the wire's types that holds them exactly."""
    dtypes = (np.float16, np.float32) if values.dtype.kind == "f" else (np.uint8, np.uint16, np.uint32)
    with np.errstate(over="ignore"):
        for dtype in dtypes:
            shorter = values.astype(dtype)
            if np.array_equal(shorter, values, equal_nan=values.dtype.kind == "f"):
                return shorter
    return values
