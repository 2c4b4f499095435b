"""Running, silent or lost: what heartbeats tell of a job, and what their absence does."""

from __future__ import annotations

from consumers.fleet import Fleet
from consumers.picture import Painter
from consumers.snapshots import restore, snapshot
from losswatch.schema import Heartbeat
from tests.consumers.builders import a_broker, a_fleet, decoded, make_end, make_start, make_steps, publish
from tests.consumers.workers import a_worker, turn


def beat(seq: int, time: float = 1000.0, every: float = 10.0) -> Heartbeat:
    return Heartbeat(run="r", session="s", seq=seq, time=time, every=every)


def status(fleet: Fleet, now: float, caught_up: set[int] | None = None) -> str:
    return Painter(fleet, silent_after=300.0, lost_after=60.0).paint(now, caught_up).runs["r"].status


def heard(fleet: Fleet, any_record: float, more_than_a_beat: float) -> Fleet:
    fleet.runs["r"].heard, fleet.runs["r"].told = any_record, more_than_a_beat
    return fleet


def test_a_run_whose_heartbeats_stop_is_lost_and_one_that_only_beats_is_silent() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_start("r"), make_steps("r", 0, 4, seq=1), beat(2)]))
    assert status(heard(fleet, 1000.0, 1000.0), 1059.0) == "running"
    assert status(fleet, 1061.0) == "lost"
    assert status(heard(fleet, 1400.0, 1000.0), 1401.0) == "silent"


def test_a_run_that_never_sent_a_heartbeat_cannot_be_lost() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 4, seq=1)]))
    assert status(heard(fleet, 1000.0, 1000.0), 1200.0) == "running"
    assert status(fleet, 1301.0) == "silent"


def test_a_job_that_beats_slowly_may_miss_two_beats() -> None:
    fleet = a_fleet()
    fleet.take(decoded([beat(0, every=60.0)]))
    assert status(heard(fleet, 1000.0, 1000.0), 1179.0) == "running"
    assert status(fleet, 1181.0) == "lost"


def test_no_run_is_lost_while_its_partition_has_records_to_be_read() -> None:
    fleet = a_fleet()
    fleet.take(decoded([beat(0)]))
    assert status(heard(fleet, 1000.0, 1000.0), 1100.0, caught_up=set()) == "running"
    assert status(fleet, 1100.0, caught_up={0}) == "lost"


def test_a_run_that_ended_is_neither() -> None:
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 0, 4, seq=0), beat(1), make_end("r", seq=2)]))
    assert status(heard(fleet, 1000.0, 1000.0), 9000.0) == "finished"


def test_a_heartbeat_is_no_gap_and_its_drops_are_counted() -> None:
    fleet = a_fleet()
    late = beat(1)
    late.dropped = {"steps_buffer_full": 64}
    fleet.take(decoded([make_steps("r", 0, 4, seq=0), late, make_steps("r", 4, 4, seq=2)]))
    view = Painter(fleet, 300.0).paint(1000.0).runs["r"]
    assert (view.gaps, view.steps_seen, view.records) == (0, 8, 3)
    assert view.dropped == {"steps_buffer_full": 64}


def test_signs_of_life_survive_a_restart() -> None:
    fleet, other = a_fleet(), a_fleet()
    fleet.take(decoded([make_steps("r", 0, 4, seq=0), beat(1)]))
    heard(fleet, 1000.0, 990.0)
    run = restore(other, snapshot(fleet, [fleet.runs["r"]])[0])
    assert (run.heard, run.told, run.beats_every) == (1000.0, 990.0, 10.0)


def test_a_worker_tells_heartbeats_from_reports() -> None:
    wall = [3000.0]
    broker = a_broker()
    publish(broker, [make_steps("r", 0, 4, seq=0)])
    worker = a_worker(broker, wall=lambda: wall[0], view_every=0.0, silent_after=300.0, lost_after=60.0)
    with worker.connected() as loop:
        turn(worker, loop)
        for seq in range(1, 40):
            wall[0] += 10.0
            publish(broker, [beat(seq)])
            turn(worker, loop, 2)
        assert worker.view.runs["r"].status == "silent"
        wall[0] += 61.0
        turn(worker, loop)
        assert worker.view.runs["r"].status == "lost"
        publish(broker, [make_steps("r", 4, 4, seq=40)])
        turn(worker, loop)
        assert worker.view.runs["r"].status == "running"
