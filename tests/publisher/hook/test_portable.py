"""What the hook does on every Python it supports: needs nothing but the hook and pytest.

`tests.publisher.hook.test_wheel` runs it with each of them; ``LOSSWATCH_TEST_BROKER`` names a broker, if there is one.
"""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

import losswatch
from losswatch.encoding import decode
from losswatch.headers import content_type
from losswatch.schema import Predictions, Record, RunEnd, Steps
from losswatch.transport import MemoryTransport

BROKER = os.environ.get("LOSSWATCH_TEST_BROKER", "")
OURS = os.environ.get("PYTHONPATH", "")


def records_of(transport: MemoryTransport) -> list[Record]:
    return [decode(sent.value, content_type(sent.headers)) for sent in transport.records]


def test_everything_reported_arrives_in_order() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport, metrics={"accuracy": "higher"}) as run:
        for step in range(1000):
            run.log(step, total=1.0 / (1 + step), components={"a": np.float32(0.5)}, metrics={"accuracy": None})
        run.predictions(0, [[0.25, 0.75]], labels=[1], embeddings=np.ones((1, 3)))
        run.log(1000, total=math.nan)
    records = records_of(transport)
    steps = [step for record in records if isinstance(record, Steps) for step in record.step.tolist()]
    (batch,) = [record for record in records if isinstance(record, Predictions)]
    assert steps == list(range(1001))
    assert np.asarray(batch.values).tolist() == [[0.25, 0.75]]
    assert {record.type for record in records} == {"run_start", "steps", "predictions", "run_end"}
    assert run.stats().published == 1002


def test_nothing_is_raised_into_the_job() -> None:
    absurd: Any = object()
    start: Any = losswatch.start
    run: Any = start("r", transport=MemoryTransport(), objective=absurd, nonsense=1)
    run.log(absurd, absurd, components=absurd, nonsense=absurd)
    run.predictions(absurd, absurd)
    run.reference(absurd)
    assert run.finish(error=absurd) is False
    assert run.stats().errors == 0
    assert not pickle.loads(pickle.dumps(run)).stats().connected


def test_an_exception_ends_the_run_as_failed_and_goes_on() -> None:
    transport = MemoryTransport()
    with pytest.raises(ZeroDivisionError), losswatch.start("r", transport=transport) as run:
        run.log(0, total=1 / 0)
    end = records_of(transport)[-1]
    assert isinstance(end, RunEnd)
    assert end.status == "failed"


def test_a_spool_survives_the_run(tmp_path: Any) -> None:
    run = losswatch.start("r", bootstrap_servers="127.0.0.1:1", spool=tmp_path)
    run.log(0, total=1.0)
    assert not run.finish(timeout=4.0)
    transport = MemoryTransport()
    losswatch.start("next", transport=transport, spool=tmp_path).finish()
    kept = [record for record in records_of(transport) if record.run == "r"]
    assert [record.type for record in kept] == ["run_start", "run_start", "steps", "run_end", "run_end"]


def test_the_import_brings_nothing_heavy() -> None:
    code = "import sys, losswatch; print({'numpy', 'pydantic', 'kafka', 'torch', 'msgpack'} & set(sys.modules))"
    environment = {"PYTHONPATH": OURS} if OURS else {}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


@pytest.mark.skipif(not BROKER, reason="no broker named by LOSSWATCH_TEST_BROKER")
def test_a_script_of_twenty_milliseconds_delivers_everything_at_exit() -> None:
    name = f"short-{sys.version_info.major}-{sys.version_info.minor}"
    code = f"import losswatch\nrun = losswatch.start({name!r})\nrun.log(0, total=1.0)"
    environment = {"LOSSWATCH_BOOTSTRAP_SERVERS": BROKER} | ({"PYTHONPATH": OURS} if OURS else {})
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 10
    assert delivered(name) >= {"run_start", "steps", "run_end"}


def delivered(run: str) -> set[str]:
    """The types of the run's records at the broker, as soon as the last one is there."""
    from kafka import KafkaConsumer

    types: set[str] = set()
    consumer = KafkaConsumer("losswatch.steps", bootstrap_servers=BROKER, auto_offset_reset="earliest", group_id=None)
    try:
        deadline = time.monotonic() + 20
        while "run_end" not in types and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=200).values():
                types |= {decode(m.value, content_type(m.headers)).type for m in messages if m.key == run.encode()}
    finally:
        consumer.close()
    return types
