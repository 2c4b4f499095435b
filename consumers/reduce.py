"""Many prediction records to a few numbers each, batched on the device.

Records are grouped by kind, class count and size; each group is one pass. Letters: M samples in all, G records of a
group, N samples of the largest, C classes, K slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from consumers.pieces import StreamPiece
from consumers.runs import StreamRow
from consumers.samples import KEPT_SCORES, Item
from consumers.validity import matrix_of, portions
from detectors.labels.counts import class_counts
from detectors.predictions.distribution import Distribution, calibration_error, moments_of
from detectors.streams import Sampled
from losswatch.arrays import Floats

NONE: Final = -1
"""The slot of no sample."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a record gives to a row of a stream."""

    stream: Sampled
    row: StreamRow
    piece: StreamPiece
    order: int
    """Place of its record in the poll."""


def reduce_predictions(items: Sequence[Item], like: Tensor) -> tuple[list[Made], int]:
    """What all records give, in their order, and the number of samples in them."""
    made: list[Made] = []
    samples = 0
    for kind, members in _groups(items):
        chosen = [items[i] for i in members]
        samples += sum(item.record.size for item in chosen)
        if kind is None:
            continue
        if kind == "summary":
            found = _of_summaries(chosen, like)
        elif kind == "classes":
            found = _of_classes(chosen, like)
        else:
            found = _of_matrices(chosen, like)
        made += _pieces(found, chosen, members)
        made += _labels(found, chosen, members)
        made += _scores(found, chosen, members)
    return sorted(made, key=lambda each: each.order), samples


def _groups(items: Sequence[Item]) -> Iterator[tuple[str | None, list[int]]]:
    """The kind and the places of records of one kind, class count, type of numbers and about one size; not more than
    stay in a processor's cache together."""

    def alike(item: Item) -> tuple[Any, ...]:
        values = item.record.values
        held = values.dtype.char if isinstance(values, np.ndarray) else ""
        return item.record.kind, item.classes, _bucket(item.record.size), held

    for (kind, classes, size, _), members in grouped(items, alike):
        each = classes if kind == "summary" else classes * size
        for part in portions(each for _ in members):
            yield kind, [members[i] for i in part]


