"""Captured predictions as fields of a record, on the sender's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from losswatch import tensors
from losswatch.devices import OnDevice
from losswatch.notices import line_of, text_of
from losswatch.samples import MATRICES, MAX_SHIPPED, WIDE, NotABatch, Reference, Sampled

PER_SAMPLE: Final = ("labels", "slices", "embeddings", "features")
SUM_TOLERANCE: Final = 0.01
"""How far from 1 a sample's probabilities may sum up: half precision over many classes drifts this far."""
NAMED: Final = ("errors", "targets")
"""Fields that hold per-sample numbers by name."""


def prediction_fields(sampled: Sampled, complain: Callable[[str], object]) -> dict[str, Any]:
    """The fields of a `Predictions` record. Raises NotABatch."""
    if not isinstance(sampled.phase, str) or not 1 <= len(sampled.phase) <= 200:
        raise NotABatch(f"the phase {sampled.phase!r:.60} is not a name of 1 to 200 characters")
    try:
        step = tensors.whole(sampled.step)
    except Exception as error:
        raise NotABatch(f"the step is not usable: {text_of(error)}") from error
    fields: dict[str, Any] = {"phase": sampled.phase, "step": step}
    arrays, count = dict(sampled.arrays), None
    if sampled.kind is not None:
        values = arrays.pop(sampled.kind)
        if isinstance(values, OnDevice) and values.reduced:
            fields |= _summary(np.asarray(values.read().tolist()), each=bool(arrays or sampled.errors))
            count = fields["n"]
        else:
            read = _labels if sampled.kind == "classes" else partial(_by_class, name=sampled.kind, complain=complain)
            fields |= {"kind": sampled.kind, "values": read(values)}
            if (count := len(fields["values"])) == 0:
                raise NotABatch(f"{sampled.kind} has no rows")
    for name in WIDE:
        if name in arrays:
            count = _keep(fields, name, arrays.pop(name), partial(_wide, name=name), count, complain)
    count = _keep_named(fields, "errors", sampled.errors, count, complain)
    if not count:
        raise NotABatch("no classes are predicted, and there are no usable embeddings, features or errors")
    _keep_named(fields, "targets", sampled.targets, count, complain)
    readers: dict[str, Callable[[Any], Any]] = {"labels": _labels, "slices": _slices}
    for place, captured in arrays.items():
        _keep(fields, place, captured, readers[place], count, complain)
    if fields.get("kind") == "summary":
        return _needed(fields)
    if sampled.kind in MATRICES:
        if fields["values"].size > MAX_SHIPPED:
            return summary_fields(fields)
        fields["values"] = half(fields["values"])
    return fields


def reference_fields(reference: Reference, complain: Callable[[str], object]) -> dict[str, Any]:
    """The fields of a `Reference` record. Raises NotABatch."""
    fields: dict[str, Any] = {"features": _matrix(reference.features, "features")}
    count = len(fields["features"])
    if reference.labels is not None:
        _keep(fields, "labels", reference.labels, _labels, count, complain)
    _keep_named(fields, "targets", reference.targets, count, complain)
    return fields


def summary_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch with a summary of its values: means over its samples, entropies in nats."""
    values = np.asarray(fields["values"], dtype=np.float64)
    with np.errstate(all="ignore"):
        if fields["kind"] == "logits":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            values = powers / powers.sum(axis=1, keepdims=True)
        entropy = -(values * np.log(np.where(values > 0, values, 1.0))).sum(axis=1)
    predicted = values.argmax(axis=1)
    counts, largest = np.bincount(predicted, minlength=values.shape[1]), values.max(axis=1)
    ends = [len(values), entropy.mean(), largest.mean()]
    numbers = np.concatenate([ends, values.mean(axis=0), counts, predicted, largest])
    return _needed(dict(fields) | _summary(numbers, each=True))


def every(stride: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same batch with every ``stride``-th of its samples; a summary still is one of all of them."""
    single = {"values", "confidence", *PER_SAMPLE}
    thinner = {name: value[::stride] if name in single else value for name, value in fields.items()}
    for group in NAMED:
        if group in fields:
            thinner[group] = {name: values[::stride] for name, values in fields[group].items()}
    return thinner


