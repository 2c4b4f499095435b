"""Coverage and errors by slice and distance, against the same sums written out sample by sample."""

from __future__ import annotations

import numpy as np
import torch

from detectors.coverage.neighbours import FAR, NEAR, Neighbourhood
from detectors.coverage.slices import by_slice


def test_values_are_those_of_the_samples_of_each_slice_alone() -> None:
    rng = np.random.default_rng(0)
    distance, density = rng.uniform(0, 1.5, (3, 40)), rng.random((3, 40))
    error, copied = rng.normal(0, 1, (3, 40)), rng.random((3, 40))
    inside = rng.random((3, 5, 40)) < 0.5
    inside[:, 4] = False
    for spoilt in (distance, error, copied):
        spoilt[rng.random((3, 40)) < 0.1] = np.nan
    told = Neighbourhood(torch.from_numpy(distance), torch.zeros(3, 40).long(), torch.from_numpy(density))
    found = by_slice(told, torch.from_numpy(error), torch.from_numpy(copied), torch.from_numpy(inside)).numpy()
    for g in range(3):
        bins = [np.ones(40, bool), distance[g] < NEAR, (distance[g] >= NEAR) & (distance[g] <= FAR), distance[g] > FAR]
        for k in range(5):
            here = inside[g, k] & np.isfinite(distance[g])
            known, both = here & np.isfinite(error[g]), here & np.isfinite(error[g]) & np.isfinite(copied[g])
            want = [here.sum(), *(x[g][here].mean() if here.any() else np.nan for x in (distance, density))]
            for where in bins:
                of = error[g][known & where]
                want.append(of.mean() / np.nanmean(error[g]) if len(of) else np.nan)
            for x in (np.abs(error), copied):
                want += [x[g][both & where].sum() / both.sum() if both.any() else np.nan for where in bins]
            np.testing.assert_allclose(found[g, k], want, atol=1e-12)