def grouped(items: Sequence[Item], key: Callable[[Item], Any]) -> Iterator[tuple[Any, list[int]]]:
    """The places of the items that have a key in common."""
    groups: dict[Hashable, list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault(key(item), []).append(i)
    yield from groups.items()


def piece_of(item: Item, row: StreamRow, values: Floats, slots: Floats | None = None) -> StreamPiece:
    """A record's numbers as a piece of a row."""
    step = np.array([item.record.step], dtype=np.int64)
    return StreamPiece(row.row, item.run, item.record.time, step, values, slots, item.order)


def padded(arrays: Sequence[npt.NDArray[Any]], length: int) -> npt.NDArray[Any]:
    """Arrays (N, ...) of several lengths as one (G, length, ...), NaN behind the shorter ones."""
    if all(len(array) == length for array in arrays):
        return np.concatenate(arrays).reshape(len(arrays), length, *arrays[0].shape[1:])
    out = np.full((len(arrays), length, *arrays[0].shape[1:]), nan, dtype=arrays[0].dtype)
    for place, array in enumerate(arrays):
        out[place, : len(array)] = array
    return out


def numbers(columns: Sequence[Tensor]) -> Floats:
    """(V, G) columns as float64 (G, V) on the host."""
    made: Floats = torch.stack([x.to(columns[0].dtype) for x in columns], 1).to("cpu", torch.float64).numpy()
    return made


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A group's numbers; ``predicted`` slots and ``anomaly`` (G, N) of single samples where values are known."""

    told: Distribution
    calibration: Tensor
    predicted: Tensor | None = None
    anomaly: Tensor | None = None


def _bucket(size: int) -> int:
    """Sizes up to this one share a pass: padding at most doubles the work."""
    return 1 << max(0, size - 1).bit_length()


def _of_matrices(items: Sequence[Item], like: Tensor) -> _Reduced:
    sizes = torch.tensor([item.record.size for item in items], device=like.device)
    length = int(sizes.max())
    raw = torch.from_numpy(padded([matrix_of(item.record) for item in items], length)).to(like.device)  # (G, N, C)
    # Single precision for what was sent in half of it: the sums of a record lose no digit that was sent.
    values = raw.to(torch.promote_types(raw.dtype, torch.float32))
    present = torch.arange(length, device=like.device) < sizes[:, None]
    logits = items[0].record.kind == "logits"
    # Faster than torch's softmax where classes are few.
    given = (values - values.amax(-1, keepdim=True)).exp_() if logits else values.clamp(min=0.0)
    total = given.sum(-1, keepdim=True)
    p = given.div_(total) if logits else given / total
    finite = (total[..., 0] > 0) & total[..., 0].isfinite()
    valid = present & finite
    if not bool(valid.all()):
        p.masked_fill_(~valid[..., None], 0.0)
    told, confidence, place = Distribution.of_samples(p, valid)
    spoilt = (present & ~finite).any(1)
    told.class_entropy.masked_fill_(spoilt, nan)  # a NaN is a finding, not something to be averaged away
    label = _label(items, length, like)
    known = valid & (label != NONE)
    predicted = _predicted(items, place)
    calibration = calibration_error(confidence, predicted == label, known)
    normal = torch.tensor([item.normal for item in items], device=like.device)
    # Not normalised: that would break ties, and with them the agreement with what others compute of the same numbers.
    anomaly = 1 - given.gather(2, normal[:, None, None].expand(-1, length, 1))[..., 0].to(like.dtype)
    return _Reduced(told, calibration, predicted.masked_fill(~valid, NONE), anomaly.masked_fill(~known, nan))


def _label(items: Sequence[Item], length: int, like: Tensor) -> Tensor:
    """(G, N) slots of the labels; `NONE` where there is no sample."""
    out = np.full((len(items), length), NONE, dtype=np.int64)
    for g, item in enumerate(items):
        if item.label is not None:
            out[g, : len(item.label)] = item.label
    return torch.from_numpy(out).to(like.device)


def _of_summaries(items: Sequence[Item], like: Tensor) -> _Reduced:
    def column(values: Sequence[Any]) -> Tensor:
        return torch.from_numpy(np.array([nan if x is None else x for x in values], dtype=np.float64)).to(like)

    records = [item.record for item in items]
    told = Distribution.of_summary(
        column([record.n for record in records]),
        torch.from_numpy(np.stack([np.asarray(record.mean) for record in records])).to(like),
        torch.from_numpy(np.stack([np.asarray(record.counts) for record in records])).to(like),
        column([record.mean_entropy for record in records]),
        column([record.mean_max for record in records]),
    )
    return _Reduced(told, torch.full_like(told.samples, nan))


def _of_classes(items: Sequence[Item], like: Tensor) -> _Reduced:
    """The argmax is all that is known: the mean distribution is the share of each class."""
    classes = items[0].classes
    slots = [item.predicted for item in items if item.predicted is not None]
    counts = np.stack([np.bincount(each[each >= 0], minlength=classes)[:classes] for each in slots])
    total = torch.tensor([item.record.size for item in items], device=like.device).to(like)
    counted = torch.from_numpy(counts).to(like)
    nothing = torch.full_like(total, nan)
    told = Distribution.of_summary(total, counted / total[:, None], counted, nothing, torch.ones_like(total))
    return _Reduced(told, nothing)


def _pieces(found: _Reduced, items: Sequence[Item], members: Sequence[int]) -> Iterator[Made]:
    told = found.told
    collision, surprise = moments_of(told.mean)
    classes = torch.full_like(told.samples, items[0].classes)
    rows = numbers(
        [
            told.samples,
            classes,
            told.class_entropy,
            told.sample_entropy,
            told.sharpness,
            collision,
            surprise,
            told.max_class_probability,
            told.unique_classes,
            found.calibration,
        ]
    )
    slots = torch.stack([told.mean, told.predicted], 1).to("cpu", torch.float64).numpy()  # (G, 2, C)
    for g, (item, order) in enumerate(zip(items, members, strict=True)):
        assert item.predictions is not None
        wide = slots[g] if item.predictions.pool.slots else None
        yield Made("predictions", item.predictions, piece_of(item, item.predictions, rows[g], wide), order)


def _labels(found: _Reduced, items: Sequence[Item], members: Sequence[int]) -> Iterator[Made]:
    """Counts by class of the records that have labels, all of one width in one pass."""
    chosen = [g for g, item in enumerate(items) if item.labels is not None]
    by_width: dict[int, list[int]] = {}
    for g in chosen:
        row = items[g].labels
        assert row is not None
        by_width.setdefault(row.pool.slots, []).append(g)
    for width, places in by_width.items():
        some = [items[g] for g in places]
        length = max(item.record.size for item in some)
        label = _label(some, length, found.told.samples)
        predicted = _predicted(some, label) if found.predicted is None else found.predicted[places][:, :length]
        right = ((predicted == label) & (label != NONE)).sum(1).tolist()
        by_class = class_counts(label, predicted, width).to("cpu", torch.float64).numpy()
        for g, item, hits, count in zip(places, some, right, by_class, strict=True):
            assert item.labels is not None
            values = np.array([item.record.size, hits, 1.0])
            yield Made("labels", item.labels, piece_of(item, item.labels, values, count), members[g])
            for row in item.judged:
                piece = piece_of(item, row, np.array([nan, nan, 0.0]), count[:, : row.pool.slots])
                yield Made("labels", row, piece, members[g])


def _predicted(items: Sequence[Item], place: Tensor) -> Tensor:
    """(G, N) slots of the predicted classes: ``place`` unless the item knows better."""
    if all(item.predicted is None for item in items):
        return place
    out = place.clone()
    for g, item in enumerate(items):
        if item.predicted is not None:
            out[g] = NONE
            out[g, : len(item.predicted)] = torch.from_numpy(item.predicted).to(out.device)
    return out


def _scores(found: _Reduced, items: Sequence[Item], members: Sequence[int]) -> Iterator[Made]:
    """The anomaly score and the truth of the last samples of each record."""
    if found.anomaly is None:
        return
    label = _label(items, found.anomaly.shape[1], found.anomaly)
    normal = torch.tensor([item.normal_slot for item in items], device=label.device)
    told = torch.stack([found.anomaly, (label != normal[:, None]).to(found.anomaly.dtype)], 1)  # (G, 2, N)
    scores = told.to("cpu", torch.float64).numpy()
    nothing = np.zeros(0)
    for g, (item, order) in enumerate(zip(items, members, strict=True)):
        if item.scores is None or item.label is None:
            continue
        size = len(item.label)
        newest = scores[g, :, max(0, size - KEPT_SCORES) : size]
        yield Made("scores", item.scores, piece_of(item, item.scores, nothing, newest), order)
