"""The kinds of fields that records are made of, and how large each may be."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from losswatch import arrays
from losswatch.arrays import AnyFloats, Floats, Ints

MAX_STEPS: Final = 4096
"""Most steps one record may hold."""
MAX_SERIES: Final = 1024
"""Most names one mapping of a record may hold."""
MAX_SLICE_SERIES: Final = 16_384
"""Most series that all slices of one record may hold together."""
MAX_VALUES: Final = 4_194_304
"""Most numbers one array of a record may hold."""
MAX_NAME: Final = 200
"""Most characters of a name: a run, a phase, a component, a metric, a slice, a class."""
MAX_TEXT: Final = 10_000
"""Most characters of a text that people read."""
WHOLE_LIMIT: Final = 2**53
"""Every whole number is below it, so that all languages, and float64, hold it exactly."""

Name = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_NAME)]
ShortText = Annotated[str, Field(strict=True, max_length=MAX_NAME)]
Text = Annotated[str, Field(strict=True, max_length=MAX_TEXT)]
Whole = Annotated[int, Field(strict=True, ge=0, lt=WHOLE_LIMIT)]
Measured = Literal["step", "mean_since_last", "running_mean", "epoch_mean", "median", "mixed"]
"""How a number came about: of this step alone, a mean over the steps since the one reported before, a mean
over the epoch so far, a mean over the whole epoch, a median, or in different ways: the total of the last batch beside
means of its parts."""
Label = str | int
"""A class as the job names it."""

_AS_LISTS: Final = PlainSerializer(
    lambda value: arrays.to_lists(value) if isinstance(value, np.ndarray) else value, when_used="json"
)
_NUMBER: Final[dict[str, Any]] = {"anyOf": [{"type": "number"}, {"enum": list(arrays.WORDS)}]}
_NULLABLE: Final[dict[str, Any]] = {"anyOf": [*_NUMBER["anyOf"], {"type": "null"}]}
_WHOLE: Final[dict[str, Any]] = {"type": "integer", "minimum": 0, "exclusiveMaximum": WHOLE_LIMIT}
_LABEL: Final[dict[str, Any]] = {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": MAX_NAME}]}


def _array(items: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": most}


def _number(value: Any) -> Any:
    return arrays.WORDS.get(value, value) if isinstance(value, str) else value


def _few(value: Any) -> Any:
    """Refuses a huge mapping before its items are looked at, each of which could give an error."""
    if type(value) is dict and len(value) > MAX_SERIES:
        raise ValueError(f"expected at most {MAX_SERIES} names, found {len(value)}")
    return value


def few_in_all(value: Any) -> Any:
    """As `_few`, counting the series of all slices too."""
    if type(value) is dict:
        count = sum(len(series) for series in value.values() if type(series) is dict)
        if count > MAX_SLICE_SERIES:
            raise ValueError(f"expected at most {MAX_SLICE_SERIES} series in all slices, found {count}")
    return _few(value)


def _matrix(value: Any) -> Floats:
    return _predicted(value).astype(np.float64, copy=False)


def _predicted(value: Any) -> AnyFloats:
    """A matrix in the float type that it came in: half precision takes a quarter of the memory of float64."""
    matrix = arrays.as_sent(value, ndim=2)
    if not 1 <= matrix.size <= MAX_VALUES:
        raise ValueError(f"expected 1 to {MAX_VALUES} numbers, found shape {matrix.shape}")
    return matrix


def _indices(value: Any) -> Ints:
    indices = arrays.ints(value)
    # As unsigned numbers the negative ones are the largest: one reduction finds both offences.
    if indices.size and np.maximum.reduce(indices.view(np.uint64)) >= WHOLE_LIMIT:
        raise ValueError("expected whole numbers from 0 to 2**53 - 1")
    return indices


def _labels(value: Any) -> list[Label]:
    """Labels from a list, a numpy array or a raw buffer. Plain Python, as pydantic's union of two types is slow."""
    array = arrays.ints(value) if type(value) is dict else value
    labels = array.tolist() if isinstance(array, np.ndarray) else array
    if not arrays.is_list(labels) or len(labels) > MAX_VALUES:
        raise ValueError(f"expected a list of at most {MAX_VALUES} labels, found {arrays.kind_of(labels)}")
    if not set(map(type, labels)) <= {int, str}:
        odd = next(label for label in labels if type(label) not in (int, str))
        raise ValueError(f"a label is a whole number or a text, found {arrays.kind_of(odd)}")
    arrays.ints([label for label in labels if type(label) is int])
    if max((len(label) for label in labels if type(label) is str), default=0) > MAX_NAME:
        raise ValueError(f"a label has at most {MAX_NAME} characters")
    return list(labels)


