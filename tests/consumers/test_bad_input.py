"""What becomes of records that no publisher of ours would send, and of the runs beside them."""

from __future__ import annotations

import json
import logging
from itertools import islice
from typing import Any

import pytest

from consumers.decode import MOST_DEAD
from consumers.fleet import Fleet
from consumers.memory import MemoryBroker
from consumers.rows import Limits
from consumers.source import Slot
from losswatch.encoding import MAX_BYTES, encode
from losswatch.schema import Steps
from losswatch.topics import PREDICTIONS, STEPS
from tests.consumers.builders import a_broker, a_fleet, a_story, make_end, make_start, make_steps, publish
from tests.consumers.hostile import Hostile, hostile
from tests.consumers.outcomes import Outcome, assert_same_outcomes, dead_letters, findings_on_topic
from tests.consumers.workers import a_worker, run_worker_until_idle, turn

HEALTHY = ("one", "two")


def send(broker: MemoryBroker, record: Hostile) -> None:
    broker.produce(record.topic, 0, record.key, record.value, record.headers)


def consume(broker: MemoryBroker, fleet: Fleet | None = None) -> dict[str, Outcome]:
    return run_worker_until_idle(broker, a_worker(broker, fleet, poll_records=100))


def reasons(broker: MemoryBroker) -> list[str]:
    return [reason for reason, _, _ in dead_letters(broker)]


def test_ten_thousand_hostile_records_neither_stop_the_worker_nor_touch_the_healthy_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet = a_broker()
    stories = [a_story(run, session=run) for run in HEALTHY]
    for pair in zip(*stories, strict=True):
        publish(quiet, pair)
    expected, told = consume(quiet), findings_on_topic(quiet)

    broker, bad = a_broker(), hostile(seed=17, count=10_000)
    sent: list[Hostile] = []
    for pair in zip(*stories, strict=True):
        publish(broker, pair)
        sent += (batch := list(islice(bad, 10_000 // len(stories[0]) + 1)))
        for record in batch:
            send(broker, record)
    assert len(sent) == 10_000
    fleet = a_fleet(limits=Limits(runs=10, series_per_run=40, name_length=100))
    with caplog.at_level(logging.CRITICAL, "losswatch.findings"):
        found = consume(broker, fleet)

    assert_same_outcomes({run: found[run] for run in HEALTHY}, expected)
    healthy = [finding for finding in findings_on_topic(broker) if finding[0].split("/")[0] in HEALTHY]
    assert sorted(healthy) == sorted(told)
    dead = dead_letters(broker)
    assert fleet.telemetry.total("dead_letters") == len(dead)
    assert "internal_error" not in {reason for reason, _, _ in dead}, caplog.text
    originals = {value for _, _, value in dead}
    assert {record.value for record in sent if record.broken} <= originals
    for _, headers, value in dead:
        slot = Slot(headers["losswatch-topic"], int(headers["losswatch-partition"]))
        origin = next(broker.read(slot, int(headers["losswatch-offset"])))
        assert origin.value == value
    assert len(found) <= 10
    assert len(fleet.telemetry.counters["hook_drops"]) <= 65


GOOD = encode(make_steps("r", 0, 4, seq=0))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (GOOD[:-10], "not_json"),
        (b"", "empty"),
        (None, "empty"),
        (b" " * (MAX_BYTES + 1), "too_large"),
        (GOOD.replace(b'"step":[0', b'"step":["0"'), "invalid"),
        (GOOD.replace(b'"v":1', b'"v":2'), "unknown_version"),
        (GOOD.replace(b'"steps"', b'"leaps"'), "unknown_type"),
        (GOOD.replace(b'"r"', b'"\xff\xfe"'), "not_json"),
        (GOOD.replace(b'"r"', b'"\\ud800"'), "not_json"),
        (GOOD.replace(b'"r"', json.dumps("x" * 201).encode()), "invalid"),
        (GOOD.replace(b'"step":[0,1,2,3]', b'"step":[' + b"0," * 999_999 + b"0]"), "invalid"),
        (GOOD.replace(b'"step":[0', b'"step":[9223372036854775808'), "invalid"),
        (GOOD.replace(b'"step":[0', b'"step":[-9223372036854775808'), "invalid"),
        (GOOD.replace(b'"time":1000.0', b'"time":1e999'), "invalid"),
        (b"[" * 100_000, "not_json"),
    ],
    ids=[
        "truncated", "empty", "tombstone", "oversized", "wrong type", "unknown version", "unknown type", "not UTF-8",
        "lone surrogate", "name too long", "a million elements", "step beyond int64", "lowest int64 step",
        "infinite time", "deeply nested",
    ],
)  # fmt: skip
def test_what_is_no_record_becomes_a_dead_letter_with_its_bytes_its_reason_and_its_origin(
    value: bytes | None, reason: str
) -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    send(broker, Hostile(value, headers=(("content-type", b"application/json"), ("trace", b"x"))))
    publish(broker, [make_steps("r", 4, 4, seq=1)])
    found = consume(broker)
    ((got, headers, kept),) = dead_letters(broker)
    assert got == reason
    assert kept == (value[:MOST_DEAD] if value is not None else None)
    assert [headers[f"losswatch-{name}"] for name in ("topic", "partition", "offset")] == [STEPS, "0", "1"]
    assert headers["losswatch-bytes"] == str(len(value or b""))
    assert 5 < len(headers["losswatch-detail"]) <= 300
    assert (found["r"].records, found["r"].steps) == (2, 8)


def test_a_dead_letter_of_a_huge_record_is_small_enough_for_any_broker() -> None:
    broker = a_broker()
    send(broker, Hostile(b"x" * 5_000_000, key=b"k" * 100_000, headers=(("h", b"y" * 100_000),)))
    consume(broker)
    ((_, headers, value),) = dead_letters(broker)
    assert value is not None
    assert len(value) == MOST_DEAD
    assert headers["losswatch-bytes"] == "5000000"


def test_predictions_that_are_no_distribution_become_dead_letters() -> None:
    broker = a_broker()
    for record in (
        {"kind": "probabilities", "values": [[0.9, 0.9]]},
        {"kind": "probabilities", "values": [["NaN", 1.0], [1.5, 0.0]]},
        {"kind": "probabilities", "values": [["NaN", 1.0], [0.5, 0.0]]},
        {"kind": "summary", "n": 5, "mean": ["Infinity", "-Infinity"], "counts": [1, 4]},
        {"kind": "summary", "n": 5, "mean": [2.0, -1.0], "counts": [1, 4]},
    ):
        fields = {"v": 1, "type": "predictions", "run": "r", "time": 0.0, "step": 1} | record
        send(broker, Hostile(json.dumps(fields).encode(), topic=PREDICTIONS))
    consume(broker)
    assert reasons(broker) == ["invalid_predictions"] * 5


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "probabilities", "values": [["NaN", 1.0], [0.5, 0.5]]},
        {"kind": "logits", "values": [[0.0, "Infinity"], [0.5, 0.5]]},
        {"kind": "logits", "values": [["-Infinity", "-Infinity"], [0.5, 0.5]]},
        {"kind": "summary", "n": 5, "mean": ["NaN", 1.0], "counts": [1, 4]},
    ],
    ids=["probabilities", "an infinite logit", "all masked", "summary"],
)
def test_predictions_that_are_not_finite_are_a_finding_and_no_dead_letter(record: dict[str, object]) -> None:
    broker = a_broker()
    fields = {"v": 1, "type": "predictions", "run": "r", "time": 0.0, "step": 1} | record
    send(broker, Hostile(json.dumps(fields).encode(), topic=PREDICTIONS))
    consume(broker)
    assert reasons(broker) == []
    assert [finding[0] for finding in findings_on_topic(broker)] == ["r/test/non_finite/class_entropy_ratio/1"]


