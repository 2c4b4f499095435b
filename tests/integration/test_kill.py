"""A service that is killed in the middle and started again ends where an uninterrupted one does."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers.kafka import KafkaBroker
from consumers.source import Slot
from losswatch.encoding import MSGPACK, encode
from losswatch.headers import cloud_event
from losswatch.schema import Objective, Predictions, Record, RunEnd, RunStart, Steps
from losswatch.topics import FINDINGS, PREDICTIONS, STEPS
from tests.brokers import start_tansu
from tests.integration.process import ServiceProcess, wait_for

PARTITIONS = 2
STEPS_PER_RECORD = 10
LENGTH = 300
RUNS = ("collapsing", "healthy")
WEIGHTS = {"entropy": 1.0, "diversity": 0.1}


def _records(run: str, collapses: bool) -> list[tuple[str, Record]]:
    """Topic and record of a whole run; a collapsing one falls from class entropy 0.98 to 0.7."""
    step = np.arange(LENGTH)
    noise = np.random.default_rng(len(run))
    entropy = np.exp(-step / 80) + 0.01 * noise.standard_normal(LENGTH)
    top = 0.5 + (0.25 * step / LENGTH if collapses else 0.0) + 0.002 * noise.standard_normal(LENGTH)
    diversity = 1 + (top * np.log(top) + (1 - top) * np.log(1 - top)) / np.log(2) + 0.05
    seq = iter(range(10_000))

    def common(time: float) -> dict[str, Any]:
        return {"run": run, "session": "one", "seq": next(seq), "time": time}

    start = RunStart(**common(0.0), objective={"test": Objective(form="weighted_sum", weights=WEIGHTS)})
    out: list[tuple[str, Record]] = [(STEPS, start), (PREDICTIONS, start)]
    for first in range(0, LENGTH, STEPS_PER_RECORD):
        part = slice(first, first + STEPS_PER_RECORD)
        components = {"entropy": entropy[part], "diversity": diversity[part]}
        total = entropy[part] + 0.1 * diversity[part]
        out.append((STEPS, Steps(**common(first), phase="test", step=step[part], total=total, components=components)))
        for at in step[part]:
            values = np.tile([top[at], 1 - top[at]], (64, 1))
            record = Predictions(**common(float(at)), phase="test", step=int(at), kind="probabilities", values=values)
            out.append((PREDICTIONS, record))
    return [*out, (STEPS, end := RunEnd(**common(LENGTH), status="finished")), (PREDICTIONS, end)]


def _all_records() -> list[tuple[int, str, Record]]:
    """Partition, topic and record of two runs, side by side in time."""
    runs = [("collapsing", 0, True), ("healthy", 1, False)]
    made = [[(p, topic, record) for topic, record in _records(run, bad)] for run, p, bad in runs]
    return [item for pair in zip(*made, strict=True) for item in pair]


def _publish(broker: KafkaBroker, records: list[tuple[int, str, Record]]) -> None:
    sink = broker.sink()
    for partition, topic, record in records:
        key = record.run.encode()
        sink.send(Slot(topic, partition), key, encode(record, MSGPACK), cloud_event(record, MSGPACK))
    sink.flush(30)
    sink.close()


def _seen(service: ServiceProcess) -> int:
    found = (service.get(f"/api/runs/{name}") for name in RUNS)
    return sum(run["records"] for run in found if run)


def _restorable(service: ServiceProcess) -> bool:
    """Whether this process has written snapshots."""
    found = re.search(r"^losswatch_snapshots_total (\S+)", service.get("/metrics") or "", re.MULTILINE)
    return found is not None and float(found[1]) >= len(RUNS)


def _outcome(service: ServiceProcess, broker: KafkaBroker) -> dict[str, Any]:
    """Every finding on the topic, and what the API says of each run."""
    told = [json.loads(message.value or b"") for p in range(PARTITIONS) for message in broker.read(Slot(FINDINGS, p))]
    told.sort(key=lambda finding: (finding["id"], finding["step"], finding["state"]))
    runs = {name: service.get(f"/api/runs/{name}") for name in RUNS}
    kept = ("records", "steps_seen", "steps", "duplicates", "gaps", "late_steps", "status")
    return {
        "told": told,
        "counts": {name: {key: run[key] for key in kept} for name, run in runs.items()},
        "readings": {
            f"{name} {reading['name']} {sorted(reading['labels'].items())}": reading["value"]
            for name, run in runs.items()
            for reading in run["readings"]
        },
    }


def _alike(one: Any, other: Any) -> bool:
    """Equal but for the last digits of numbers, which depend on how steps were cut into blocks."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def _watch(log: Path, kills: int) -> dict[str, Any]:
    """Publish everything to a service that is killed so many times on the way."""
    records = _all_records()
    with start_tansu() as tansu:
        broker = KafkaBroker(tansu.address)
        broker.create_topics(PARTITIONS)
        settings = {
            "checkpoint_seconds": "0.5",
            "view_seconds": "0.1",
            "idle_seconds": "1e12",
            "finished_seconds": "1e12",
        }
        with ServiceProcess(tansu.address, log, partitions=str(PARTITIONS), **settings) as service:
            done = 0
            for kill in range(1, kills + 1):
                _publish(broker, records[done : (done := kill * len(records) // (kills + 1))])
                wait_for(lambda: _restorable(service), "a checkpoint")
                service.kill()
                service.start()
            _publish(broker, records[done:])
            wait_for(lambda: _seen(service) == len(records), "all records being used")
            outcome = _outcome(service, broker)
        broker.close()
    return outcome


@pytest.mark.timeout(240)  # a killed member keeps its group waiting until its session times out
def test_a_service_killed_twice_tells_and_counts_the_same_as_one_that_was_not(tmp_path: Path) -> None:
    expected = _watch(tmp_path / "uninterrupted.log", kills=0)
    firing = [finding for finding in expected["told"] if finding["state"] == "firing" and finding["severity"] != "info"]
    found = {(finding["run"], finding["kind"]) for finding in firing}
    kinds = ("component_conflict", "diversity_collapse", "diversity_decline")
    assert found == {("collapsing", kind) for kind in kinds}

    outcome = _watch(tmp_path / "killed.log", kills=2)
    ids = [(finding["id"], finding["state"], finding["step"], finding["message"]) for finding in outcome["told"]]
    assert ids == [(f["id"], f["state"], f["step"], f["message"]) for f in expected["told"]]
    assert outcome["counts"] == expected["counts"]
    differing = {
        name: (outcome["readings"].get(name), value)
        for name, value in expected["readings"].items()
        if not _alike(outcome["readings"].get(name), value)
    }
    assert not differing
    assert outcome["readings"].keys() == expected["readings"].keys()
    assert _alike(outcome["told"], expected["told"])
