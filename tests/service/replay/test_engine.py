from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from consumers.fleet import Fleet
from consumers.telemetry import Telemetry
from losswatch.encoding import encode
from losswatch.schema import Finding, Record, Steps
from service.replay.engine import Outcome, Replay
from service.replay.notes import Unreadable
from tests.consumers.builders import a_story, decoded, make_predictions, make_steps
from tests.service.replay.logs import ListedLog, opener


def stories(count: int) -> list[ListedLog]:
    """Logs of many lengths; every second one collapses."""
    return [
        ListedLog(Path(f"{n}.log"), a_story(f"run-{n}", collapse=n % 2 == 0, blocks=4 + 3 * n)) for n in range(count)
    ]


def replayed(
    logs: Sequence[ListedLog], at_once: int = 64, steps_a_turn: int = 512
) -> tuple[list[Outcome], list[Finding]]:
    told: list[Finding] = []
    replay = Replay(opener(*logs), at_once=at_once, steps_a_turn=steps_a_turn)
    return list(replay.results([log.path for log in logs], told.append)), told


def rows(records: Sequence[Record]) -> int:
    """Steps of all phases."""
    return sum(len(record.step) for record in records if isinstance(record, Steps))


def lines(findings: Sequence[Finding]) -> list[str]:
    """As on the wire, but for the last digits: sums over blocks of other shapes are added up in another order, some of
    them in float32."""
    rounded = (
        json.loads(encode(finding), parse_float=lambda text: float(f"{float(text):.4g}")) for finding in findings
    )
    return [json.dumps(fields) for fields in rounded]


def assert_same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    for one, other in zip(found, expected, strict=True):
        [run], [wanted] = one.runs, other.runs
        assert (run.run, run.judged, lines(run.findings)) == (wanted.run, wanted.judged, lines(wanted.findings))
        assert run.readings["train"] == pytest.approx(wanted.readings["train"])


def test_a_log_gives_the_findings_of_a_fleet_that_is_fed_the_same_records() -> None:
    story = a_story("ttt-42", blocks=12)
    fleet = Fleet(Telemetry())
    expected, _ = fleet.take(decoded(story))
    [outcome], told = replayed([ListedLog(Path("a.log"), story)])
    assert {finding.kind for finding in expected} >= {"non_finite", "diversity_collapse"}
    assert sorted(lines(told)) == sorted(lines(expected))
    assert [run.run for run in outcome.runs] == ["ttt-42"]


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_what_is_found_in_a_log_does_not_depend_on_the_others(at_once: int) -> None:
    logs = stories(7)
    expected = [replayed([log]) for log in logs]
    outcomes, told = replayed(logs, at_once)
    assert lines(told) == [line for _, findings in expected for line in lines(findings)]
    assert_same(outcomes, [alone for [alone], _ in expected])


@pytest.mark.parametrize("steps", [1, 16, 5000])
def test_what_is_found_does_not_depend_on_how_much_is_taken_at_a_time(steps: int) -> None:
    logs = stories(3)
    expected, told = replayed(logs)
    outcomes, others = replayed(logs, steps_a_turn=steps)
    assert sorted(lines(told)) == sorted(lines(others))
    assert_same(outcomes, expected)


def test_outcomes_come_in_the_order_of_the_files() -> None:
    logs = stories(5)[::-1]
    outcomes, told = replayed(logs, at_once=2)
    assert [outcome.path for outcome in outcomes] == [log.path for log in logs]
    runs = [finding.run for finding in told]
    assert sorted(set(runs), key=runs.index) == [log.run for log in logs if log.run in runs]


def test_an_unreadable_file_does_not_stop_the_others() -> None:
    log = ListedLog(Path("b.log"), a_story("b"))
    results = list(Replay(opener(log)).results([Path("a.log"), log.path]))
    assert isinstance(results[0].error, Unreadable)
    assert str(results[0].error) == "a.log:3: no number in column 'loss'"
    assert [run.run for run in results[1].runs] == ["b"]


def test_a_file_that_breaks_off_is_judged_up_to_there() -> None:
    broken = Unreadable(Path("a.log"), 90, "half a line")
    story = a_story("a")[:5]
    [outcome], _ = replayed([ListedLog(Path("a.log"), story, broken=broken)])
    assert outcome.error is broken
    assert outcome.runs[0].steps == rows(story) > 0


def test_a_fault_in_a_reader_costs_its_own_file_only(caplog: pytest.LogCaptureFixture) -> None:
    logs = [ListedLog(Path("a.log"), [], broken=ZeroDivisionError("oh")), ListedLog(Path("b.log"), a_story("b"))]
    (first, second), _ = replayed(logs)
    assert "a fault of losswatch: ZeroDivisionError: oh" in str(first.error)
    assert second.error is None
    assert "could not be read" in caplog.text


def test_runs_of_the_same_name_in_two_files_are_told_apart() -> None:
    logs = [ListedLog(Path(f"{n}.log"), a_story("same", blocks=3 + n)) for n in range(3)]
    outcomes, told = replayed(logs)
    assert [run.run for outcome in outcomes for run in outcome.runs] == ["same", "same (2)", "same (3)"]
    assert [run.steps for outcome in outcomes for run in outcome.runs] == [rows(log.given) for log in logs]
    assert {finding.run for finding in told} == {"same", "same (2)", "same (3)"}


def test_kinds_that_were_never_judged_are_known() -> None:
    [outcome], _ = replayed([ListedLog(Path("a.log"), [make_steps("a", 0, 3, seq=0)])])
    judged = outcome.runs[0].judged
    assert judged["component_conflict"] == 0
    assert judged["non_finite"] == 3
    assert "diversity_collapse" not in judged


def test_records_that_cannot_be_used_are_named() -> None:
    odd = make_predictions("a", 5, seq=1).model_copy(update={"values": np.full((2, 2), 9.0)})
    [outcome], _ = replayed([ListedLog(Path("a.log"), [make_steps("a", 0, 3, seq=0), odd])])
    [reason] = outcome.unusable
    assert "probabilities" in reason


def test_a_log_may_hold_many_runs() -> None:
    records = [record for pair in zip(a_story("a"), a_story("b"), strict=True) for record in pair]
    [outcome], told = replayed([ListedLog(Path("a.log"), records)])
    assert [run.run for run in outcome.runs] == ["a", "b"]
    _, alone = replayed([ListedLog(Path("b.log"), a_story("b"))])
    assert lines([finding for finding in told if finding.run == "b"]) == lines(alone)
