"""Are predictions what their ``kind`` says? Looked at many records at a time; M samples of C classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import torch

from losswatch.arrays import AnyFloats, Ints
from losswatch.prediction_fields import SUM_TOLERANCE
from losswatch.schema import Predictions

MOST_NUMBERS: Final = 2**18
"""Looked at together: as many as stay in a processor's cache."""


def matrix_of(record: Predictions) -> AnyFloats:
    """The (N, C) values of probabilities or logits, in the type they were sent in; raises TypeError for other kinds."""
    if record.kind not in ("probabilities", "logits") or not isinstance(record.values, np.ndarray):
        raise TypeError(f"predictions of kind {record.kind!r} have no matrix")
    return record.values  # type: ignore[return-value]  # of these kinds they are floats


def places_of(values: AnyFloats) -> Ints:
    """(N) the places of the largest of (N, C) values; of a sample with NaN, of its largest number."""
    raw = torch.from_numpy(np.array(values))
    wide = raw.to(torch.promote_types(raw.dtype, torch.float32)).numpy()  # numpy is slow in half precision
    place: Ints = wide.argmax(1)
    spoilt = np.isnan(wide[np.arange(len(wide)), place])  # numpy finds NaN to be the largest
    if spoilt.any():
        place[spoilt] = np.nan_to_num(wide[spoilt], nan=-np.inf).argmax(1)
    return place


def invalid(records: Sequence[Predictions]) -> dict[int, str]:
    """What is wrong with records, by their place; nothing for those that are distributions or need not be.

    NaN is not refused: that a model predicts it is a finding.
    """
    by_shape: dict[tuple[int, str], list[int]] = {}
    suspects: list[int] = []
    for place, record in enumerate(records):
        if record.kind == "probabilities":
            values = matrix_of(record)
            by_shape.setdefault((values.shape[1], values.dtype.char), []).append(place)
        elif record.kind == "summary":
            suspects.append(place)
    for places in by_shape.values():
        matrices = [matrix_of(records[place]) for place in places]
        for chosen in portions(matrix.size for matrix in matrices):
            if not _are_distributions([matrices[i] for i in chosen]):
                suspects += [places[i] for i in chosen]
    return {place: wrong for place in suspects if (wrong := _wrong(records[place]))}


def portions(sizes: Iterable[int]) -> Iterator[list[int]]:
    """The places of so large things, in order, in portions of about `MOST_NUMBERS`.

    >>> list(portions([100_000, 200_000, 50_000]))
    [[0], [1, 2]]
    """
    part: list[int] = []
    total = 0
    for place, size in enumerate(sizes):
        if part and total + size > MOST_NUMBERS:
            yield part
            part, total = [], 0
        part.append(place)
        total += size
    if part:
        yield part


def _are_distributions(matrices: Sequence[AnyFloats]) -> bool:
    """Whether all samples surely are; not where anything is NaN."""
    p = torch.from_numpy(np.concatenate(matrices)).to(torch.float32)
    low, high = p.aminmax()
    error = (p.sum(1) - 1).abs().amax()
    return bool((low >= -SUM_TOLERANCE) & (high <= 1 + SUM_TOLERANCE) & (error <= SUM_TOLERANCE))


def _wrong(record: Predictions) -> str | None:
    if record.kind == "summary":
        mean = np.asarray(record.mean)
        beyond = bool(mean.min() < -SUM_TOLERANCE or mean.max() > 1 + SUM_TOLERANCE)
        if beyond or abs(float(mean.sum()) - 1) > SUM_TOLERANCE:
            return "a summary's mean must be a distribution over the classes"
        return None
    p = matrix_of(record).astype(np.float64)
    if ((p < -SUM_TOLERANCE) | (p > 1 + SUM_TOLERANCE)).any():
        return "probabilities must lie between 0 and 1; for unnormalised scores send kind 'logits'"
    error = np.abs(p.sum(1) - 1)
    if (error > SUM_TOLERANCE).any():
        worst = float(np.fmax.reduce(error))
        return f"probabilities of a sample sum to 1 only within {worst:.3g}; for scores send kind 'logits'"
    return None