def _sample_labels(value: Any) -> Ints | list[Label]:
    """Labels of samples: an array where all are whole numbers, which are many and take no further looks."""
    if type(value) is dict or (isinstance(value, np.ndarray) and value.dtype.kind in "iu"):
        array = arrays.ints(value)
        if len(array) > MAX_VALUES:
            raise ValueError(f"expected at most {MAX_VALUES} labels, found {len(array)}")
        return array
    labels = _labels(value)
    return arrays.ints(labels) if set(map(type, labels)) == {int} else labels


def _of_kind(value: Any, info: ValidationInfo) -> AnyFloats | Ints | list[Label] | None:
    match info.data.get("kind"):
        case "probabilities" | "logits":
            matrix = _predicted(value)
            if matrix.shape[1] < 2:
                raise ValueError(f"expected N x C numbers with at least 2 classes, found shape {matrix.shape}")
            return matrix
        case "classes" | "summary" if value is not None:
            labels = _sample_labels(value)
            if len(labels) == 0:
                raise ValueError("expected at least one label")
            return labels
        case None if value is not None and "kind" in info.data:
            raise ValueError("values need a kind")
    return None


Number = Annotated[float, Field(strict=True), BeforeValidator(_number), WithJsonSchema(_NUMBER)]
"""One float; NaN and the infinities are allowed."""
Series = Annotated[
    Floats,
    PlainValidator(arrays.floats),
    _AS_LISTS,
    WithJsonSchema(_array(_NULLABLE, MAX_STEPS)),
]
"""float64 (T): one value per step, ``null`` where nothing was reported."""
Values = Annotated[
    Floats,
    PlainValidator(arrays.floats),
    _AS_LISTS,
    WithJsonSchema(_array(_NULLABLE, MAX_VALUES)),
]
"""float64 (N) or (C): one value per sample or per class."""
Matrix = Annotated[
    Floats,
    PlainValidator(_matrix),
    _AS_LISTS,
    WithJsonSchema(_array(_array(_NUMBER, MAX_VALUES), MAX_VALUES)),
]
"""float64 (N, C) or (N, F): one row per sample."""
Indices = Annotated[
    Ints,
    PlainValidator(_indices),
    _AS_LISTS,
    WithJsonSchema(_array(_WHOLE, MAX_VALUES)),
]
"""int64 (C): one count per class."""
StepNumbers = Annotated[
    Ints,
    PlainValidator(_indices),
    _AS_LISTS,
    WithJsonSchema(_array(_WHOLE, MAX_STEPS) | {"minItems": 1}),
]
"""int64 (T): the steps of a block."""
Labels = Annotated[list[Label], PlainValidator(_labels), WithJsonSchema(_array(_LABEL, MAX_VALUES))]
"""N labels, or the names of C classes."""
SampleLabels = Annotated[
    Ints | list[Label],
    PlainValidator(_sample_labels),
    _AS_LISTS,
    WithJsonSchema(_array(_LABEL, MAX_VALUES)),
]
"""Labels of N samples: int64 (N) where all are whole numbers."""
Slices = Annotated[list[Name | None], Field(max_length=MAX_VALUES, fail_fast=True)]
"""The slice each of N samples belongs to."""
Predicted = Annotated[
    AnyFloats | Ints | list[Label] | None,
    PlainValidator(_of_kind),
    _AS_LISTS,
    WithJsonSchema(
        {"anyOf": [_array(_array(_NUMBER, MAX_VALUES), MAX_VALUES), _array(_LABEL, MAX_VALUES), {"type": "null"}]}
    ),
]
"""Floats (N, C), N labels or nothing, by the record's ``kind``, which stands before it."""
_MATRIX: Final = _array(_array(_NUMBER, MAX_VALUES) | {"minItems": 2}, MAX_VALUES) | {"minItems": 1}
_LABELS: Final = _array(_LABEL, MAX_VALUES) | {"minItems": 1}
PREDICTED_BY_KIND: Final[list[Any]] = [
    {
        "if": {"properties": {"kind": {"enum": kinds}}, "required": ["kind"]},
        "then": {"properties": {"values": values}, "required": required},
    }
    for kinds, values, required in (
        (["probabilities", "logits"], _MATRIX, ["values"]),
        (["classes"], _LABELS, ["values"]),
        (["summary"], {"anyOf": [_LABELS, {"type": "null"}]}, ["n", "mean", "counts"]),
    )
]
"""What a JSON Schema can say about `Predicted`."""
Few = BeforeValidator(_few)
ValuesByName = Annotated[dict[Name, Values], Few, Field(max_length=MAX_SERIES)]
SeriesByName = Annotated[dict[Name, Series], Few, Field(max_length=MAX_SERIES)]
