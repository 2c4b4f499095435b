"""Entropies of predictions against numpy and the published numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.predictions.distribution import (
    Distribution,
    calibration_error,
    entropy,
    moments_of,
    sampling_deficit,
    sampling_error,
)

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
    valid = torch.arange(64) < torch.tensor(sizes)[:, None]
    padded = torch.zeros(3, 64, classes, dtype=torch.float64)
    padded[valid] = torch.from_numpy(np.concatenate(groups))
    found, largest, place = Distribution.of_samples(padded, valid)
    np.testing.assert_allclose(largest[2], groups[2].max(1))
    assert place[2].tolist() == groups[2].argmax(1).tolist()
    assert found.samples.tolist() == sizes
    for g, p in enumerate(groups):
        np.testing.assert_allclose(found.class_entropy[g].item(), reference(p.mean(0)), rtol=1e-9)
        np.testing.assert_allclose(found.sample_entropy[g].item(), reference(p).mean(), rtol=1e-9)
        np.testing.assert_allclose(found.max_class_probability[g].item(), p.mean(0).max(), rtol=1e-9)
        np.testing.assert_allclose(found.sharpness[g].item(), (p**2).sum(1).mean(), rtol=1e-9)
        assert found.unique_classes[g].item() == len(set(p.argmax(1)))
        assert found.predicted[g].tolist() == np.bincount(p.argmax(1), minlength=classes).tolist()


def test_a_summary_says_what_the_samples_say() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(5, 0.5), 200)
    of_samples, _, _ = Distribution.of_samples(torch.from_numpy(p)[None], torch.ones(1, 200, dtype=torch.bool))
    of_summary = Distribution.of_summary(
        torch.tensor([200.0], dtype=torch.float64),
        torch.from_numpy(p.mean(0, keepdims=True)),
        torch.from_numpy(np.bincount(p.argmax(1), minlength=5)[None].astype(np.float64)),
        torch.from_numpy(reference(p).mean(keepdims=True) * np.log(5)),
        torch.from_numpy(p.max(1).mean(keepdims=True)),
    )
    same = (
        "samples",
        "class_entropy",
        "sample_entropy",
        "max_class_probability",
        "unique_classes",
        "mean",
        "predicted",
    )
    for name in same:
        torch.testing.assert_close(getattr(of_summary, name), getattr(of_samples, name).to(torch.float64), msg=name)
    assert of_summary.sharpness >= of_samples.sharpness, "a summary never excuses less than its samples would"


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


@pytest.mark.parametrize("p", [(0.7, 0.3), (0.5, 0.2, 0.2, 0.1)])
def test_the_sampling_error_is_the_deviation_of_the_class_entropy_of_labels(p: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    told = reference(rng.multinomial(200, p, size=4000) / 200)
    mean = torch.tensor(p, dtype=torch.float64)
    size, classes = torch.tensor(200.0), torch.tensor(float(len(p)))
    error = sampling_error(size, classes, torch.tensor(1.0), entropy(mean), moments_of(mean))
    assert error.item() == pytest.approx(told.std(), rel=0.05)


def test_the_calibration_error_is_that_of_its_bins() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 500)
    right = rng.random(500) < confidence**2
    bins = np.ceil(confidence * 15)
    want = sum(abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in set(bins)) / 500
    one = torch.ones(1, 500, dtype=torch.bool)
    found = calibration_error(torch.from_numpy(confidence)[None], torch.from_numpy(right)[None], one)
    assert found.item() == pytest.approx(want)
