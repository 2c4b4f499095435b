"""Distances to training samples, the bands of case D, and dimensions in which everything is far."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from detectors.cell import Block
from detectors.coverage.neighbours import RADIUS, Neighbourhood, Space
from detectors.coverage.sparse import SparseCoverage
from detectors.streams import VALUES
from tests.detectors.blocks import fresh, run
from tests.detectors.lifecycles import statuses

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def neighbourhood(samples: Floats, references: Floats) -> Neighbourhood:
    return Neighbourhood.of(torch.from_numpy(samples)[None], Space.of(torch.from_numpy(references)[None]))


def test_distances_and_densities_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    references, samples = rng.normal(5, 3, (300, 4)), rng.normal(5, 4, (50, 4))
    scaler = StandardScaler().fit(references)
    search = NearestNeighbors(n_neighbors=1).fit(scaler.transform(references))
    found = neighbourhood(samples, references)
    distance, _ = search.kneighbors(scaler.transform(samples))
    inside = search.radius_neighbors(scaler.transform(samples), radius=1.0, return_distance=False)
    np.testing.assert_allclose(found.distance[0].numpy(), distance[:, 0], atol=1e-9)
    np.testing.assert_allclose(found.density[0].numpy(), [len(each) / 300 for each in inside])


def test_the_spread_of_references_is_that_of_scikit_learn_and_of_each_group_alone() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.normal(5, 3, (size, 4)) for size in (30, 80)]
    padded = np.full((2, 90, 4), np.nan)
    for place, references in enumerate(groups):
        padded[place, : len(references)] = references
    distance, density = Space.of(torch.from_numpy(padded)).spread()
    for place, references in enumerate(groups):
        scaled = StandardScaler().fit_transform(references)
        search = NearestNeighbors().fit(scaled)
        assert distance[place].item() == pytest.approx(search.kneighbors(scaled, 2)[0][:, 1].mean())
        inside = [len(each) - 1 for each in search.radius_neighbors(scaled, RADIUS, return_distance=False)]
        assert density[place].item() == pytest.approx(np.mean(inside) / (len(references) - 1))


def test_what_is_missing_counts_for_nothing() -> None:
    rng = np.random.default_rng(0)
    references, samples = rng.normal(size=(60, 3)), rng.normal(size=(8, 3))
    dirty = np.concatenate([references, np.full((4, 3), np.nan)])
    np.testing.assert_allclose(
        neighbourhood(samples, dirty).density.numpy(), neighbourhood(samples, references).density.numpy()
    )
    constant = np.concatenate([references, np.ones((60, 1))], 1)
    with_constant = np.concatenate([samples, np.full((8, 1), 7.0)], 1)
    np.testing.assert_allclose(
        neighbourhood(with_constant, constant).distance.numpy(), neighbourhood(samples, references).distance.numpy()
    )


def block_of(samples: Floats, references: Floats, records: int = 10) -> Block:
    """The same samples in every record."""
    told = neighbourhood(samples, references)
    own_distance, own_density = Space.of(torch.from_numpy(references)[None]).spread()
    nothing = torch.tensor(torch.nan, dtype=torch.float64)
    numbers = dict.fromkeys(VALUES["coverage"].row, nothing) | {
        "samples": torch.tensor(float(len(samples)), dtype=torch.float64),
        "references": torch.tensor(float(len(references)), dtype=torch.float64),
        "distance": told.distance.mean(),
        "density": told.density.mean(),
        "own_distance": own_distance[0],
        "own_density": own_density[0],
    }
    steps = torch.arange(records)[None]
    values = {name: value.expand(1, records) for name, value in numbers.items()}
    return Block(steps, torch.ones_like(steps, dtype=torch.bool), values)


@pytest.mark.parametrize(
    ("distance", "density", "band"),
    [(0.3, 0.06, 0), (0.847, 0.0187, 1), (0.3, 0.03, 1), (1.2, 0.06, 2), (0.3, 0.0042, 2)],
)
def test_the_bands_are_those_of_case_d(distance: float, density: float, band: int) -> None:
    numbers = dict.fromkeys(VALUES["coverage"].row, 1.0) | {
        "distance": distance, "density": density, "references": 1e4, "own_distance": 0.2, "own_density": 0.1,
    }  # fmt: skip
    values = {name: torch.full((1, 5), value, dtype=torch.float64) for name, value in numbers.items()}
    block = Block(torch.arange(5)[None], torch.ones(1, 5).bool(), values)
    assert run(SparseCoverage(), fresh(SparseCoverage(), block), [block]).readings["coverage_band"][0, -1] == band
    assert ("firing" in statuses(SparseCoverage(), block)["sparse_coverage"][0]) is (band == 2)


@pytest.mark.parametrize("features", [1, 2, 8, 64, 256])
def test_samples_like_the_references_are_covered_in_any_number_of_dimensions(features: int) -> None:
    rng = np.random.default_rng(features)
    references = rng.normal(size=(500, features))
    for size in (1, 64):
        block = block_of(rng.normal(size=(size, features)) * 0.9, references)
        assert "firing" not in statuses(SparseCoverage(), block)["sparse_coverage"][0], size


def test_a_region_of_real_data_that_was_left_out_is_sparse() -> None:
    x, _ = load_diabetes(return_X_y=True)
    x = x[:, [2, 8]]  # body mass and a serum
    scaled = (x - x.mean(0)) / x.std(0)
    edge = (scaled > 1.8).any(1)
    assert "firing" in statuses(SparseCoverage(), block_of(scaled[edge] + 1.0, scaled[~edge]))["sparse_coverage"][0]
    inside = scaled[~edge]
    assert "firing" not in statuses(SparseCoverage(), block_of(inside[:40], inside[40:]))["sparse_coverage"][0]
