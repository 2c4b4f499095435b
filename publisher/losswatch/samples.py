"""Predictions of a batch: captured on the job's thread, turned into record fields on the sender's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from losswatch import tensors
from losswatch.notices import text_of

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_COPIED: Final = 1_048_576
"""Most numbers of one array copied at a call; of a larger one every k-th row is taken."""
MAX_SHIPPED: Final = 65_536
"""Most numbers of a batch sent as they are; a larger batch is summarised."""


class Sampled(NamedTuple):
    """A captured batch. ``total`` is the number of samples the job gave, of which every k-th is here."""

    phase: Any
    step: Any
    kind: str
    arrays: Mapping[str, Any]
    errors: Mapping[Any, Any]
    total: int
    stride: int


class NotABatch(ValueError):
    """What was given as predictions is not N x C numbers, or N labels."""


def capture(
    step: Any, phase: Any, kind: str, values: Any, per_sample: Mapping[str, Any], errors: Mapping[Any, Any] | None
) -> tuple[Sampled, int]:
    """The batch, and how many numbers of it were copied. On the job's thread; may raise anything."""
    size = tensors.shape(values)
    if not size:
        raise NotABatch(f"{kind} is {type(values).__name__}, expected an array or a list")
    arrays = {kind: values} | {name: value for name, value in per_sample.items() if value is not None}
    widest = max(math.prod(tensors.shape(value)) for value in arrays.values())
    stride = math.ceil(widest / MAX_COPIED) if widest > MAX_COPIED else 1
    if kind == "classes":
        stride = max(stride, math.ceil(size[0] / MAX_SHIPPED))
    copied = {name: tensors.copied(value, stride) for name, value in arrays.items()}
    faults = {name: tensors.copied(value, stride) for name, value in (errors or {}).items()}
    cost = sum(math.prod(tensors.shape(value)) for value in (*arrays.values(), *(errors or {}).values())) // stride
    return Sampled(phase, tensors.scalar(step), kind, copied, faults, size[0], stride), cost + 1


def prediction_fields(sampled: Sampled, complain: Callable[[str], object]) -> dict[str, Any]:
    """The fields of a `Predictions` record. Raises NotABatch."""
    if not isinstance(sampled.phase, str) or not 1 <= len(sampled.phase) <= 200:
        raise NotABatch(f"the phase {sampled.phase!r:.60} is not a name of 1 to 200 characters")
    try:
        step = tensors.whole(sampled.step)
    except Exception as error:
        raise NotABatch(f"the step is not usable: {text_of(error)}") from error
    fields: dict[str, Any] = {"phase": sampled.phase, "step": step, "kind": sampled.kind}
    arrays = dict(sampled.arrays)
    values = arrays.pop(sampled.kind)
    if sampled.kind == "classes":
        fields["values"] = _labels(values)
        count = len(fields["values"])
    else:
        fields["values"] = _matrix(values, sampled.kind)
        count = len(fields["values"])
    if count == 0:
        raise NotABatch(f"{sampled.kind} has no rows")
    readers: dict[str, Callable[[Any], Any]] = {"labels": _labels, "slices": _slices}
    for name, captured in arrays.items():
        read = readers.get(name, lambda value, name=name: _matrix(value, name))
        _keep(fields, name, captured, read, count, complain)
    faults: dict[str, Any] = {}
    for name, captured in sampled.errors.items():
        _keep(faults, str(name), captured, _vector, count, complain)
    if faults:
        fields["errors"] = faults
    if sampled.kind != "classes" and fields["values"].size > MAX_SHIPPED:
        return summary_fields(fields)
    return fields


def summary_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch as a summary: means over its samples, entropies in nats."""
    import numpy as np

    values = np.asarray(fields["values"], dtype=np.float64)
    with np.errstate(all="ignore"):
        if fields["kind"] == "logits":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            values = powers / powers.sum(axis=1, keepdims=True)
        entropy = -(values * np.log(np.where(values > 0, values, 1.0))).sum(axis=1)
    return {
        "phase": fields["phase"],
        "step": fields["step"],
        "kind": "summary",
        "n": len(values),
        "mean": values.mean(axis=0).tolist(),
        "counts": np.bincount(values.argmax(axis=1), minlength=values.shape[1]).tolist(),
        "mean_entropy": float(entropy.mean()),
        "mean_max": float(values.max(axis=1).mean()),
    }


def _keep(
    fields: dict[str, Any],
    name: str,
    captured: Any,
    read: Callable[[Any], Any],
    count: int,
    complain: Callable[[str], object],
) -> None:
    """Put a per-sample array into the fields if it is usable and has a row for every sample."""
    try:
        value = read(captured)
    except Exception as error:  # the job's objects may raise anything
        complain(f"{name} is left out: {text_of(error)}")
        return
    if len(value) != count:
        complain(f"{name} is left out: it has {len(value)} rows for {count} samples")
        return
    fields[name] = value


def _numbers(captured: Any, name: str) -> npt.NDArray[Any]:
    try:
        values = tensors.array(captured)
    except Exception as error:
        raise NotABatch(f"{name} cannot be read: {type(error).__name__}: {error}"[:300]) from error
    if values.dtype.kind not in "fiub":
        raise NotABatch(f"{name} holds {values.dtype}, expected numbers")
    return values if values.dtype.kind == "f" else values.astype("f8")


def _matrix(captured: Any, name: str) -> npt.NDArray[Any]:
    values = _numbers(captured, name)
    if values.ndim != 2 or values.shape[1] == 0:
        raise NotABatch(f"{name} has shape {values.shape}, expected N samples x C columns: reshape it")
    return values


def _vector(captured: Any) -> npt.NDArray[Any]:
    return _numbers(captured, "errors").reshape(-1).astype("f8")


def _labels(captured: Any) -> list[str | int]:
    values = captured if isinstance(captured, list) else tensors.array(captured).tolist()
    if not isinstance(values, list) or any(isinstance(value, list) for value in values):
        raise NotABatch("classes and labels are one per sample, found more dimensions")
    return [_label(value) for value in values]


def _label(value: Any) -> str | int:
    if isinstance(value, str):
        return text_of(value, 200)
    try:
        return tensors.whole(value if isinstance(value, tensors.OnDevice) else tensors.scalar(value))
    except ValueError:
        return text_of(value, 200)


def _slices(captured: Any) -> list[str | None]:
    values = captured if isinstance(captured, list) else tensors.array(captured).tolist()
    return [None if value is None else text_of(value, 200) or None for value in values]
