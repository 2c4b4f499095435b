"""Many prediction records to one number each, batched on the device. Letters: M samples, G records, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from consumers.decode import matrix_of
from consumers.pieces import PredictionPiece
from consumers.runs import Run
from detectors.predictions.distribution import Distribution
from losswatch.schema import Label, Predictions

Item = tuple[Run, int, Predictions]
"""A run, the row of its prediction stream, and a record."""


def reduce_predictions(items: Sequence[Item], like: Tensor) -> tuple[list[PredictionPiece], int]:
    """One piece per record, in the order of the records, and the number of samples in them.

    Records are grouped by kind and number of classes; each group is one pass on the device.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for i, (run, _, record) in enumerate(items):
        groups.setdefault((record.kind, _classes(run, record)), []).append(i)
    pieces: list[PredictionPiece | None] = [None] * len(items)
    samples = 0
    for (kind, classes), members in groups.items():
        chosen = [items[i] for i in members]
        reduced = _reduce(kind, classes, chosen, like)
        columns = torch.stack(
            [
                reduced.samples,
                torch.full_like(reduced.samples, classes),
                reduced.class_entropy,
                reduced.sample_entropy,
                reduced.max_class_probability,
                reduced.unique_classes,
            ]
        )
        values = columns.to(device="cpu", dtype=torch.float64).numpy()  # (6, G)
        samples += int(values[0].sum())
        for g, i in enumerate(members):
            run, row, record = items[i]
            step = np.array([record.step], dtype=np.int64)
            pieces[i] = PredictionPiece(row, run, record.time, step, values[:, g : g + 1])
    return [piece for piece in pieces if piece is not None], samples


def _classes(run: Run, record: Predictions) -> int:
    if record.mean is not None and record.kind == "summary":
        return len(record.mean)
    if record.kind != "classes":
        return int(matrix_of(record).shape[1])
    labels, declared = set(_labels_of(record)), (run.declared.classes if run.declared else None) or []
    if labels <= set(range(len(declared))):
        return max(2, len(declared))  # they are places in the list of classes
    return max(2, len({str(label) for label in (*labels, *declared)}))


def _labels_of(record: Predictions) -> list[Label]:
    return record.values if isinstance(record.values, list) else []


def _reduce(kind: str, classes: int, items: Sequence[Item], like: Tensor) -> Distribution:
    if kind == "summary":
        return _of_summaries(items, like)
    if kind == "classes":
        return _of_classes(items, classes, like)
    matrices = [matrix_of(record) for _, _, record in items]
    sizes = [len(matrix) for matrix in matrices]
    values = np.concatenate(matrices)  # (M, C)
    p = torch.from_numpy(values).to(device=like.device, dtype=like.dtype)
    p = p.softmax(1) if kind == "logits" else p.clamp(min=0.0) / p.clamp(min=0.0).sum(1, keepdim=True)
    group = torch.repeat_interleave(torch.arange(len(items)), torch.tensor(sizes)).to(like.device)
    return Distribution.of_samples(p, group, len(items))


def _of_summaries(items: Sequence[Item], like: Tensor) -> Distribution:
    records = [record for _, _, record in items]

    def column(values: Sequence[object]) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(like)

    return Distribution.of_summary(
        column([record.n for record in records]),
        column([record.mean for record in records]),
        column([record.counts for record in records]),
        column([np.nan if record.mean_entropy is None else record.mean_entropy for record in records]),
    )


def _of_classes(items: Sequence[Item], classes: int, like: Tensor) -> Distribution:
    """The argmax is all that is known: the mean distribution is the share of each class."""
    counts = torch.zeros(len(items), classes, dtype=like.dtype, device=like.device)
    for g, (_, _, record) in enumerate(items):
        _, numbers = np.unique([str(label) for label in _labels_of(record)], return_counts=True)
        counts[g, : len(numbers)] = torch.from_numpy(numbers).to(like)
    total = counts.sum(1)
    return Distribution.of_summary(total, counts / total[:, None], counts, torch.full_like(total, torch.nan))