def half(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values rounded to half precision, unless one is too large for it."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float16)
    return values if (np.isinf(rounded) & np.isfinite(values)).any() else rounded


def _summary(numbers: npt.NDArray[np.float64], each: bool) -> dict[str, Any]:
    """The fields of a summary whose numbers are as `losswatch.samples.summary_of_probabilities` has them."""
    count, entropy, largest = numbers[:3].tolist()
    ends = 3, len(numbers) - (2 * int(count) if each else 0)
    mean, counts = numbers[slice(*ends)].reshape(2, -1)
    single = numbers[ends[1] :].reshape(2, -1)
    return ({"values": single[0].astype(np.int64), "confidence": single[1].astype(np.float32)} if each else {}) | {
        "kind": "summary",
        "n": int(count),
        "mean": mean.astype(np.float32),  # of 100,000 classes it must fit into a record
        "counts": counts.astype(np.int64),
        "mean_entropy": entropy,
        "mean_max": largest,
    }


def _needed(summary: dict[str, Any]) -> dict[str, Any]:
    """Without the samples' classes where nothing goes with them, and without confidences where labels do not."""
    unneeded = set() if "labels" in summary else {"confidence"}
    unneeded |= set() if summary.keys() & {*PER_SAMPLE, *NAMED} else {"values"}
    return {name: value for name, value in summary.items() if name not in unneeded}


def _keep(
    fields: dict[str, Any],
    name: str,
    captured: Any,
    read: Callable[[Any], Any],
    count: int | None,
    complain: Callable[[str], object],
) -> int | None:
    """Put a per-sample array into the fields if it is usable and has a row for every sample.

    ``count`` is None while it is not known how many there are. Returns it as it is known now.
    """
    try:
        value = read(captured)
    except Exception as error:  # the job's objects may raise anything
        complain(f"{name} is left out: {text_of(error)}")
        return count
    if count is not None and len(value) != count:
        complain(f"{name} is left out: it has {len(value)} rows for {count} samples")
        return count
    fields[name] = value
    return len(value)


def _keep_named(
    fields: dict[str, Any],
    group: str,
    captured: Mapping[Any, Any],
    count: int | None,
    complain: Callable[[str], object],
) -> int | None:
    """As `_keep`, of numbers by name."""
    kept: dict[str, Any] = {}
    for name, values in captured.items():
        count = _keep(kept, str(name), values, _vector, count, complain)
    if kept:
        fields[group] = kept
    return count


def _numbers(captured: Any, name: str) -> npt.NDArray[Any]:
    try:
        values = tensors.array(captured)
    except Exception as error:
        raise NotABatch(f"{name} cannot be read: {line_of(error)}") from error
    if values.dtype.kind not in "fiub":
        raise NotABatch(f"{name} holds {values.dtype}, expected numbers")
    return values if values.dtype.kind == "f" else values.astype("f8")


def _matrix(captured: Any, name: str) -> npt.NDArray[Any]:
    values = _numbers(captured, name)
    if values.ndim != 2 or values.shape[1] == 0:
        raise NotABatch(f"{name} has shape {values.shape}, expected N samples x C columns: reshape it")
    return values


def _by_class(captured: Any, name: str, complain: Callable[[str], object]) -> npt.NDArray[Any]:
    values = _numbers(captured, name)
    if values.ndim == 1 or values.shape[1:] == (1,):
        both = "1 - p and p" if name == "probabilities" else "zeros and them"
        raise NotABatch(f"{name} has shape {values.shape}, expected N samples x C classes: of two classes send {both}")
    values = _matrix(values, name)
    if name == "probabilities":
        with np.errstate(all="ignore"):
            error = np.abs(values.sum(axis=1, dtype=np.float64) - 1)
        if (error > SUM_TOLERANCE).any() or (values < -SUM_TOLERANCE).any():
            complain("probabilities are not a distribution over the classes and will be refused: send logits instead")
    return values


def _wide(captured: Any, name: str) -> npt.NDArray[Any]:
    return half(_matrix(captured, name))


def _vector(captured: Any) -> npt.NDArray[Any]:
    return _numbers(captured, "errors or targets").reshape(-1).astype("f8")


def _labels(captured: Any) -> list[str | int]:
    values = _list(captured)
    if not isinstance(values, list) or any(isinstance(value, list) for value in values):
        raise NotABatch("classes and labels are one per sample, found more dimensions")
    return [_label(value) for value in values]


def _list(captured: Any) -> Any:
    return captured if isinstance(captured, list) else tensors.array(captured).tolist()


def _label(value: Any) -> str | int:
    if isinstance(value, str):
        return text_of(value, 200)
    if value is None:
        raise NotABatch("a label is None, and every sample needs one: leave out the samples without")
    try:
        return tensors.whole(value if isinstance(value, OnDevice) else tensors.scalar(value))
    except ValueError:
        return text_of(value, 200)


def _slices(captured: Any) -> list[str | None]:
    return [None if value is None else text_of(value, 200) or None for value in _list(captured)]
