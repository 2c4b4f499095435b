"""Captured predictions as fields of a record, on the sender's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from losswatch import tensors
from losswatch.devices import OnDevice
from losswatch.notices import text_of
from losswatch.samples import MAX_SHIPPED, NotABatch, Sampled


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
    if isinstance(values, OnDevice) and values.reduced:
        return _summary(sampled.phase, step, np.asarray(values.read().tolist()))
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
        read = readers.get(name, lambda value, name=name: half(_matrix(value, name)))
        _keep(fields, name, captured, read, count, complain)
    faults: dict[str, Any] = {}
    for name, captured in sampled.errors.items():
        _keep(faults, str(name), captured, _vector, count, complain)
    if faults:
        fields["errors"] = faults
    if sampled.kind != "classes" and fields["values"].size > MAX_SHIPPED:
        return summary_fields(fields)
    if sampled.kind != "classes":
        fields["values"] = half(fields["values"])
    return fields


def summary_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch as a summary: means over its samples, entropies in nats."""
    values = np.asarray(fields["values"], dtype=np.float64)
    with np.errstate(all="ignore"):
        if fields["kind"] == "logits":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            values = powers / powers.sum(axis=1, keepdims=True)
        entropy = -(values * np.log(np.where(values > 0, values, 1.0))).sum(axis=1)
    counts = np.bincount(values.argmax(axis=1), minlength=values.shape[1])
    ends = [entropy.mean(), values.max(axis=1).mean(), len(values)]
    return _summary(fields["phase"], fields["step"], np.concatenate([values.mean(axis=0), counts, ends]))


def every(stride: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch with every ``stride``-th of its samples."""
    per_sample = ("values", "labels", "slices", "embeddings", "features")
    thinner = {name: value[::stride] if name in per_sample else value for name, value in fields.items()}
    if "errors" in fields:
        thinner["errors"] = {name: values[::stride] for name, values in fields["errors"].items()}
    return thinner


def half(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values rounded to half precision, unless one is too large for it."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    return values if (np.isinf(rounded) & np.isfinite(values)).any() else rounded


def _summary(phase: str, step: int, numbers: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The fields of a summary whose numbers are as `losswatch.samples.summary_of_probabilities` has them."""
    width = (len(numbers) - 3) // 2
    mean, counts = numbers[:width], numbers[width : 2 * width]
    entropy, largest, count = numbers[2 * width :].tolist()
    return {
        "phase": phase,
        "step": step,
        "kind": "summary",
        "n": int(count),
        "mean": mean.tolist(),
        "counts": counts.astype(np.int64).tolist(),
        "mean_entropy": entropy,
        "mean_max": largest,
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
        return tensors.whole(value if isinstance(value, OnDevice) else tensors.scalar(value))
    except ValueError:
        return text_of(value, 200)


def _slices(captured: Any) -> list[str | None]:
    values = captured if isinstance(captured, list) else tensors.array(captured).tolist()
    return [None if value is None else text_of(value, 200) or None for value in values]
