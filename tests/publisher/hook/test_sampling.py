"""Predictions are sampled before they are copied, bounded, and private where they are to be."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import losswatch
from losswatch import samples
from losswatch.prediction_fields import half, summary_fields
from losswatch.schema import Predictions
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import records_of


def published(*calls: dict[str, Any]) -> list[Predictions]:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        for step, call in enumerate(calls):
            run.predictions(step, **call)
    assert max(len(sent.value) for sent in transport.records) <= 900_000
    return [record for record in records_of(transport.records) if isinstance(record, Predictions)]


@given(st.integers(1, 3000), st.integers(1, 200), st.randoms())
def test_the_same_samples_are_chosen_whatever_the_order(count: int, most: int, random: Any) -> None:
    ids = [f"sample-{i}" for i in range(count)]
    chosen = {ids[row] for row in rows(count, most, ids)}
    random.shuffle(ids)
    assert {ids[row] for row in rows(count, most, ids)} == chosen
    assert len(chosen) <= most or count <= most


def rows(count: int, most: int, ids: Any) -> list[int]:
    chosen = samples.chosen(count, most, ids)
    return list(range(*chosen.indices(count))) if isinstance(chosen, slice) else chosen


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_about_as_many_are_chosen_as_there_is_room_for_whatever_the_ids_are_in(kind: Any) -> None:
    chosen = rows(10_000, 500, kind(list(range(10_000))))
    assert chosen == rows(10_000, 500, list(range(10_000)))
    assert 400 < len(chosen) <= 500
    assert chosen == sorted(chosen)


@pytest.mark.parametrize("ids", [None, [1, 2, 3], "text", 5])
def test_without_usable_ids_every_kth_row_is_taken(ids: Any) -> None:
    if ids == 5:
        with pytest.raises(TypeError):
            samples.chosen(1000, 100, ids)
    else:
        assert samples.chosen(1000, 100, ids) == slice(None, None, 10)


def test_rows_of_all_arrays_are_those_of_the_same_samples() -> None:
    count = 40_000
    values = np.stack([np.arange(count) / count, 1 - np.arange(count) / count], axis=1)
    embeddings = torch.arange(count, dtype=torch.float32).reshape(-1, 1).expand(-1, 64)
    (batch,) = published(
        {"probabilities": values, "embeddings": embeddings, "labels": list(range(count)), "ids": np.arange(count)}
    )
    assert isinstance(batch.values, np.ndarray)
    assert batch.embeddings is not None
    assert 3000 < len(batch.values) <= 4096
    labels = np.array(batch.labels, dtype=np.float64)
    assert np.abs(batch.embeddings[:, 0] - labels).max() <= 1e-3 * count
    assert np.abs(batch.values[:, 0] - labels / count).max() <= 1e-3


def test_only_the_sample_is_copied() -> None:
    logits = np.zeros((200_000, 50), np.float32)
    tracemalloc.start()
    try:
        samples.capture(0, "test", "logits", logits, {}, None, None, np.arange(200_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < logits.nbytes / 2


def test_values_travel_in_half_precision_unless_that_would_overflow() -> None:
    small, large = published({"logits": [[0.1, 1000.0]]}, {"logits": [[1e6, 0.1]]})
    assert np.asarray(small.values).tolist() == [[float(np.float16(0.1)), 1000.0]]
    assert np.asarray(large.values).tolist() == [[1e6, 0.1]]
    assert np.isnan(half(np.array([[np.nan, np.inf]])))[0, 0]


def test_half_precision_halves_the_bytes_twice_over() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.predictions(0, torch.softmax(torch.randn(1000, 50), dim=1))
    assert max(len(sent.value) for sent in transport.records) < 2 * 50_000 + 1000


def test_embeddings_too_long_for_a_record_cost_samples_and_not_the_batch() -> None:
    (batch,) = published({"probabilities": [[0.5, 0.5]] * 300, "embeddings": np.full((300, 800), 1e6 + 1 / 3)})
    assert batch.embeddings is not None
    assert 20 < len(batch.embeddings) == len(np.asarray(batch.values))


@given(st.sampled_from(["logits", "probabilities"]), st.integers(1, 40), st.integers(2, 6), st.integers(0, 9))
def test_the_summary_made_on_the_device_is_the_one_made_on_the_host(kind: str, n: int, c: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, c, generator=generator)
    made = {"logits": samples.summary_of_logits, "probabilities": samples.summary_of_probabilities}
    values = values if kind == "logits" else torch.softmax(values, dim=1)
    labels = list(range(n))
    host = summary_fields({"phase": "test", "step": 0, "kind": kind, "values": values.numpy(), "labels": labels})
    device = made[kind](values, each=True).numpy()
    np.testing.assert_allclose(device[:3], [host["n"], host["mean_entropy"], host["mean_max"]], atol=1e-5)
    np.testing.assert_allclose(device[3 : 3 + c], host["mean"], atol=1e-6)
    np.testing.assert_array_equal(device[3 + c : 3 + 2 * c], host["counts"])
    np.testing.assert_array_equal(device[3 + 2 * c : 3 + 2 * c + n], host["values"])
    np.testing.assert_allclose(device[3 + 2 * c + n :], host["confidence"], atol=1e-6)
    np.testing.assert_array_equal(made[kind](values).numpy(), device[: 3 + 2 * c])


def test_the_classes_of_single_samples_go_with_a_summary_where_they_are_needed() -> None:
    values = np.random.default_rng(0).normal(0, 1, (1000, 100))
    for more in ({"labels": [7] * 1000}, {"slices": ["a"] * 1000}, {"errors": {"mae": [0.5] * 1000}}):
        (batch,) = published({"logits": values} | more)
        assert (batch.kind, batch.n) == ("summary", 1000)
        np.testing.assert_array_equal(batch.values, values.argmax(1))
        assert (batch.confidence is None) == ("labels" not in more)
    assert published({"logits": values})[0].values is None


def test_what_goes_with_a_summary_is_thinned_where_it_is_too_long() -> None:
    labels = [f"{'x' * 190} {n}" for n in range(10_000)]
    (batch,) = published({"logits": np.zeros((10_000, 10)), "labels": labels})
    assert (batch.kind, batch.n) == ("summary", 10_000)
    assert batch.labels is not None
    assert 1000 < len(batch.labels) == batch.size < 5000


def test_a_sample_that_is_too_long_by_itself_is_left_out_and_the_sender_goes_on() -> None:
    assert published({"embeddings": np.full((1, 600_000), 1 / 3)}) == []
    assert len(published({"embeddings": np.full((2, 200_000), 1 / 3)})) == 1


def test_labels_stay_in_the_job_where_they_are_to(monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"probabilities": [[0.5, 0.5]], "labels": [1]}
    np.testing.assert_array_equal(published(call)[0].labels, [1])
    monkeypatch.setenv("LOSSWATCH_SEND_LABELS", "no")
    assert published(call)[0].labels is None
    assert not published({"errors": {"mae": [0.5]}, "targets": {"mae": [7.0]}})[0].targets


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"probabilities": [[0.6, 0.6]] * 3}, "not a distribution over the classes"),
        ({"probabilities": [[1.5, -0.5]] * 3}, "not a distribution over the classes"),
        ({"probabilities": [0.2, 0.9]}, "of two classes send 1 - p and p"),
        ({"probabilities": [[0.2], [0.9]]}, "of two classes send 1 - p and p"),
        ({"logits": [[0.2], [0.9]]}, "of two classes send zeros and them"),
        ({"logits": np.zeros((2, 3)), "labels": [1, None]}, "labels is left out: a label is None"),
        ({"classes": ["a", None]}, "a label is None, and every sample needs one"),
        ({"logits": np.zeros((2, 3, 4))}, "expected N samples x C columns: reshape it"),
    ],
)
def test_what_is_no_distribution_is_said_in_the_job(
    call: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    published(call, call)
    assert [said in record.getMessage() for record in caplog.records] == [True]


def test_distributions_with_nan_or_in_half_precision_are_nothing_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    p = torch.softmax(torch.randn(60, 1000, generator=torch.Generator().manual_seed(0)), dim=1)
    published({"probabilities": p.half()}, {"probabilities": [[float("nan"), 0.5], [0.5, 0.5]]})
    assert not caplog.records
