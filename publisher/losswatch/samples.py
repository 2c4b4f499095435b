"""Predictions of a batch, captured on the job's thread: sampled first, then copied, and bounded."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from losswatch import tensors
from losswatch.devices import OnDevice

MAX_COPIED: Final = 1_048_576
"""Most numbers of probabilities or logits copied at a call; of a larger batch only some rows are taken."""
MAX_SHIPPED: Final = 65_536
"""Most numbers of a batch sent as they are; a larger batch is summarised."""
MAX_EXTRA: Final = 262_144
"""Most numbers of embeddings, or of features, that go with a batch; with more only some rows are taken."""
MATRICES: Final = ("probabilities", "logits")
WIDE: Final = ("embeddings", "features")
HASHES: Final = 2**32
WORD: Final = 2**64 - 1
MIX: Final = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio: multiplied by it, whole numbers spread evenly (Knuth, TAOCP 3, 6.4)."""


class Sampled(NamedTuple):
    """A captured batch: all of the rows that the job gave, or a sample of them."""

    phase: Any
    step: Any
    kind: str | None
    arrays: Mapping[str, Any]
    errors: Mapping[Any, Any]
    targets: Mapping[Any, Any]


class Reference(NamedTuple):
    """Captured reference samples."""

    features: Any
    labels: Any
    targets: Mapping[Any, Any]


class NotABatch(ValueError):
    """What was given as predictions is not N x C numbers, or N labels."""


def capture(
    step: Any,
    phase: Any,
    kind: str | None,
    values: Any,
    per_sample: Mapping[str, Any],
    errors: Mapping[Any, Any] | None,
    targets: Mapping[Any, Any] | None = None,
    ids: Any = None,
) -> tuple[Sampled, int]:
    """The batch, and how many numbers of it were copied. On the job's thread; may raise anything.

    Without a ``kind`` there are no ``values``.
    """
    arrays = {name: value for name, value in per_sample.items() if value is not None}
    errors, targets = errors or {}, targets or {}
    leading = (kind, values) if kind is not None else next(iter((arrays | dict(errors)).items()))
    size = tensors.shape(leading[1])
    if not size:
        raise NotABatch(f"{leading[0]} is {type(leading[1]).__name__}, expected an array or a list")
    count, width = size[0], math.prod(size[1:]) if kind is not None else 0
    wide = [math.prod(tensors.shape(arrays[name])[1:]) for name in WIDE if name in arrays]
    # Rows go together: those who want embeddings of some rows get the predictions of the same rows.
    most = (MAX_COPIED if kind in MATRICES else MAX_SHIPPED) // max(width, 1)
    for each in wide:
        most = min(most, MAX_EXTRA // max(each, 1))
    rows = chosen(count, max(most, 1), ids)
    taken = len(range(*rows.indices(count))) if isinstance(rows, slice) else len(rows)
    large = kind in MATRICES and taken * width > MAX_SHIPPED
    # What goes with the samples is of little use without their classes.
    summary = partial(summary_of_logits if kind == "logits" else summary_of_probabilities, each=bool(arrays or errors))
    copied = {} if kind is None else {kind: tensors.copied(values, rows, summary if large else None)}
    copied |= {name: tensors.copied(value, rows) for name, value in arrays.items()}
    faults, truths = ({name: tensors.copied(x, rows) for name, x in named.items()} for named in (errors, targets))
    cost = taken * (width + sum(wide) + len(arrays) + len(faults) + len(truths))
    return Sampled(phase, tensors.scalar(step), kind, copied, faults, truths), cost + 1


def capture_reference(features: Any, labels: Any, targets: Mapping[Any, Any] | None) -> tuple[Reference, int]:
    """Reference samples, some of them where they are too many, and how many numbers were copied."""
    size = tensors.shape(features)
    rows = chosen(size[0], max(1, MAX_COPIED // max(math.prod(size[1:]), 1)), None)
    truths = {name: tensors.copied(values, rows) for name, values in (targets or {}).items()}
    named = None if labels is None else tensors.copied(labels, rows)
    return Reference(tensors.copied(features, rows), named, truths), min(math.prod(size), MAX_COPIED) + 1


def on_device(item: Sampled | Reference) -> bool:
    """Whether any of it is on a device."""
    if isinstance(item, Reference):
        captured = [item.features, item.labels, *item.targets.values()]
    else:
        captured = [*item.arrays.values(), *item.errors.values(), *item.targets.values()]
    return any(isinstance(each, OnDevice) for each in captured)


def chosen(count: int, most: int, ids: Any) -> slice | list[int]:
    """At most some of ``count`` rows: the same samples whenever the ids are the same, else every k-th.

    >>> chosen(10, 4, None)
    slice(None, None, 3)
    >>> rows = chosen(6, 3, ["a", "b", "c", "d", "e", "f"])
    >>> shuffled = chosen(6, 3, ["f", "e", "d", "c", "b", "a"])
    >>> sorted(5 - row for row in shuffled) == rows
    True
    """
    if count <= most:
        return tensors.ALL
    hashes = _hashes(ids)
    if len(hashes) != count:
        return slice(None, None, math.ceil(count / most))
    below = most * HASHES // count
    rows = [row for row, value in enumerate(hashes) if value <= below]
    return rows if len(rows) <= most else sorted(sorted(rows, key=hashes.__getitem__)[:most])


def _hashes(ids: Any) -> Sequence[int]:
    """32 bits per id; nothing where there are none, or looking at them would mean to wait for a device."""
    if ids is None or not getattr(ids, "is_cpu", True):
        return ()
    if (numpy := sys.modules.get("numpy")) and hasattr(ids, "dtype"):
        array = numpy.asarray(ids)
        if array.ndim == 1 and array.dtype.kind in "iu":
            mixed = array.astype(numpy.uint64) * numpy.uint64(MIX)
            hashes: Sequence[int] = (mixed >> numpy.uint64(32)).tolist()
            return hashes
        ids = array.tolist()
    return [
        (each * MIX & WORD) >> 32 if type(each) is int else zlib.crc32(str(each).encode("utf-8", "replace"))
        for each in ids
    ]


def summary_of_logits(logits: Any, each: bool = False) -> Any:
    """As `summary_of_probabilities`, of logits."""
    return summary_of_probabilities(sys.modules["torch"].softmax(logits.float(), dim=1), each)


def summary_of_probabilities(probabilities: Any, each: bool = False) -> Any:
    """(3 + 2C) float64 on the device of the torch tensor (N, C), none of it waited for.

    N, mean entropy in nats, mean of the largest probability; mean probability and argmax count of
    each class; with ``each`` the N argmaxes and the N largest probabilities too.
    """
    torch = sys.modules["torch"]
    p = probabilities.float()
    top, index = p.max(dim=1)
    ones = torch.ones_like(index, dtype=torch.float64)
    counts = torch.zeros(p.shape[1], dtype=torch.float64, device=p.device).scatter_add_(0, index, ones)
    entropy = -torch.special.xlogy(p, p).sum(dim=1)
    ends = torch.stack([ones.sum(), entropy.double().mean(), top.double().mean()])
    return torch.cat([ends, p.double().mean(dim=0), counts, *([index.double(), top.double()] if each else [])])
