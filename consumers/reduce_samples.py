"""Embeddings, errors and features of prediction records to a few numbers each, batched on the device.

Letters: G records of a group, N samples of the largest, D dimensions, F features, S references.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from math import nan
from typing import Final

import numpy as np
import torch
from torch import Tensor

from consumers.baseline import neighbour_errors, own_errors
from consumers.reduce import Made, grouped, numbers, padded, piece_of
from consumers.references import References
from consumers.runs import StreamRow
from consumers.samples import Item
from detectors.coverage.neighbours import Neighbourhood, Space
from detectors.coverage.slices import by_slice
from detectors.proxy.correlation import correlations
from detectors.representation.geometry import Geometry
from losswatch.arrays import Bools, Floats

MOST_EMBEDDINGS: Final = 256
"""Embeddings of a record that are looked at, the first: the work grows with their square."""
MOST_DISTANCES: Final = 2**24
"""Distances computed at once: bounds the memory of the search for neighbours to some hundred megabytes."""


def reduce_samples(items: Sequence[Item], like: Tensor) -> list[Made]:
    """What the embeddings, errors and features of all records give, in the order of the records."""
    made = [*_representation(items, like), *_proxies(items, like), *_coverage(items, like)]
    return sorted(made, key=lambda each: each.order)


def _on(values: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(device=like.device, dtype=like.dtype)


def _representation(items: Sequence[Item], like: Tensor) -> Iterator[Made]:
    chosen = [
        (order, item) for order, item in enumerate(items) if item.representation is not None and item.record.size > 1
    ]
    some = [item for _, item in chosen]

    def shape(item: Item) -> tuple[int, int]:
        assert item.record.embeddings is not None
        return item.record.embeddings.shape[1], min(item.record.size, MOST_EMBEDDINGS)

    for (_, length), members in grouped(some, shape):
        group = [some[i] for i in members]
        cut = [np.asarray(item.record.embeddings)[:length] for item in group]
        label = np.stack([np.full(length, -1) if item.label is None else item.label[:length] for item in group])
        z = _on(np.stack(cut), like)
        there = torch.ones(z.shape[:2], dtype=torch.bool, device=z.device)
        told = Geometry.of(z, there, torch.from_numpy(label).to(z.device))
        told.cosine.masked_fill_(~z.isfinite().flatten(1).all(1), nan)  # a NaN is a finding, not something to leave out
        dimensions = torch.full_like(told.samples, z.shape[2])
        rows = numbers(
            [told.samples, dimensions, told.spread, told.effective_rank, told.cosine, told.alignment, told.uniformity]
        )
        for place, item, row in zip(members, group, rows, strict=True):
            assert item.representation is not None
            yield Made(
                "representation", item.representation, piece_of(item, item.representation, row), chosen[place][0]
            )


def _proxies(items: Sequence[Item], like: Tensor) -> Iterator[Made]:
    pairs = [(order, item, pair) for order, item in enumerate(items) for pair in item.proxies]
    by_size: dict[int, list[tuple[int, Item, tuple[StreamRow, str, str]]]] = {}
    for each in pairs:
        by_size.setdefault(len(each[1].record.errors[each[2][1]]), []).append(each)
    for group in by_size.values():
        x, y = (
            _on(np.stack([item.record.errors[pair[side]] for _, item, pair in group]), like)  # type: ignore[index]  # a name
            for side in (1, 2)
        )
        rows = numbers(correlations(x, y, torch.ones_like(x, dtype=torch.bool)))
        for (order, item, (row, _, _)), values in zip(group, rows, strict=True):
            yield Made("proxy", row, piece_of(item, row, values), order)


def _coverage(items: Sequence[Item], like: Tensor) -> Iterator[Made]:
    chosen = [(order, item) for order, item in enumerate(items) if item.coverage]
    some = [item for _, item in chosen]
    for _, members in grouped(some, lambda item: np.asarray(item.record.features).shape[1]):
        for part in _portions([some[i] for i in members], members):
            for (item, place), rows in zip(part, _covered([item for item, _ in part], like), strict=True):
                for (row, _), values in zip(item.coverage, rows, strict=True):
                    yield Made("coverage", row, piece_of(item, row, values), chosen[place][0])


def _portions(items: Sequence[Item], members: Sequence[int]) -> Iterator[list[tuple[Item, int]]]:
    """Records whose distances fit into memory together."""
    part: list[tuple[Item, int]] = []
    samples = references = 0
    for item, place in zip(items, members, strict=True):
        assert item.run.references is not None
        grown = max(samples, item.record.size), max(references, len(item.run.references.rows))
        if part and (len(part) + 1) * grown[0] * grown[1] > MOST_DISTANCES:
            yield part
            part, grown = [], (item.record.size, len(item.run.references.rows))
        samples, references = grown
        part.append((item, place))
    if part:
        yield part


def _covered(items: Sequence[Item], like: Tensor) -> list[list[Floats]]:
    """The values of the stream ``coverage`` for each record's whole and slices, in the order of `Item.coverage`."""
    known = [item.run.references for item in items if item.run.references is not None]
    given = [np.asarray(item.record.features) for item in items]
    length = max(map(len, given))
    samples = _on(padded(given, length), like)  # what is padded is NaN and counts for nothing
    told = Neighbourhood.of(samples, _space(known, like))
    nearest = told.nearest.cpu().numpy()
    error = padded([own_errors(item) for item in items], length)
    copied = padded([neighbour_errors(item, nearest[g, : len(given[g])]) for g, item in enumerate(items)], length)
    inside = torch.from_numpy(_inside(items, length)).to(like.device)
    values = by_slice(told, _on(error, like), _on(copied, like), inside).to("cpu", torch.float64).numpy()
    _spread({id(each): each for each in known if each.spread is None}.values(), like)
    own = [np.array([len(each.rows)]) for each in known]
    spread = [np.array(each.spread) for each in known]
    return [
        [np.concatenate([row[:1], own[g], row[1:3], spread[g], row[3:]]) for row in values[g, : len(item.coverage)]]
        for g, item in enumerate(items)
    ]


def _inside(items: Sequence[Item], length: int) -> Bools:
    """(G, K, N): which samples the whole and each slice of a record have."""
    inside = np.zeros((len(items), max(len(item.coverage) for item in items), length), dtype=np.bool_)
    for g, item in enumerate(items):
        places = {part: place for place, (_, part) in enumerate(item.coverage)}
        if None in places:
            inside[g, places[None], : item.record.size] = True
        if item.record.slices is not None and len(places) > 1:
            at = np.array([places.get(part, -1) if part is not None else -1 for part in item.record.slices])
            there = np.flatnonzero(at >= 0)
            inside[g, at[there], there] = True
    return inside


def _space(references: Sequence[References], like: Tensor) -> Space:
    rows = [each.rows.astype(np.float64) for each in references]
    return Space.of(_on(padded(rows, max(map(len, rows))), like))


def _spread(references: Collection[References], like: Tensor) -> None:
    """Compute how the references lie to each other."""
    left = list(references)
    while left:
        most = max(len(each.rows) for each in left)
        together = max(1, MOST_DISTANCES // most**2)
        now, left = left[:together], left[together:]
        found = numbers(_space(now, like).spread())
        for each, (distance, density) in zip(now, found.tolist(), strict=True):
            each.spread = distance, density