def test_a_masked_class_is_finite() -> None:
    broker = a_broker()
    fields = {"v": 1, "type": "predictions", "run": "r", "time": 0.0, "step": 1, "kind": "logits"}
    record = fields | {"values": [[0.0, "-Infinity"], [0.5, 0.5]]}
    send(broker, Hostile(json.dumps(record).encode(), topic=PREDICTIONS))
    consume(broker)
    assert findings_on_topic(broker) == []


def test_a_record_filled_with_nan_is_a_finding_and_no_dead_letter() -> None:
    broker = a_broker()
    nan = [float("nan")] * 64
    publish(
        broker, [Steps(run="r", time=0.0, step=list(range(64)), total=nan, components={"a": nan}, metrics={"m": nan})]
    )
    found = consume(broker)
    assert reasons(broker) == []
    assert {identity for identity, *_ in findings_on_topic(broker)} == {
        f"r/train/non_finite/{series}/0" for series in ("total", "a", "m")
    }
    assert found["r"].steps == 64


def test_absurd_names_are_kept_as_they_are() -> None:
    names = ['quo"te\\', "line\nfeed", "nul\x00", "\U0001f4a9", "{} %s"]
    broker = a_broker()
    publish(broker, [make_steps(name, 0, 4, session=None, metrics={name: [1.0] * 4}) for name in names])
    worker = a_worker(broker)
    assert set(run_worker_until_idle(broker, worker)) == set(names)
    for name in names:
        assert worker.view.of_run(name)["metric_value"] == {("train", name): 1.0}
    assert set(run_worker_until_idle(broker)) == set(names), "and come back from their snapshots"


def test_a_session_without_numbers_is_not_deduplicated() -> None:
    broker = a_broker()
    record = Steps(run="r", time=0.0, session="s", step=[1, 2], total=[1.0, 2.0])
    publish(broker, [record, record])
    assert consume(broker)["r"].steps == 4
    assert reasons(broker) == []


