"""What a job reports is what travels: the public calls against a transport in memory."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

import losswatch
from losswatch.arrays import reported
from losswatch.schema import Objective, Predictions, Reference, RunEnd, RunStart, Steps
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import PREDICTIONS, STEPS, eventually, is_gapless, records_of, steps_of


def test_a_run_begins_and_ends_in_both_topics_with_the_same_seq() -> None:
    transport = MemoryTransport()
    with losswatch.start("ttt-42", transport=transport, job="intrusion") as run:
        run.log(0, total=1.0)
    steps, predictions = records_of(transport.records, STEPS), records_of(transport.records, PREDICTIONS)
    assert [record.type for record in steps] == ["run_start", "steps", "run_end"]
    assert [(record.type, record.seq) for record in predictions] == [("run_start", 0), ("run_end", 2)]
    assert is_gapless(steps)
    assert {one.key for one in transport.records} == {b"ttt-42"}
    assert {dict(one.headers)["ce_type"] for one in transport.records} >= {b"io.losswatch.steps.v1"}


def test_every_declared_field_travels() -> None:
    transport = MemoryTransport()
    losswatch.start(
        "ttt-42",
        transport=transport,
        job="intrusion",
        labels={"team": "sec"},
        objective={"train": Objective(form="weighted_sum", weights={"entropy": 1.0}), "test": {"form": "mean"}},
        metrics={"accuracy": "higher"},
        classes=["benign", "attack"],
        split={"train": (1.0, 2.0)},
        precision={"train": "bf16"},
        parameters=22_500_000,
        samples={"train": 10_000},
        thresholds={"class_entropy_floor": 0.85},
        expect=[{"series": "contrastive", "phase": "train", "from_step": 300, "high": 1.2}],
    ).finish()
    record = records_of(transport.records)[0]
    assert isinstance(record, RunStart)
    assert record.objective["train"].weights == {"entropy": 1.0}
    assert record.classes == ["benign", "attack"]
    assert record.expect[0].high == 1.2
    assert (record.parameters, record.samples, record.labels) == (22_500_000, {"train": 10_000}, {"team": "sec"})


def test_the_unusable_part_of_a_declaration_is_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    transport = MemoryTransport()
    objective = {"train": {"form": "wieghted_sum"}, "test": {"form": "mean"}}
    losswatch.start("r", transport=transport, objective=objective, parameters="many", job="kept").finish()  # type: ignore[arg-type]  # the point of the test
    record = records_of(transport.records)[0]
    assert isinstance(record, RunStart)
    assert (list(record.objective), record.parameters, record.job) == (["test"], None, "kept")
    warnings = [message for message in caplog.messages if "is not usable" in message]
    assert ["objective.train.form" in warnings[0], "parameters" in warnings[1], len(warnings)] == [True, True, 2]


def test_the_first_step_goes_out_at_once_and_later_ones_in_blocks() -> None:
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    run.log(0, total=0.0)
    eventually(lambda: steps_of(records_of(transport.records)) == [0])
    for step in range(1, 150):
        run.log(step, total=float(step))
    run.finish()
    blocks = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert steps_of(blocks) == list(range(150))
    assert [len(block.step) for block in blocks] == [1, 149]
    totals = np.concatenate([block.total for block in blocks if block.total is not None])
    assert totals.tolist() == list(range(150))


def test_a_step_waits_no_longer_than_about_a_second_for_its_block() -> None:
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    run.log(0, total=0.0)
    eventually(lambda: run.stats().published == 1)
    run.log(1, total=1.0)
    eventually(lambda: run.stats().published == 2, seconds=5)
    run.finish()


def test_each_phase_has_blocks_of_its_own() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        for step in range(10):
            run.log(step, total=1.0)
            run.log(step, total=2.0, phase="val")
    by_phase = {record.phase: record for record in records_of(transport.records) if isinstance(record, Steps)}
    assert {phase: steps_of([record]) for phase, record in by_phase.items()} == {
        "train": list(range(10)),
        "val": list(range(10)),
    }


def test_what_appears_and_vanishes_within_a_block_is_not_reported_elsewhere() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.log(0, components={"a": 1.0})
        run.log(1, total=float("nan"), components={"a": 2.0, "b": 3.0}, metrics={"accuracy": 0.5})
        run.log(2, total=1.5, components={"b": None}, slices={"exp-7": {"mae": 0.25}}, checkpoint="epoch-1.pt")
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.total is not None
    assert reported(block.total).tolist() == [False, True, True]
    assert np.isnan(block.total[1])
    assert reported(block.components["a"]).tolist() == [True, True, False]
    assert reported(block.components["b"]).tolist() == [False, True, False]
    assert reported(block.metrics["accuracy"]).tolist() == [False, True, False]
    assert reported(block.slices["exp-7"]["mae"]).tolist() == [False, False, True]
    assert block.checkpoint == [None, None, "epoch-1.pt"]
    assert block.at is not None
    assert np.all(np.diff(block.at) >= 0)


def test_the_jobs_own_mappings_may_change_after_the_call() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        components = {"a": 0.0}
        for step in range(5):
            components["a"] = float(step)
            run.log(step, components=components)
        components.clear()
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.components["a"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_predictions_and_a_reference_travel_to_the_predictions_topic() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.reference(np.ones((3, 2)))
        run.predictions(
            7,
            [[0.75, 0.25], [0.5, 0.5]],
            labels=np.array([1, 0]),
            slices=["exp-7", None],
            embeddings=np.zeros((2, 3), np.float32),
            errors={"mae": [0.1, 0.2]},
        )
        run.predictions(8, logits=np.zeros((2, 3)), phase="val")
        run.predictions(9, classes=["benign", "attack"])
    records = records_of(transport.records, PREDICTIONS)
    assert [record.type for record in records] == ["run_start", "reference", *["predictions"] * 3, "run_end"]
    reference, first, second, third = records[1:5]
    assert isinstance(reference, Reference)
    assert reference.features.shape == (3, 2)
    assert isinstance(first, Predictions)
    assert isinstance(first.values, np.ndarray)
    assert first.values.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert isinstance(first.labels, np.ndarray)
    assert (first.labels.tolist(), first.slices, first.errors["mae"].tolist()) == ([1, 0], ["exp-7", None], [0.1, 0.2])
    assert isinstance(second, Predictions)
    assert isinstance(third, Predictions)
    assert (second.kind, second.phase, third.kind, third.values) == ("logits", "val", "classes", ["benign", "attack"])


def test_a_regressor_reports_features_errors_and_true_values_without_classes() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.reference(np.ones((3, 2)), labels=["a", "b", "a"], targets={"mae": torch.arange(3)})
        run.predictions(
            4,
            features=torch.ones(2, 2),
            errors={"mae": [0.1, 0.2], "short": [1.0]},
            targets={"mae": np.array([7.0, 8.0])},
            slices=["a", None],
            phase="val",
        )
        run.predictions(5, errors={"mae": [0.1] * 60_000, "other": [0.1] * 60_000}, labels=[1, 2])
        run.predictions(6, labels=[1, 2])
        run.predictions(7, features="no array")
    reference, first, second, end = records_of(transport.records, PREDICTIONS)[1:]
    assert isinstance(reference, Reference)
    assert (reference.labels, reference.targets["mae"].tolist()) == (["a", "b", "a"], [0.0, 1.0, 2.0])
    assert isinstance(first, Predictions)
    assert (first.kind, first.size, first.slices) == (None, 2, ["a", None])
    assert (list(first.errors), first.targets["mae"].tolist()) == (["mae"], [7.0, 8.0])
    assert isinstance(second, Predictions)
    assert len(second.errors["mae"]) == len(second.errors["other"]) == 30_000
    assert end.type == "run_end"


def test_a_batch_too_large_to_ship_is_summarised() -> None:
    transport = MemoryTransport()
    logits = np.random.default_rng(0).normal(size=(1000, 100))
    with losswatch.start("r", transport=transport) as run:
        run.predictions(1, logits=logits, labels=np.zeros(1000, int))
    (batch,) = [record for record in records_of(transport.records) if isinstance(record, Predictions)]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (batch.kind, batch.n) == ("summary", 1000)
    np.testing.assert_array_equal(batch.values, logits.argmax(axis=1))
    assert batch.mean is not None
    np.testing.assert_allclose(batch.mean, probabilities.mean(axis=0))
    np.testing.assert_array_equal(batch.counts, np.bincount(logits.argmax(axis=1), minlength=100))
    assert batch.mean_max == pytest.approx(probabilities.max(axis=1).mean())
    assert batch.mean_entropy == pytest.approx(-(probabilities * np.log(probabilities)).sum(axis=1).mean())


def test_a_huge_batch_is_thinned_out_before_it_is_copied() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.predictions(1, np.full((100_000, 64), 1 / 64, np.float32))
        run.predictions(2, classes=np.arange(1_000_000) % 7)
    summary, classes = (record for record in records_of(transport.records) if isinstance(record, Predictions))
    assert summary.n is not None
    assert 10_000 < summary.n <= 100_000 / 6
    assert isinstance(classes.values, np.ndarray)
    assert len(classes.values) <= 65_536


def test_a_block_too_long_for_one_record_is_split() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        for step in range(32):
            run.log(step, components={f"c{i}": 0.5 for i in range(1000)}, metrics={f"m{i}": 1 / 3 for i in range(1000)})
            run.log(step, checkpoint="c" * 900, slices={f"s{i}": dict.fromkeys("abcdefgh", 1 / 3) for i in range(1000)})
    records = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert len(records) > 2
    assert sorted(steps_of(records)) == sorted([*range(32), *range(32)])
    assert max(len(sent.value) for sent in transport.records) <= 900_000


def test_an_exception_is_recorded_and_goes_on() -> None:
    transport = MemoryTransport()
    with pytest.raises(ZeroDivisionError), losswatch.start("r", transport=transport):
        raise ZeroDivisionError("division by zero")
    end = records_of(transport.records)[-1]
    assert isinstance(end, RunEnd)
    assert (end.status, end.error) == ("failed", "ZeroDivisionError: division by zero")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "stopped"), (SystemExit(0), "finished")])
def test_interrupts_and_exits_are_told_from_failures(error: BaseException, status: str) -> None:
    transport = MemoryTransport()
    with pytest.raises(type(error)), losswatch.start("r", transport=transport):
        raise error
    end = records_of(transport.records)[-1]
    assert isinstance(end, RunEnd)
    assert end.status == status


def test_a_finished_run_stays_silent() -> None:
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    assert run.finish()
    count = len(transport.records)
    run.log(1, total=1.0)
    run.predictions(1, [[0.5, 0.5]])
    assert run.finish("failed")
    assert (len(transport.records), run.stats().waiting) == (count, 0)


def test_without_servers_it_does_nothing_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOSSWATCH_BOOTSTRAP_SERVERS", raising=False)
    with losswatch.start("r") as run:
        for step in range(3):
            run.log(step, total=1.0)
    assert [message for message in caplog.messages if "nothing is published" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_the_environment_names_the_run_and_switches_it_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("LOSSWATCH_RUN", "from-environment")
    run = losswatch.start(transport=(transport := MemoryTransport()))
    assert run.name == "from-environment"
    run.finish()
    monkeypatch.setenv("LOSSWATCH_ENABLED", "0")
    off = losswatch.start("r", transport=(unused := MemoryTransport()))
    off.log(1, total=1.0)
    off.finish()
    assert (len(transport.records), unused.records) == (4, [])
    assert "LOSSWATCH_ENABLED" in caplog.text


def test_a_run_without_a_name_gets_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOSSWATCH_RUN", raising=False)
    runs = [losswatch.start(transport=MemoryTransport(), job="intrusion") for _ in range(2)]
    assert runs[0].name != runs[1].name
    assert all(run.name.startswith("intrusion-") for run in runs)
    for run in runs:
        run.finish()


def test_how_a_number_was_measured_travels_with_it(caplog: pytest.LogCaptureFixture) -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.log(0, total=0.25, divided_by=4)
        run.log(1, total=0.5, measured="running_mean")
        run.log(2, total=0.5, measured="averaged", divided_by=0)  # type: ignore[arg-type]  # the point of the test
    blocks = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    found = [(steps_of([block]), block.measured, block.divided_by) for block in blocks]
    assert found == [([0], "step", 4), ([1], "running_mean", 1), ([2], "step", 1)]
    assert sum("averaged" in message for message in caplog.messages) == 1
