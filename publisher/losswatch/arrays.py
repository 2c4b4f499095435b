"""Numeric arrays of the wire as numpy, with "not reported" and NaN kept apart.

The wire writes a value that was not reported at a step as ``null``; NaN and the infinities are
values like any other. In memory both must live in one float64 array, so "not reported" is one
particular quiet NaN, told apart by its payload (the way R tells ``NA`` from ``NaN``).

>>> a = floats([0.5, None, "NaN", "-Infinity"])
>>> a
array([ 0.5,  nan,  nan, -inf])
>>> reported(a)
array([ True, False,  True,  True])
>>> to_list(a)
[0.5, None, nan, -inf]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
AnyFloats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BITS: Final = np.uint64(0x7FF8_0000_0000_07A2)
NOT_REPORTED: Final[np.float64] = np.array([_BITS], dtype=np.uint64).view(np.float64)[0]
"""A quiet NaN whose payload means "no value was reported at this step"."""

DTYPES: Final = frozenset({"<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<i4", "<i8", "<u2", "<u4"})
"""What a raw buffer may hold: little-endian floats and integers (numpy's spelling)."""

WORDS: Final[dict[Any, float]] = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""The numbers that JSON has no digits for, as the wire spells them."""

_SENT: Final = (np.float16, np.float32, np.float64)
_NULLABLE: Final = {**WORDS, None: float(NOT_REPORTED)}
_PLAIN: Final = frozenset({float, int})


def reported(values: Floats) -> Bools:
    """Where a value was reported (NaN and infinities count as reported)."""
    mask: Bools = values.view(np.uint64) != _BITS
    return mask


def floats(value: Any, ndim: int = 1) -> Floats:
    """A float64 array of one dimension, or two, from what the wire or a caller holds.

    Accepts sequences of numbers and the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"`` (for two
    dimensions a sequence of such rows); in one dimension also ``None``; numpy arrays; and raw
    buffers ``{"d": dtype, "s": shape, "b": bytes}``. Raises ValueError (with what was found) for
    anything else.

    >>> floats([[0.25, 0.75], ["NaN", 1]], ndim=2)
    array([[0.25, 0.75],
           [ nan, 1.  ]])
    """
    return np.ascontiguousarray(_given(value, ndim), dtype=np.float64)


def as_sent(value: Any, ndim: int = 1) -> AnyFloats:
    """As `floats`, but floats of 16 and 32 bits stay what they are, and raw buffers are not copied."""
    array = _given(value, ndim)
    return np.ascontiguousarray(array, dtype=array.dtype if array.dtype in _SENT else np.float64)


def _given(value: Any, ndim: int) -> npt.NDArray[Any]:
    """What `floats` takes, as an array of any type of number; raises ValueError."""
    if type(value) is dict:
        array = _raw(value)
    elif isinstance(value, np.ndarray):
        array = value
    elif is_list(value):
        array = _numbers(value, _NULLABLE) if ndim == 1 else _rows(value)
    else:
        raise ValueError(f"expected an array of numbers, found {kind_of(value)}")
    if array.ndim != ndim:
        raise ValueError(f"expected {ndim} dimension(s), found shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"expected numbers, found {array.dtype}")
    return array


def ints(value: Any) -> Ints:
    """A one-dimensional int64 array; raises ValueError where a value is not a whole number of 64 bits."""
    if type(value) is dict:
        array = _raw(value)
    elif isinstance(value, np.ndarray):
        array = value
    elif is_list(value):
        array = _whole_numbers(value)
    else:
        raise ValueError(f"expected an array of whole numbers, found {kind_of(value)}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"expected whole numbers, found {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"expected 1 dimension, found shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.int64)


def to_list(values: Floats) -> list[float | None]:
    """The array (T) as Python floats, ``None`` where nothing was reported."""
    out: list[float | None] = values.tolist()
    for i in np.flatnonzero(~reported(values)):
        out[i] = None
    return out


def to_lists(values: npt.NDArray[Any]) -> list[Any]:
    """Any array of a record as the JSON encoding carries it."""
    return to_list(values) if values.ndim == 1 and values.dtype == np.float64 else values.tolist()


def to_buffer(values: npt.NDArray[Any]) -> dict[str, Any]:
    """The array as a raw little-endian buffer, the form the binary encoding carries."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return {"d": little.dtype.str, "s": list(little.shape), "b": little.tobytes()}


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether the wire would call it a list."""
    return isinstance(value, list | tuple)


def kind_of(value: Any) -> str:
    """What a value is, in the wire's words and few of them, for messages."""
    match value:
        case None:
            return "null"
        case bool():
            return "true/false"
        case int() | float() if abs(value) < 1e15:
            return f"{value:g}"
        case int() | float():
            return "a number"
        case str():
            return f"the text {value!r:.40}"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
    return type(value).__name__


def _raw(buffer: dict[str, Any]) -> npt.NDArray[Any]:
    """The array a raw buffer stands for, without a copy."""
    dtype, shape, data = buffer.get("d"), buffer.get("s"), buffer.get("b")
    if type(dtype) is not str or dtype not in DTYPES:
        raise ValueError(f"a buffer's 'd' must be one of {', '.join(sorted(DTYPES))}")
    if type(data) is not bytes:
        raise ValueError(f"a buffer's 'b' must be bytes, found {kind_of(data)}")
    array: npt.NDArray[Any] = np.frombuffer(data, dtype)
    if shape == [array.size]:
        return array
    if not is_list(shape) or not set(map(type, shape)) <= {int} or not 1 <= len(shape) <= 2:
        raise ValueError("a buffer's 's' must be a list of one or two sizes")
    if math.prod(shape) != array.size or min(shape) < 0:
        raise ValueError(f"a buffer's 's' does not fit its {array.size} values")
    return array.reshape(shape)


def _numbers(items: Sequence[Any], words: Mapping[Any, float]) -> Floats:
    """The array (T) of numbers and of the words that stand for numbers."""
    if not set(map(type, items)) <= _PLAIN:
        items = [item if type(item) in _PLAIN else _number(item, words) for item in items]
    try:
        return np.array(items, dtype=np.float64)
    except OverflowError as error:
        raise ValueError("expected numbers that a float64 can hold") from error


def _number(item: Any, words: Mapping[Any, float]) -> float:
    if isinstance(item, np.integer | np.floating):
        return float(item)
    if (isinstance(item, str) or item is None) and item in words:
        return words[item]
    raise ValueError(f"expected numbers, found {kind_of(item)}")


def _rows(rows: Sequence[Any]) -> Floats:
    """The array (N, F) of a list of N rows."""
    if not all(map(is_list, rows)):
        raise ValueError("expected a list of rows, each a list of numbers")
    widths = set(map(len, rows))
    if len(widths) > 1:
        raise ValueError(f"expected rows of one length, found {min(widths)} to {max(widths)}")
    return _numbers(list(chain.from_iterable(rows)), WORDS).reshape(len(rows), *(widths or {0}))


def _whole_numbers(items: Sequence[Any]) -> Ints:
    if not set(map(type, items)) <= {int}:
        for item in items:
            if type(item) is bool or not isinstance(item, int | np.integer):
                raise ValueError(f"expected whole numbers, found {kind_of(item)}")
    try:
        return np.array(items, dtype=np.int64)
    except OverflowError as error:
        raise ValueError("expected whole numbers of at most 64 bits") from error
