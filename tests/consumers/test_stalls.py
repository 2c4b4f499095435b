"""A run gone silent, by the clock and against its own pace."""

from __future__ import annotations

from consumers.fleet import Fleet
from consumers.snapshots import restore, snapshot
from consumers.stalls import stalls
from tests.consumers.builders import a_broker, a_fleet, decoded, make_end, make_steps, publish
from tests.consumers.outcomes import findings_on_topic
from tests.consumers.workers import a_worker, turn

HERE = {0}


def a_job(gap: float = 1.0, reports: int = 6) -> Fleet:
    """One that reported at even intervals, the last time at 1000 by this machine's clock."""
    fleet = a_fleet()
    fleet.take(decoded([make_steps("r", 4 * i, 4, seq=i, time=1000.0 + gap * i) for i in range(reports)]))
    fleet.runs["r"].told = 1000.0
    return fleet


def test_a_job_that_reports_every_second_has_stalled_after_five_minutes() -> None:
    fleet = a_job()
    assert stalls(fleet, 1300.0, HERE) == []
    (finding,) = stalls(fleet, 1301.0, HERE)
    assert (finding.id, finding.state, finding.value, finding.threshold) == (
        "r/train/stalled/-/23",
        "firing",
        301.0,
        300.0,
    )
    assert "nothing for 301 s since step 23 (train)" in finding.message
    assert stalls(fleet, 1302.0, HERE) == [], "told once"
    assert fleet.runs["r"].findings[finding.id] == finding


def test_a_slow_job_is_judged_by_its_own_pace() -> None:
    fleet = a_job(gap=200.0)
    assert stalls(fleet, 1900.0, HERE) == []
    (finding,) = stalls(fleet, 2001.0, HERE)
    assert finding.threshold == 1000.0


def test_a_report_and_an_end_resolve_it() -> None:
    for record in (make_steps("r", 24, 4, seq=6, time=1400.0), make_end("r", seq=6)):
        fleet = a_job()
        (began,) = stalls(fleet, 1400.0, HERE)
        fleet.take(decoded([record], first=6))
        fleet.runs["r"].told = 1400.0
        (ended,) = stalls(fleet, 1401.0, HERE)
        assert (ended.id, ended.state) == (began.id, "resolved")
        assert stalls(fleet, 1402.0, HERE) == []


def test_its_own_threshold_wins() -> None:
    fleet = a_job()
    fleet.defaults["stalled_seconds"] = 60.0
    assert len(stalls(fleet, 1061.0, HERE)) == 1


def test_nothing_is_judged_of_the_first_reports_and_while_records_wait() -> None:
    assert stalls(a_job(reports=3), 9e9, HERE) == []
    assert stalls(a_job(), 9e9, set()) == []


def test_a_stall_does_not_become_the_pace() -> None:
    fleet = a_job()
    fleet.take(decoded([make_steps("r", 24, 4, seq=6, time=1e6)], first=6))
    assert fleet.runs["r"].pace == 300.0


def test_a_snapshot_keeps_it() -> None:
    fleet, other = a_job(), a_fleet()
    stalls(fleet, 1400.0, HERE)
    restore(other, snapshot(fleet, [fleet.runs["r"]])[0])
    assert stalls(other, 1401.0, HERE) == []
    assert (other.runs["r"].pace, other.runs["r"].stalled) == (1.0, True)


def test_a_worker_tells_it_without_any_record() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 4 * i, 4, seq=i) for i in range(6)])
    clock = [5000.0]
    worker = a_worker(broker, wall=lambda: clock[0], view_every=0.0)
    with worker.connected() as loop:
        for _ in range(20):
            turn(worker, loop)
        clock[0] += 400.0
        turn(worker, loop)
        assert [f.kind for f in worker.view.findings["r"] if f.state == "firing"] == ["stalled"]


def test_a_stall_that_was_told_before_a_crash_is_not_told_again_and_is_resolved_under_its_id() -> None:
    broker = a_broker()
    publish(broker, [make_steps("r", 4 * i, 4, seq=i) for i in range(6)])
    clock = [5000.0]

    def work(turns: int = 20) -> None:
        """A worker that dies before its next checkpoint."""
        worker = a_worker(broker, wall=lambda: clock[0], view_every=0.0, checkpoint_every=1e9)
        with worker.connected() as loop:
            for _ in range(turns):
                turn(worker, loop)
            if clock[0] == 5000.0:
                worker.checkpoint(loop)
            clock[0] += 400.0
            turn(worker, loop)

    work()
    work()
    told = [finding[:2] for finding in findings_on_topic(broker)]
    assert told == [("r/train/stalled/-/23", "firing")]
    publish(broker, [make_steps("r", 24, 4, seq=6)])
    work()
    told = [finding[:2] for finding in findings_on_topic(broker)]
    assert told[:2] == [("r/train/stalled/-/23", "firing"), ("r/train/stalled/-/23", "resolved")]