def test_a_run_that_never_starts_is_watched_with_the_defaults() -> None:
    broker = a_broker()
    publish(broker, a_story("r")[1:])
    found = consume(broker)["r"]
    assert (found.status, found.steps, found.gaps) == ("finished", 136, 0)
    assert ("r/test/diversity_collapse/-/117", "firing") not in {finding[:2] for finding in findings_on_topic(broker)}
    assert any("non_finite" in finding[0] for finding in findings_on_topic(broker))


def test_a_run_that_never_ends_falls_silent_and_is_dropped() -> None:
    wall = [3000.0]
    broker = a_broker()
    publish(broker, a_story("r")[:-1])
    worker = a_worker(broker, wall=lambda: wall[0], view_every=0.0, silent_after=300.0, evict_after=3600.0)
    with worker.connected() as loop:
        turn(worker, loop, 20)
        assert worker.view.runs["r"].status == "running"
        wall[0] += 301.0
        turn(worker, loop)
        assert worker.view.runs["r"].status == "silent"
        wall[0] += 3600.0
        turn(worker, loop)
        assert worker.view.runs == {}
        assert worker.telemetry.total("runs_evicted", ["idle"]) == 1
        worker.checkpoint(loop)
    assert run_worker_until_idle(broker) == {}, "its snapshot is gone too"


@pytest.mark.parametrize("time", [0.0, 1e12, 1e300, -1e300])
def test_a_job_whose_clock_is_wrong_is_watched_like_any_other(time: float) -> None:
    wall = [3000.0]
    broker = a_broker()
    worker = a_worker(broker, wall=lambda: wall[0], view_every=0.0, silent_after=300.0, evict_after=3600.0)
    with worker.connected() as loop:
        for block in range(10):
            publish(broker, [make_steps("r", 10 * block, 10, seq=block, time=time)])
            turn(worker, loop)
            wall[0] += 100.0
        turn(worker, loop)
        assert worker.view.runs["r"].status == "running"
        assert worker.view.runs["r"].steps_seen == 100
        wall[0] += 301.0
        turn(worker, loop)
        assert worker.view.runs["r"].status == "silent"
        wall[0] += 3601.0
        turn(worker, loop)
        assert worker.view.runs == {}


def test_two_jobs_with_one_run_id_are_told_apart_and_counted() -> None:
    broker = a_broker()
    one = [make_steps("r", 10 * block, 10, seq=block, session="one") for block in range(5)]
    two = [make_steps("r", 10 * block, 10, seq=block, session="two") for block in range(5)]
    publish(broker, [record for pair in zip(one, two, strict=True) for record in pair])
    worker = a_worker(broker)
    found = run_worker_until_idle(broker, worker)["r"]
    assert (found.steps, found.duplicates, found.late_steps, found.gaps) == (100, 0, 0, 0)
    assert worker.view.runs["r"].sessions == 2
    assert worker.telemetry.total("session_conflicts") == 8


def test_a_run_published_to_two_partitions_belongs_to_the_first() -> None:
    broker = a_broker(2)
    publish(broker, [make_steps("r", 0, 10, seq=0)], partition=1)
    worker = a_worker(broker)
    with worker.connected() as loop:
        turn(worker, loop)
        publish(broker, [make_steps("r", 10, 10, seq=1)], partition=0)
        turn(worker, loop)
        worker.checkpoint(loop)
    ((reason, headers, _),) = dead_letters(broker)
    assert (reason, headers["losswatch-partition"]) == ("wrong_partition", "0")


def test_a_declaration_too_large_for_a_snapshot_is_a_dead_letter_and_the_run_is_watched_without_it() -> None:
    broker = a_broker()
    start = make_start("r", classes=[f"class-{i:0190d}" for i in range(4000)])
    publish(broker, [start, make_steps("r", 0, 10, seq=1), make_end("r", seq=2)])
    found = consume(broker)["r"]
    assert reasons(broker) == ["declaration_too_large"] * 2
    assert (found.steps, found.status) == (10, "finished")


def test_an_error_of_our_own_is_a_dead_letter_with_a_traceback_in_the_log_and_the_batch_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_steps = Fleet._take_steps

    def fail(self: Fleet, run: Any, record: Steps) -> None:
        if record.step[0] == 10:
            raise ZeroDivisionError("a bug")
        take_steps(self, run, record)

    monkeypatch.setattr(Fleet, "_take_steps", fail)
    broker = a_broker()
    publish(broker, [make_steps("r", 10 * block, 10, seq=block) for block in range(3)])
    assert consume(broker)["r"].steps == 20
    ((reason, headers, _),) = dead_letters(broker)
    assert (reason, headers["losswatch-detail"]) == ("internal_error", "ZeroDivisionError: a bug")
    assert "Traceback" in caplog.text


def test_hostile_records_are_the_same_for_the_same_seed() -> None:
    assert list(hostile(3, 50)) == list(hostile(3, 50))
