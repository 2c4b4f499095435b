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
from consumers.lines import Given
from consumers.reduce import grouped, numbers, padded, rowed
from consumers.references import References
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


def reduce_samples(items: Sequence[Item], like: Tensor) -> Iterator[Given]:
    """What the embeddings, errors and features of all records give."""
    yield from _representation(items, like)
    yield from _proxies(items, like)
    yield from _coverage(items, like)


def _on(values: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(device=like.device, dtype=like.dtype)


def _representation(items: Sequence[Item], like: Tensor) -> Iterator[Given]:
    def shape(item: Item) -> tuple[int, int] | None:
        z = item.record.embeddings
        there = z is not None and item.places.representation is not None and item.size > 1
        return (z.shape[1], min(item.size, MOST_EMBEDDINGS)) if z is not None and there else None

    for found, members in grouped(items, shape):
        if found is None:
            continue
        _, length = found
        group = [items[i] for i in members]
        cut = [np.asarray(item.record.embeddings)[:length] for item in group]
        label = np.stack([np.full(length, -1) if item.label is None else item.label[:length] for item in group])
        z = _on(np.stack(cut), like)
        there = torch.ones(z.shape[:2], dtype=torch.bool, device=z.device)
        told = Geometry.of(z, there, torch.from_numpy(label).to(z.device))
        told.cosine.masked_fill_(~z.isfinite().flatten(1).all(1), nan)  # a NaN is a finding, not something to leave out
        dimensions = torch.full_like(told.samples, z.shape[2])
        values = numbers(
            [told.samples, dimensions, told.spread, told.effective_rank, told.cosine, told.alignment, told.uniformity]
        )
        _, rows = rowed([item.places.representation for item in group])
        yield Given(rows, members, values)


def _proxies(items: Sequence[Item], like: Tensor) -> Iterator[Given]:
    for _, members in grouped(items, lambda item: item.size):
        pairs = [(place, *pair) for place in members for pair in items[place].places.proxies]
        if pairs:
            x, y = (
                _on(np.stack([items[place].record.errors[name] for place, name in named]), like)
                for named in ([(place, a) for place, _, a, _ in pairs], [(place, b) for place, _, _, b in pairs])
            )
            values = numbers(correlations(x, y, torch.ones_like(x, dtype=torch.bool)))
            yield Given([row for _, row, _, _ in pairs], [place for place, *_ in pairs], values)


def _coverage(items: Sequence[Item], like: Tensor) -> Iterator[Given]:
    covered = [place for place, item in enumerate(items) if item.coverage]
    some = [items[place] for place in covered]
    for _, members in grouped(some, lambda item: np.asarray(item.record.features).shape[1]):
        for part in _portions([some[i] for i in members], members):
            values = _covered([item for item, _ in part], like)
            lines = [(covered[place], row) for item, place in part for row, _ in item.coverage]
            yield Given([row for _, row in lines], [place for place, _ in lines], torch.cat(values))


def _portions(items: Sequence[Item], members: Sequence[int]) -> Iterator[list[tuple[Item, int]]]:
    """Records whose distances fit into memory together."""
    part: list[tuple[Item, int]] = []
    samples = references = 0
    for item, place in zip(items, members, strict=True):
        assert item.run.references is not None
        grown = max(samples, item.size), max(references, len(item.run.references.rows))
        if part and (len(part) + 1) * grown[0] * grown[1] > MOST_DISTANCES:
            yield part
            part, grown = [], (item.size, len(item.run.references.rows))
        samples, references = grown
        part.append((item, place))
    if part:
        yield part


def _covered(items: Sequence[Item], like: Tensor) -> list[Tensor]:
    """The values (K, V) of the whole and the slices of each record, in the order of `Item.coverage`."""
    known = [item.run.references for item in items if item.run.references is not None]
    given = [np.asarray(item.record.features) for item in items]
    length = max(map(len, given))
    samples = _on(padded(given, length), like)  # what is padded is NaN and counts for nothing
    told = Neighbourhood.of(samples, _space(known, like))
    nearest = told.nearest.cpu().numpy()
    error = padded([own_errors(item) for item in items], length)
    copied = padded([neighbour_errors(item, nearest[g, : len(given[g])]) for g, item in enumerate(items)], length)
    inside = torch.from_numpy(_inside(items, length)).to(like.device)
    values = by_slice(told, _on(error, like), _on(copied, like), inside)  # (G, K, V)
    _spread({id(each): each for each in known if each.spread is None}.values(), like)
    own = values.new_tensor([[len(each.rows), *(each.spread or ())] for each in known])
    own = own[:, None].expand(-1, values.shape[1], -1)
    whole = torch.cat([values[..., :1], own[..., :1], values[..., 1:3], own[..., 1:], values[..., 3:]], -1)
    return [rows[: len(item.coverage)] for rows, item in zip(whole, items, strict=True)]


def _inside(items: Sequence[Item], length: int) -> Bools:
    """(G, K, N): which samples the whole and each slice of a record have."""
    inside = np.zeros((len(items), max(len(item.coverage) for item in items), length), dtype=np.bool_)
    for g, item in enumerate(items):
        places = {part: place for place, (_, part) in enumerate(item.coverage)}
        if None in places:
            inside[g, places[None], : item.size] = True
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
