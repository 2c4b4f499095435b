"""Coverage and errors by slice and by distance. Letters: G groups, N samples, K slices of each, B bins, V values."""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.coverage.neighbours import FAR, NEAR, Neighbourhood


def by_slice(told: Neighbourhood, error: Tensor, copied: Tensor, inside: Tensor) -> Tensor:
    """(G, K, V): samples, mean distance and density; errors by those of all; the model's error and the neighbour's.

    ``error`` of the model and ``copied``, that of taking the nearest reference's value (G, N), NaN where they are
    not known; ``inside`` (G, K, N) says which samples a slice has. Errors are of four bins: all samples, those nearer
    than `NEAR`, those up to `FAR`, those beyond. What there is none of is NaN. The last eight values are sums by the
    number of samples of which both errors are known.

    >>> told = Neighbourhood(torch.tensor([[0.2, 2.0]]), torch.tensor([[0, 0]]), torch.tensor([[0.5, 0.0]]))
    >>> errors = torch.tensor([[1.0, 3.0]])
    >>> by_slice(told, errors, errors + 1, torch.ones(1, 1, 2, dtype=torch.bool))[0, 0, :7]
    tensor([2.0000, 1.1000, 0.2500, 1.0000, 0.5000,    nan, 1.5000])
    """
    distance = told.distance
    there, known = distance.isfinite(), error.isfinite()
    whole = torch.ones_like(there)
    bins = torch.stack([whole, distance < NEAR, (distance >= NEAR) & (distance <= FAR), distance > FAR], -1)
    both = (known & copied.isfinite())[..., None]
    columns = [torch.stack([there.to(error.dtype), distance, told.density], -1)]
    counted = known[..., None] & bins  # (G, N, B)
    columns += [torch.where(counted, error[..., None], 0.0), counted.to(error.dtype), both.to(error.dtype)]
    columns += [torch.where(both & bins, x[..., None], 0.0) for x in (error.abs(), copied)]
    summed = inside.to(error.dtype) @ torch.where(there[..., None], torch.cat(columns, -1), 0.0)  # (G, K, 20)
    samples, near, judged, compared = summed[..., :1], summed[..., 1:3], summed[..., 11:12], summed[..., 12:]
    total, count = summed[..., 3:7], summed[..., 7:11]
    overall = torch.where(known, error, 0.0).sum(-1) / known.sum(-1)
    relative = total / count / overall.masked_fill(overall == 0, torch.nan)[:, None, None]
    return torch.cat([samples, near / samples, relative, compared / judged], -1)
