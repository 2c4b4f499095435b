"""Entropies of predictions against numpy and the published numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.predictions.distribution import Distribution, entropy, sampling_deficit

Floats = npt.NDArray[np.float64]


def reference(p: Floats) -> Floats:
    """Shannon entropy of distributions (..., C) by log C, term by term; 0 log 0 is 0."""
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(-terms.sum(-1) / np.log(p.shape[-1]))


@pytest.mark.parametrize(("largest", "published"), [(0.6112, 0.9640), (0.6895, 0.8937)])
def test_case_a_has_the_published_class_entropy(largest: float, published: float) -> None:
    p = torch.tensor([largest, 1 - largest], dtype=torch.float64)
    assert entropy(p).item() == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
def test_groups_of_samples_agree_with_numpy(classes: int) -> None:
    rng = np.random.default_rng(classes)
    sizes = [1, 7, 64]
    groups = [rng.dirichlet(np.full(classes, 0.1), size) for size in sizes]
    found = Distribution.of_samples(
        torch.from_numpy(np.concatenate(groups)), torch.repeat_interleave(torch.arange(3), torch.tensor(sizes)), 3
    )
    assert found.samples.tolist() == sizes
    for g, p in enumerate(groups):
        np.testing.assert_allclose(found.class_entropy[g].item(), reference(p.mean(0)), rtol=1e-9)
        np.testing.assert_allclose(found.sample_entropy[g].item(), reference(p).mean(), rtol=1e-9)
        np.testing.assert_allclose(found.max_class_probability[g].item(), p.mean(0).max(), rtol=1e-9)
        assert found.unique_classes[g].item() == len(set(p.argmax(1)))


def test_a_summary_says_what_the_samples_say() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(5, 0.5), 200)
    of_samples = Distribution.of_samples(torch.from_numpy(p), torch.zeros(200, dtype=torch.int64), 1)
    of_summary = Distribution.of_summary(
        torch.tensor([200.0], dtype=torch.float64),
        torch.from_numpy(p.mean(0, keepdims=True)),
        torch.from_numpy(np.bincount(p.argmax(1), minlength=5)[None]),
        torch.from_numpy(reference(p).mean(keepdims=True) * np.log(5)),
    )
    for name in ("samples", "class_entropy", "sample_entropy", "max_class_probability", "unique_classes"):
        torch.testing.assert_close(getattr(of_summary, name), getattr(of_samples, name), msg=name)


def test_entropy_is_0_for_one_class_and_1_for_the_uniform_distribution() -> None:
    assert entropy(torch.eye(4)).tolist() == [0.0] * 4
    assert entropy(torch.full((10,), 0.1, dtype=torch.float64)).item() == pytest.approx(1.0)


@pytest.mark.parametrize(("samples", "classes"), [(8, 2), (64, 2), (64, 10), (512, 10), (64, 1000), (8, 1000)])
def test_few_labels_lower_the_class_entropy_by_no_more_than_expected(samples: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    counts = rng.multinomial(samples, np.full(classes, 1 / classes), size=2000)
    deficit = 1 - reference(counts / samples)
    expected, deviation = (
        x.item() for x in sampling_deficit(torch.tensor(float(samples)), torch.tensor(float(classes)))
    )
    assert deficit.mean() <= expected * 1.2
    assert (deficit > expected + 4 * deviation).mean() <= 0.015  # chi-squared of one degree: 0.0099
