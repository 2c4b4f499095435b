"""From 2 to 100,000 classes: what the hook sends as samples or as a summary gives the same readings."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_score

import losswatch
from consumers.picture import Painter
from losswatch.encoding import decode
from losswatch.headers import content_type
from losswatch.prediction_fields import summary_fields
from losswatch.schema import Predictions
from losswatch.transport import MemoryTransport
from tests.consumers.builders import a_fleet, decoded

TOLERANCE: Final = 1e-3
"""Absolute, of ratios from 0 to 1: half precision has 11 bits."""
ENTROPIES: Final = (
    "class_entropy_ratio",
    "sample_entropy_ratio",
    "mutual_information_ratio",
    "class_perplexity_ratio",
    "max_class_probability_ratio",
)


def told(*records: Predictions) -> dict[str, float]:
    """All readings of the phase."""
    fleet = a_fleet()
    assert fleet.take(decoded(records))[1] == []
    found = Painter(fleet, 1e9).paint(0.0).of_run("r")
    phase = records[0].phase
    return {name: values[phase,] for name, values in found.items() if (phase,) in values}


def readings(record: Predictions) -> dict[str, float]:
    found = told(record)
    return {name: found[name] for name in (*ENTROPIES, "unique_classes")}


def sent(logits: torch.Tensor, **more: Any) -> Predictions:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, advice="off") as run:
        run.predictions(0, logits=logits, **more)
    records = [decode(each.value, content_type(each.headers)) for each in transport.records]
    return next(record for record in records if isinstance(record, Predictions))


def by_hand(logits: torch.Tensor) -> dict[str, float]:
    """In numpy, sample by sample."""
    p = np.exp(logits.double().numpy() - logits.double().logsumexp(1, keepdim=True).numpy())
    size = np.log(p.shape[1])
    mean = p.mean(0)
    whole = -float(mean @ np.log(mean)) / size
    each = float(np.mean([-row @ np.log(row) for row in p])) / size
    perplexity = (np.exp(whole * size) - 1) / (p.shape[1] - 1)
    made = dict(zip(ENTROPIES, (whole, each, whole - each, perplexity, mean.max()), strict=True))
    return made | {"unique_classes": float(len(np.unique(p.argmax(1))))}


@pytest.mark.parametrize(
    ("samples", "classes", "kind"),
    [(256, 2, "logits"), (64, 10, "logits"), (64, 1000, "logits"), (256, 1000, "summary"), (8, 100_000, "summary")],
)
def test_what_the_hook_sends_says_what_the_samples_said(samples: int, classes: int, kind: str) -> None:
    logits = 2 * torch.randn(samples, classes, generator=torch.Generator().manual_seed(classes))
    record = sent(logits)
    assert record.kind == kind
    assert readings(record) == pytest.approx(by_hand(logits), abs=TOLERANCE)


@pytest.mark.parametrize("classes", [2, 30, 5000])
def test_samples_and_their_summary_give_the_same_readings(classes: int) -> None:
    values = np.random.default_rng(classes).normal(0, 2, (40, classes))
    common = {"run": "r", "time": 0.0}
    whole = {"phase": "test", "step": 3, "kind": "logits", "values": values}
    found = readings(Predictions(**common, **whole))
    assert readings(Predictions(**common, **summary_fields(whole))) == pytest.approx(found, abs=1e-6)


@pytest.mark.parametrize("classes", [1000, 3000])
def test_labels_are_judged_where_the_batch_is_too_large_to_ship(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(0, 40, (256,), generator=generator)
    aim = torch.where(torch.rand(256, generator=generator) < 0.7, labels, 40 - labels)
    logits = torch.randn(256, classes, generator=generator) + 6 * torch.nn.functional.one_hot(aim, classes)
    record = sent(logits, labels=labels, features=torch.randn(256, 3, generator=generator))
    assert (record.kind, record.n, record.features is None) == ("summary", 256, False)
    shipped = Predictions(run="r", time=0.0, step=0, kind="logits", values=logits.numpy(), labels=labels.tolist())
    found, truth, predicted = told(record), labels.numpy(), logits.argmax(1).numpy()
    want = {
        "label_accuracy_ratio": accuracy_score(truth, predicted),
        "macro_f1_ratio": f1_score(truth, predicted, average="macro", zero_division=0),
        "weighted_precision_ratio": precision_score(truth, predicted, average="weighted", zero_division=0),
    }
    want["calibration_error_ratio"] = told(shipped)["calibration_error_ratio"]
    assert {name: found[name] for name in want} == pytest.approx(want, abs=1e-6)


def test_labels_of_a_summary_without_the_classes_of_its_samples_say_nothing_of_accuracy() -> None:
    record = Predictions(
        run="r", time=0.0, phase="val", step=0, kind="summary", n=2, mean=[0.5, 0.5], counts=[1, 1], labels=[0, 1],
        confidence=[0.9, 0.8],
    )  # fmt: skip
    assert not any(name.startswith(("label", "macro", "calibration")) for name in told(record))


@pytest.mark.parametrize("counts", [(10, 2000), (2000, 10), (10, 2000, 10, 2000)])
def test_a_model_whose_class_count_changes_is_judged_on(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    records = [
        Predictions(
            run="r", time=0.0, phase="val", step=step, kind="logits", values=rng.normal(0, 1, (80, classes)),
            labels=rng.integers(0, classes, 80),
        )
        for step, classes in enumerate(counts)
    ]  # fmt: skip
    found = told(*records)
    hits = sum((np.asarray(record.values).argmax(1) == record.labels).sum() for record in records)
    assert found["label_accuracy_since_start_ratio"] == pytest.approx(hits / (80 * len(counts)))
    assert found["class_entropy_ratio"] == pytest.approx(readings(records[-1])["class_entropy_ratio"])
