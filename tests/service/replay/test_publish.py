from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from consumers.fleet import Fleet
from consumers.kafka import KafkaBroker
from consumers.source import Slot
from consumers.telemetry import Telemetry
from consumers.worker import Policy, Worker
from losswatch.encoding import MSGPACK, decode, encode
from losswatch.schema import Finding, Record, Steps
from losswatch.topics import FINDINGS, PREDICTIONS, STEPS
from losswatch.transport import MemoryTransport, Refused, Sent
from service.cli import app
from service.replay.publish import Due, Published, at_once, paced, publish
from tests.brokers import start_tansu
from tests.consumers.builders import a_fleet, a_story, decoded, make_steps
from tests.service.replay.logs import write_log

PARTITIONS = 2


class Wall:
    """A clock that moves when somebody sleeps, by what they slept."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def published(due: Iterator[Due]) -> tuple[list[tuple[str, Record]], list[float], Published]:
    """Topic and record of everything that was sent, when it was, and the final counts."""
    wall, times = Wall(), list[float]()
    records: list[tuple[str, Record]] = []

    def receive(sent: Sent) -> None:
        records.append((sent.topic, decode(sent.value, MSGPACK)))
        times.append(wall.now)

    *_, done = publish(due, MemoryTransport(receive), wall, wall.sleep)
    return records, times, done


def steps_of(sent: Sequence[tuple[str, Record]]) -> list[Steps]:
    return [record for _, record in sent if isinstance(record, Steps)]


def test_at_once_everything_is_sent_as_it_is_to_its_topics() -> None:
    story = a_story("a")
    sent, times, done = published(at_once([story]))
    assert [topic for topic, _ in sent[:3]] == [STEPS, PREDICTIONS, STEPS]
    assert {encode(r.model_copy(update={"session": "s"})) for _, r in sent} == set(map(encode, story))
    assert len({record.session for _, record in sent} | {"s"}) == 2
    assert set(times) == {5000.0}
    assert (done.records, done.refused, done.runs) == (len(story) + 2, 0, {"a"})


def test_at_its_own_pace_every_second_of_the_log_takes_as_long() -> None:
    record = make_steps("a", 0, 40, seq=0, at=1e9 + 0.5 * np.arange(40))
    sent, times, _ = published(paced([[record]], 1.0))
    pieces = steps_of(sent)
    assert times[-1] - 5000.0 == pytest.approx(19.5)
    assert max(len(piece.step) for piece in pieces) == 2
    np.testing.assert_array_equal(np.concatenate([piece.step for piece in pieces]), record.step)
    np.testing.assert_array_equal(np.concatenate([piece.total for piece in pieces]), record.total)
    assert [piece.time for piece in pieces] == pytest.approx(times)
    at = np.concatenate([piece.at for piece in pieces if piece.at is not None])
    np.testing.assert_allclose(at, 5000.0 + 0.5 * np.arange(40))


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 64.0), (16.0, 4.0)])
def test_a_log_without_times_goes_by_rows(speed: float, seconds: float) -> None:
    sent, times, _ = published(paced([[make_steps("a", 0, 64, seq=0)]], speed))
    assert times[-1] - 5000.0 == pytest.approx(seconds)
    assert len(steps_of(sent)) == pytest.approx(seconds, abs=1)


def test_logs_are_published_side_by_side() -> None:
    logs = [[make_steps(run, 0, 8, seq=0)] for run in ("a", "b")]
    sent, _, _ = published(paced(logs, 1.0))
    assert [record.run for record in steps_of(sent)][:4] == ["a", "b", "a", "b"]


def test_paced_records_are_numbered_without_gaps_and_repeats_are_left_out() -> None:
    story = a_story("a")
    sent, _, _ = published(paced([[*story, *story[2:5]]], 10.0))
    numbers = dict.fromkeys(record.seq for _, record in sent)
    assert list(numbers) == list(range(len(numbers)))


@pytest.mark.parametrize("speed", [0.0, 7.0])
def test_what_is_found_in_what_was_published_is_what_is_in_the_log(speed: float) -> None:
    story = a_story("a", blocks=14)
    sent, _, _ = published(paced([story], speed) if speed else at_once([story]))
    found = {(f.kind, f.phase, f.subject, f.state, f.step) for f in a_fleet().take(decoded(story))[0]}
    unique = {(record.type, record.seq): record for _, record in sent}
    again = {(f.kind, f.phase, f.subject, f.state, f.step) for f in a_fleet().take(decoded(unique.values()))[0]}
    assert again == found


def test_a_second_publication_is_no_duplicate_of_the_first() -> None:
    fleet = a_fleet()
    for _ in range(2):
        sent, _, _ = published(at_once([[make_steps("a", 0, 8, seq=0)]]))
        fleet.take(decoded([record for _, record in sent]))
    assert fleet.runs["a"].duplicates == 0


def test_what_the_broker_refuses_is_counted() -> None:
    def refuse(sent: Sent) -> None:
        raise Refused("too large")

    *_, done = publish(at_once([[make_steps("a", 0, 8, seq=0)]]), MemoryTransport(refuse), Wall(), lambda _: None)
    assert done.refused == 1


def rounded(finding: Finding) -> str:
    """Every field; numbers but for their last digits, as sums over other blocks are added up in another order."""
    fields = json.loads(encode(finding), parse_float=lambda text: round(float(text), 9))
    return json.dumps(fields, sort_keys=True)


def live_findings(address: str, runs: int, limit: float = 60.0) -> list[Finding]:
    """What a worker tells about everything that is in the broker."""
    broker = KafkaBroker(address, session_timeout=6.0)
    worker = Worker(broker, Fleet(Telemetry()), Policy(poll_timeout=0.1, checkpoint_every=1e9, view_every=0.0))
    deadline = time.monotonic() + limit
    with worker.connected() as loop:
        while time.monotonic() < deadline:
            worker.turn(loop)
            ended = [run for run in worker.view.runs.values() if run.status == "finished"]
            if len(ended) == runs and not any(worker.telemetry.lag.values()):
                break
        else:
            raise AssertionError(f"not done after {limit:.0f} s: {worker.telemetry.status}, {worker.telemetry.lag}")
        loop.outbox.flush(10.0)
        told = [message for partition in range(PARTITIONS) for message in broker.read(Slot(FINDINGS, partition))]
    broker.close()
    records = [decode(message.value, accept=(Finding,)) for message in told]
    return [record for record in records if isinstance(record, Finding)]


def test_a_replay_equals_a_live_worker_to_the_last_finding(tmp_path: Path) -> None:
    logs = [
        write_log(tmp_path / f"{run}.jsonl", a_story(run, blocks=blocks, collapse=blocks > 8))
        for run, blocks in (("ttt-42", 30), ("short", 8))
    ]
    files = list(map(str, logs))
    run = CliRunner().invoke
    replayed = [
        decode(line.encode(), accept=(Finding,)) for line in run(app, ["replay", *files, "--json"]).stdout.splitlines()
    ]
    with start_tansu() as tansu:
        KafkaBroker(tansu.address).create_topics(PARTITIONS)
        result = run(app, ["replay", *files, "--to-kafka", "--bootstrap-servers", tansu.address])
        assert (result.exit_code, result.stderr) == (0, "")
        assert "records of 2 runs were published" in result.stdout
        live = live_findings(tansu.address, runs=2)
    assert len(live) >= 8
    assert sorted(map(rounded, live)) == sorted(rounded(f) for f in replayed if isinstance(f, Finding))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to-kafka"], "Publish to which Kafka?"),
        (["--to-kafka", "--json"], "each do one thing instead of judging"),
        (["--speed", "3"], "add --to-kafka"),
        (["--to-kafka", "--bootstrap-servers", "127.0.0.1:1"], "Not everything was published to 127.0.0.1:1"),
    ],
    ids=["nowhere", "both", "pace", "away"],
)
def test_what_cannot_be_published_is_said_plainly(tmp_path: Path, options: list[str], words: str) -> None:
    log = write_log(tmp_path / "a.jsonl", a_story("a"))
    result = CliRunner().invoke(app, ["replay", str(log), *options], env={"LOSSWATCH_BOOTSTRAP_SERVERS": ""})
    assert result.exit_code == 2
    assert words in result.output
