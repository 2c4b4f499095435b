"""Geometry against definitions, and an encoder that really collapses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from detectors.cell import Block
from detectors.representation.collapse import RepresentationCollapse
from detectors.representation.geometry import Geometry
from tests.detectors.lifecycles import statuses


def geometry(z: Tensor, label: Tensor | None = None) -> Geometry:
    return Geometry.of(z, torch.ones(z.shape[:2], dtype=torch.bool), label)


def test_every_number_is_what_its_definition_says() -> None:
    z = torch.randn(2, 40, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    label = torch.arange(40).expand(2, 40) % 3
    found = geometry(z, label)
    for g in range(2):
        unit = (z[g] / z[g].norm(dim=1, keepdim=True)).numpy()
        first, second = np.triu_indices(40, 1)
        cosine = (unit[first] * unit[second]).sum(1)
        squared = ((unit[first] - unit[second]) ** 2).sum(1)
        alike = label[g].numpy()[first] == label[g].numpy()[second]
        values = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
        share = values / values.sum()
        assert found.cosine[g].item() == pytest.approx(cosine.mean())
        assert found.uniformity[g].item() == pytest.approx(np.log(np.exp(-2 * squared).mean()))
        assert found.alignment[g].item() == pytest.approx(squared[alike].mean())
        assert found.effective_rank[g].item() == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
        assert found.spread[g].item() == pytest.approx(unit.std(0).mean() * np.sqrt(6))


def test_a_point_a_line_and_a_sphere_are_told_apart() -> None:
    noise = torch.randn(1, 128, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direction = torch.ones(16, dtype=torch.float64)
    point, line = geometry(direction + 0.01 * noise), geometry(direction * noise[..., :1])
    sphere = geometry(noise)
    assert point.cosine > 0.99
    assert line.effective_rank < 1.01
    assert abs(sphere.cosine) < 0.01
    assert sphere.spread.item() == pytest.approx(1.0, abs=0.05)
    assert sphere.effective_rank > 14


def test_a_scale_changes_nothing_and_what_is_not_finite_does_not_count() -> None:
    z = torch.randn(1, 50, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dirty = torch.cat([z * 1e200, torch.full((1, 3, 8), torch.nan), torch.zeros(1, 1, 8)], 1)
    for name in ("samples", "cosine", "spread", "effective_rank", "uniformity"):
        torch.testing.assert_close(getattr(geometry(dirty), name), getattr(geometry(z), name))


@pytest.mark.parametrize("alive", [0, 1])
def test_embeddings_that_are_zero_are_one_place(alive: int) -> None:
    z = torch.zeros(1, 50, 8, dtype=torch.float64)
    z[:, :alive] = 1.0
    found = geometry(z)
    told = (found.samples, found.cosine, found.spread, found.effective_rank, found.uniformity)
    assert [x.item() for x in told] == [50, 1, 0, 1, 0]
    assert statuses(RepresentationCollapse(), block_of([z[0]] * 15))["representation_collapse"][0][-1] == "firing"


def block_of(records: list[Tensor]) -> Block:
    told = [geometry(z[None]) for z in records]
    names = ("samples", "spread", "effective_rank", "cosine", "alignment", "uniformity")
    values = {name: torch.cat([getattr(each, name) for each in told])[None] for name in names}
    dimensions = torch.full_like(values["samples"], records[0].shape[1])
    steps = torch.arange(len(records))[None]
    return Block(steps, torch.ones_like(steps, dtype=torch.bool), {**values, "dimensions": dimensions})


def trained(*, collapses: bool) -> list[Tensor]:
    """Embeddings of digits from an encoder trained to make two noisy views alike, with or without negatives."""
    torch.manual_seed(0)
    images = torch.from_numpy(load_digits().data[:512]).float() / 16
    encoder = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=3e-3)
    records = []
    for step in range(80):
        batch = images[torch.randint(512, (128,))]
        a, b = (torch.nn.functional.normalize(encoder(batch + 0.1 * torch.randn_like(batch)), dim=1) for _ in range(2))
        loss = (a - b).square().sum(1).mean() if collapses else _info_nce(a, b)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        optimizer.step()
        if step % 2 == 0:
            records.append(encoder(images[:128]).detach().double())
    return records


def _info_nce(a: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))


@pytest.mark.parametrize("collapses", [True, False])
def test_an_encoder_without_negatives_collapses_and_one_with_them_does_not(collapses: bool) -> None:
    status = statuses(RepresentationCollapse(), block_of(trained(collapses=collapses)))["representation_collapse"][0]
    assert ("firing" in status) is collapses


def test_classes_on_a_few_directions_are_healthy() -> None:
    """Neural collapse: nine dimensions of a hundred for ten classes is how a good classifier ends."""
    random = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.one_hot(torch.arange(10), 100).double()
    records = []
    for _ in range(30):
        noise = torch.randn(256, 100, dtype=torch.float64, generator=random)
        records.append(centres[torch.randint(10, (256,), generator=random)] + 0.01 * noise)
    assert "firing" not in statuses(RepresentationCollapse(), block_of(records))["representation_collapse"][0]
