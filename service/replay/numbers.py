"""Numbers as logs spell them, a column at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from losswatch.arrays import NOT_REPORTED, Floats

ABSENT: Final = float(NOT_REPORTED)
_NOTHING: Final = frozenset({"", "-", "--", "na", "n/a", "#n/a", "none", "null", "nil"})
_WORDS: Final = {
    "1.#qnan": float("nan"),
    "1.#ind": float("nan"),
    "-1.#ind": float("nan"),
    "1.#inf": float("inf"),
    "-1.#inf": float("-inf"),
    "-nan(ind)": float("nan"),
    "nan(ind)": float("nan"),
}
_TENSOR: Final = re.compile(r"(?:tensor|array|np\.float\d+|Array)\(\s*\[*([^\s,\])]+)\]*.*\)", re.DOTALL)
_THOUSANDS: Final = re.compile(r"[-+]?\d{1,3}(?:[, '\u00a0\u202f]\d{3})+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")
_PLAIN: Final = frozenset({float, int})


def number(text: str) -> float | None:
    """The number a text spells, `ABSENT` where it says that there is none, None where it is no number.

    >>> [number(text) for text in ("0.5", "-nan", "1,234.5", "0,25", "85.3%", "tensor(0.7, device='cuda:0')", "best")]
    [0.5, nan, 1234.5, 0.25, 85.3, 0.7, None]
    """
    try:
        return float(text)
    except ValueError:
        pass
    text = text.strip().strip("'\"").strip()
    low = text.lower()
    if low in _NOTHING:
        return ABSENT
    if low in _WORDS:
        return _WORDS[low]
    if found := _TENSOR.fullmatch(text):
        text = found[1]
    text = text.removesuffix("%").rstrip()
    if _THOUSANDS.fullmatch(text):
        text = re.sub(r"[, '\u00a0\u202f]", "", text)
    elif _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def of_texts(cells: Sequence[str]) -> Floats | None:
    """The column (N) of texts; None where it holds no number and some text."""
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    try:
        return np.array([float(cell) if cell else ABSENT for cell in cells])
    except ValueError:
        return _mixed([number(cell) for cell in cells])


def of_values(values: Sequence[Any]) -> Floats | None:
    """The column (N) of what JSON holds; None where it holds no number and something else.

    >>> of_values([1, None, "NaN", 2.5])
    array([1. , nan, nan, 2.5])
    >>> of_values(["a", True]) is None
    True
    """
    if set(map(type, values)) <= _PLAIN:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:
            pass
    return _mixed([_value(value) for value in values])


def _value(value: Any) -> float | None:
    if value is None:
        return ABSENT
    if isinstance(value, str):
        return number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _mixed(values: Sequence[float | None]) -> Floats | None:
    if None not in values:
        return np.array(values, dtype=np.float64)
    out = np.array([ABSENT if value is None else value for value in values])
    return out if any(value is not None and value is not ABSENT for value in values) else None
