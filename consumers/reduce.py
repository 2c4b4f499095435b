"""Many prediction records to a few numbers each, batched on the device.

Records are grouped by kind, class count and size; each group is one pass. Letters: M samples in all, G records of a
group, N samples of the largest, C classes, K slots.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log, nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from consumers.lines import Given
from consumers.runs import StreamRow
from consumers.samples import KEPT_SCORES, Item
from consumers.validity import matrix_of, portions
from detectors.labels.counts import class_counts, label_entropy
from detectors.predictions.distribution import Distribution, calibration_error, moments_of

NONE: Final = -1
"""The slot of no sample."""


def reduce_predictions(items: Sequence[Item], like: Tensor) -> Iterator[Given]:
    """What all records give."""
    for kind, members in _groups(items):
        chosen = [items[i] for i in members]
        if kind == "summary":
            found = _of_summaries(chosen, like)
        elif kind == "classes":
            found = _of_classes(chosen, like)
        else:
            found = _of_matrices(chosen, like)
        labelled, truth = _labels(found, chosen, members)
        yield _predictions(found, truth, chosen, members)
        yield from labelled
        if found.anomaly is not None:
            yield from _scores(found.anomaly, chosen, members)


def _groups(items: Sequence[Item]) -> Iterator[tuple[str, list[int]]]:
    """The kind and the places of records of one kind, class count, type of numbers and about one size; not more than
    stay in a processor's cache together."""

    def alike(item: Item) -> tuple[Any, ...]:
        values = item.record.values
        held = values.dtype.char if isinstance(values, np.ndarray) else ""
        return item.record.kind, item.classes, _bucket(item.size), held

    for (kind, classes, size, _), members in grouped(items, alike):
        each = classes if kind == "summary" else classes * size
        for part in portions(each for _ in members) if kind is not None else ():
            yield kind, [members[i] for i in part]


def grouped(items: Sequence[Item], key: Callable[[Item], Any]) -> Iterator[tuple[Any, list[int]]]:
    """The places of the items that have a key in common."""
    groups: dict[Hashable, list[int]] = {}
    for i, item in enumerate(items):
        groups.setdefault(key(item), []).append(i)
    yield from groups.items()


def rowed(rows: Sequence[StreamRow | None]) -> tuple[list[int], list[StreamRow]]:
    """The places at which there is a row, and the rows."""
    places = [place for place, row in enumerate(rows) if row is not None]
    return places, [row for row in rows if row is not None]


def padded(arrays: Sequence[npt.NDArray[Any]], length: int) -> npt.NDArray[Any]:
    """Arrays (N, ...) of several lengths as one (G, length, ...), NaN behind the shorter ones."""
    if all(len(array) == length for array in arrays):
        return np.concatenate(arrays).reshape(len(arrays), length, *arrays[0].shape[1:])
    out = np.full((len(arrays), length, *arrays[0].shape[1:]), nan, dtype=arrays[0].dtype)
    for place, array in enumerate(arrays):
        out[place, : len(array)] = array
    return out


def numbers(columns: Sequence[Tensor]) -> Tensor:
    """(V, G) columns as (G, V), in the type of the first."""
    return torch.stack([x.to(columns[0].dtype) for x in columns], 1)


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
    sizes = torch.tensor([item.size for item in items], device=like.device)
    length = int(sizes.max())
    raw = torch.from_numpy(padded([matrix_of(item.record) for item in items], length)).to(like.device)  # (G, N, C)
    # Single precision for what was sent in half of it: the sums of a record lose no digit that was sent. From here on
    # all is done in place: fresh memory costs more than the arithmetic.
    values = raw.to(torch.promote_types(raw.dtype, torch.float32))
    present = torch.arange(length, device=like.device) < sizes[:, None]
    logits = items[0].record.kind == "logits"
    # Faster than torch's softmax where classes are few.
    given = values.sub_(values.amax(-1, keepdim=True)).exp_() if logits else values.clamp_(min=0.0)
    total = given.sum(-1, keepdim=True)
    normal = torch.tensor([item.normal for item in items], device=like.device)[:, None, None].expand(-1, length, 1)
    unlike = given.gather(2, normal)  # of probabilities before ties are broken by rounding, as others compute it
    p = given.div_(total)
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
    anomaly = 1 - (unlike / total if logits else unlike)[..., 0].to(like.dtype)
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
    return _Reduced(told, _confidences(items, like))


