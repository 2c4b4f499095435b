"""Values of the job, captured on its thread and read on the sender's.

No array library is imported here: tensors are told by their methods. What the job may change
afterwards is copied at the call; what lives on a device is cloned there (see `losswatch.devices`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from losswatch.devices import Copies, OnDevice, Reduce, capturing
from losswatch.notices import line_of

if TYPE_CHECKING:
    import numpy.typing as npt

WHOLE_LIMIT: Final = 2**53
ALL: Final = slice(None)


class Unusable:
    """A value that could not be captured, and why."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


def scalar(value: Any, found: list[tuple[OnDevice, Any]] | None = None) -> Any:
    """Capture one number on the job's thread: never raises and never waits for a device.

    What is on a CUDA device is added to ``found``, for `losswatch.devices.stage`.
    """
    kind = type(value)
    if value is None or kind is float or kind is int or kind is bool:
        return value
    try:
        module = kind.__module__
        if module == "numpy":
            return value.item()
        if module == "torch" or hasattr(value, "detach"):
            if module != "torch" and hasattr(value, "full_tensor"):
                return Unusable("it is a distributed tensor; call full_tensor() on every rank first")
            if value.is_cpu:
                return value.item()
            return _on_device(value, found)
        if hasattr(value, "copy_to_host_async"):  # JAX: never changes, and float() of it would wait
            value.copy_to_host_async()
            return value
        if hasattr(value, "item") and hasattr(value, "dtype"):
            return value.item()
        if isinstance(value, str | bytes):
            return Unusable(f"it is {kind.__name__}, not a number")
        return float(value)
    except Exception as error:
        return Unusable(f"{kind.__name__}: {line_of(error)}")


def _on_device(value: Any, found: list[tuple[OnDevice, Any]] | None) -> Any:
    if capturing(value):
        return Unusable("it is reported while a CUDA graph is captured; report it after the replay")
    if found is None or not getattr(value, "is_cuda", False):
        return OnDevice(value)
    if value.numel() != 1:
        return Unusable(f"it is a tensor of {value.numel()} numbers, not one")
    part = OnDevice.part()
    found.append((part, value))
    return part


def ready(item: Any, copies: Copies) -> bool:
    """Whether everything of a captured row or batch can be read without a wait; starts the copies."""
    if isinstance(item, OnDevice):
        return item.ready(copies)
    if isinstance(item, dict):
        # No short cut: all copies are to be started.
        return min([ready(each, copies) for each in item.values()], default=True)
    if isinstance(item, tuple):
        return min([ready(each, copies) for each in item], default=True)
    return True


def number(captured: Any) -> float:
    """The number captured by `scalar`, on the sender's thread. Raises ValueError where there is none."""
    if isinstance(captured, Unusable):
        raise ValueError(captured.reason)
    if isinstance(captured, OnDevice):
        captured = captured.read().item()
    return float(captured)


def whole(captured: Any) -> int:
    """The whole number captured by `scalar`. Raises ValueError where there is none that the wire can hold."""
    value = captured if type(captured) is int else number(captured)
    if not math.isfinite(value) or value != int(value) or abs(value) >= WHOLE_LIMIT:
        raise ValueError(f"{value!s:.40} is not a whole number below 2**53")
    return int(value)


def shape(value: Any) -> tuple[int, ...]:
    """The shape of an array or of (nested) sequences, without reading a value; () for anything else."""
    if (known := getattr(value, "shape", None)) is not None:
        return tuple(int(n) for n in known)
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        return ()
    return (len(value), *(shape(value[0]) if len(value) else ()))


def copied(value: Any, rows: slice | Sequence[int] = ALL, reduce: Reduce | None = None) -> Any:
    """Capture rows of an array on the job's thread. Raises where it is no array.

    ``reduce`` is applied on the device where the array is on one, and not at all elsewhere.
    """
    if isinstance(value, str | bytes | Mapping):
        raise ValueError(f"expected an array, found {type(value).__name__}")
    part = _rows_of(value, rows)
    if hasattr(part, "detach"):
        if hasattr(part, "full_tensor"):
            raise ValueError("it is a distributed tensor; call full_tensor() on every rank first")
        if capturing(part):
            raise ValueError("it is reported while a CUDA graph is captured; report it after the replay")
        return part.detach().clone() if part.is_cpu else OnDevice(part, reduce)
    if hasattr(part, "dtype") and hasattr(part, "copy"):
        return part.copy()
    return [copied(row) if _nested(row) else row for row in part]


def _rows_of(value: Any, rows: slice | Sequence[int]) -> Any:
    if isinstance(rows, slice):
        return value if rows == ALL else value[rows]
    if hasattr(value, "index_select"):
        torch = sys.modules["torch"]
        index = torch.tensor(rows)
        if getattr(value, "is_cuda", False):  # from pinned memory, or the job would wait for the transfer
            index = index.pin_memory().to(value.device, non_blocking=True)
        return value.index_select(0, index)
    return value[rows] if hasattr(value, "dtype") else [value[row] for row in rows]


def array(captured: Any) -> npt.NDArray[Any]:
    """The array captured by `copied`, on the sender's thread. Raises ValueError where there is none."""
    import numpy as np

    if isinstance(captured, OnDevice):
        captured = captured.read()
    if hasattr(captured, "detach"):
        if getattr(captured, "is_sparse", False):
            captured = captured.to_dense()
        captured = captured.float() if captured.is_floating_point() else captured
        return np.asarray(captured.numpy())
    if isinstance(captured, list) and any(isinstance(row, OnDevice) or hasattr(row, "detach") for row in captured):
        captured = [array(row) if _nested(row) or isinstance(row, OnDevice) else row for row in captured]
    return np.asarray(captured)


def _nested(row: Any) -> bool:
    return hasattr(row, "shape") or (isinstance(row, Sequence) and not isinstance(row, str | bytes))