def _confidences(items: Sequence[Item], like: Tensor) -> Tensor:
    """The calibration error of each record by what its samples were sure of; NaN where that was not sent."""
    out = like.new_full((len(items),), nan)
    places = [g for g, item in enumerate(items) if item.predicted is not None and item.record.confidence is not None]
    if not places:
        return out
    some = [items[g] for g in places]
    length = max(item.size for item in some)
    confidence = torch.from_numpy(padded([np.asarray(item.record.confidence) for item in some], length)).to(like)
    label = _label(some, length, like)
    counted = confidence.isfinite() & (label != NONE)
    out[places] = calibration_error(confidence.nan_to_num(0.0), _predicted(some, label) == label, counted)
    return out


def _of_classes(items: Sequence[Item], like: Tensor) -> _Reduced:
    """The argmax is all that is known: the mean distribution is the share of each class."""
    classes = items[0].classes
    slots = [item.predicted for item in items if item.predicted is not None]
    counts = np.stack([np.bincount(each[each >= 0], minlength=classes)[:classes] for each in slots])
    total = torch.tensor([item.size for item in items], device=like.device).to(like)
    counted = torch.from_numpy(counts).to(like)
    nothing = torch.full_like(total, nan)
    told = Distribution.of_summary(total, counted / total[:, None], counted, nothing, torch.ones_like(total))
    choices = torch.tensor([item.choices for item in items], device=like.device).to(like)
    by_choices = told.class_entropy * log(classes) / choices.log()
    return _Reduced(replace(told, class_entropy=by_choices), nothing)


def _predictions(found: _Reduced, truth: Tensor, items: Sequence[Item], members: Sequence[int]) -> Given:
    """``truth`` (G) is the entropy of the labels."""
    told = found.told
    collision, surprise = moments_of(told.mean)
    classes = torch.tensor([item.choices for item in items], device=told.samples.device)
    values = numbers(
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
            truth / classes.log(),
        ]
    )
    _, rows = rowed([item.places.predictions for item in items])
    slots = torch.stack([told.mean, told.predicted], 1) if any(row.pool.slots for row in rows) else None
    return Given(rows, members, values, slots)


def _labels(found: _Reduced, items: Sequence[Item], members: Sequence[int]) -> tuple[list[Given], Tensor]:
    """Counts by class of the records that have labels, all of one width in one pass; the entropy (G) of their labels in
    nats, NaN where there are none or some have no slot."""
    made, truth = [], torch.full_like(found.told.samples, nan)
    chosen, rows = rowed([item.places.labels for item in items])
    by_width: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        by_width.setdefault(row.pool.slots, []).append(place)
    for width, places in by_width.items():
        at = [chosen[place] for place in places]
        some, of = [items[g] for g in at], [members[g] for g in at]
        length = max(item.size for item in some)
        label = _label(some, length, found.told.samples)
        predicted = _predicted(some, label) if found.predicted is None else found.predicted[at][:, :length]
        right = ((predicted == label) & (label != NONE)).sum(1)
        size = torch.tensor([item.size for item in some], device=label.device)
        counts = class_counts(label, predicted, width).to(torch.float32)  # of 4 million samples at most
        values = torch.stack([size, right, torch.ones_like(size)], 1).to(torch.float32)
        truth[at] = label_entropy(counts[:, 0], (label != NONE).sum(1)).to(truth.dtype)
        made.append(Given([rows[place] for place in places], of, values, counts))
        if judged := [(g, row) for g, item in enumerate(some) for row in item.places.judged]:
            of, index = [of[g] for g, _ in judged], torch.tensor([g for g, _ in judged], device=label.device)
            nothing = values.new_tensor([nan, nan, 0.0]).expand(len(judged), -1)
            made.append(Given([row for _, row in judged], of, nothing, counts[index]))
    return made, truth


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


def _scores(anomaly: Tensor, items: Sequence[Item], members: Sequence[int]) -> Iterator[Given]:
    """The anomaly score (G, N) and the truth of the last samples of each record."""
    chosen, rows = rowed([item.places.scores for item in items])
    if not chosen:
        return
    some = [items[g] for g in chosen]
    length = anomaly.shape[1]
    normal = torch.tensor([item.normal_slot for item in some], device=anomaly.device)
    positive = (_label(some, length, anomaly) != normal[:, None]).to(anomaly.dtype)
    told = torch.stack([anomaly[chosen], positive], 1)  # (G, 2, N)
    if length > KEPT_SCORES:
        first = torch.tensor([max(0, item.size - KEPT_SCORES) for item in some], device=anomaly.device)
        last = first[:, None, None] + torch.arange(KEPT_SCORES, device=anomaly.device)
        told = told.gather(2, last.expand(-1, 2, -1))
    yield Given(rows, [members[g] for g in chosen], told.new_zeros(len(rows), 0), told)
