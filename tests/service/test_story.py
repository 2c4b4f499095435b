from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from service.cases import ADVISED, CASES, COLLAPSING, HEALTHY
from service.story import Narrator, describe, kinds_fired


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "id": "tta-collapsing/test/diversity_collapse/-/83",
        "run": "tta-collapsing",
        "kind": "diversity_collapse",
        "subject": None,
        "severity": "critical",
        "state": "firing",
        "began": 83,
        "confirmed": 87,
        "step": 87,
        "message": "Class entropy fell to 0.83 [floor 0.85].",
        "advice": {"action": "set_weight", "component": "diversity", "value": 17.1},
    } | changes


def step(number: int, **changes: float) -> dict[str, float]:
    return {"step": number, "total": 1.2, "class_entropy": 0.97, "accuracy": 0.8, "weight": 0.1} | changes


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def narrator(output: io.StringIO) -> Narrator:
    return Narrator(Console(file=output, width=80))


def test_the_collapsing_run_must_have_all_its_findings() -> None:
    assert COLLAPSING.misjudged(set(COLLAPSING.must_fire)) == []
    assert COLLAPSING.misjudged(COLLAPSING.must_fire - {"diversity_collapse"}) == [
        "tta-collapsing: diversity_collapse should have fired but did not"
    ]


def test_a_finding_on_the_healthy_run_is_a_fault() -> None:
    assert HEALTHY.misjudged(set()) == []
    assert HEALTHY.misjudged({"non_finite"}) == ["tta-healthy: non_finite fired but should not have"]


def test_the_advised_run_may_be_warned_but_must_not_collapse() -> None:
    assert ADVISED.misjudged({"diversity_decline"}) == []
    assert ADVISED.misjudged({"diversity_decline", "component_conflict"}) == []
    assert ADVISED.misjudged({"diversity_decline", "diversity_collapse"}) != []
    assert ADVISED.misjudged(set()) != []


def test_a_resolved_finding_has_fired_and_a_pending_one_has_not() -> None:
    findings = [
        finding(kind="diversity_decline", state="resolved"),
        finding(kind="component_conflict", state="pending", confirmed=None),
        finding(run="another"),
    ]
    assert kinds_fired(findings, "tta-collapsing") == {"diversity_decline"}


def test_a_finding_is_told_with_its_steps_its_message_and_its_advice(narrator: Narrator, output: io.StringIO) -> None:
    narrator.findings([finding()])
    assert output.getvalue() == (
        "CRITICAL diversity_collapse tta-collapsing began at step 83, confirmed at step 87: Class entropy fell to 0.83 "
        "[floor 0.85]. Advice: set the weight of diversity to 17.10.\n"
    )


def test_a_resolved_finding_is_told_as_such() -> None:
    told = describe(finding(state="resolved", step=200, subject="diversity", advice=None))
    assert told.startswith("[green]RESOLVED[/] [bold]tta-collapsing[/] diversity_collapse (diversity) at step 200")


def test_the_advice_to_stop_is_told() -> None:
    told = describe(finding(advice={"action": "stop", "component": None, "value": None}))
    assert told.endswith("[bold]Advice: stop the job.[/]")


def test_every_state_of_a_finding_is_told_once_and_a_pending_one_never(narrator: Narrator, output: io.StringIO) -> None:
    pending, firing = finding(state="pending", confirmed=None, step=83), finding()
    resolved = finding(state="resolved", step=240)
    for findings in ([pending], [firing], [firing], [resolved], [resolved]):
        narrator.findings(findings)
    assert [line.split()[0] for line in output.getvalue().splitlines()] == ["CRITICAL", "RESOLVED"]


def test_progress_is_told_every_fifty_steps_once(narrator: Narrator, output: io.StringIO) -> None:
    course = [step(number) for number in range(120)]
    narrator.progress(CASES[0], "tta-collapsing", course[:60])
    narrator.progress(CASES[0], "tta-collapsing", course)
    assert [line.split()[2] for line in output.getvalue().splitlines()] == ["0", "50", "100"]
    assert "class entropy 0.97   accuracy 80.0%" in output.getvalue()


def test_the_summary_shows_how_each_job_went(narrator: Narrator, output: io.StringIO) -> None:
    courses = {COLLAPSING: [step(0), step(299, accuracy=0.115)], HEALTHY: [step(0), step(299, accuracy=0.848)]}
    narrator.summary(CASES[0], courses, [finding()])
    text = output.getvalue()
    assert "80.0% -> 11.5%" in text
    assert "80.0% -> 84.8%" in text
    assert "diversity_collapse" in text
    assert "none" in text


def test_a_case_is_introduced_with_what_must_and_must_not_be_found(narrator: Narrator, output: io.StringIO) -> None:
    narrator.introduce(CASES[1], CASES[1].parts)
    assert "uw-averaged: the test takes the mean; must fire: aggregation_mismatch\n" in output.getvalue()
    assert "uw-alike: the test calls the objective; nothing must fire\n" in output.getvalue()


def test_every_case_has_a_job_in_which_nothing_may_be_found() -> None:
    assert "".join(case.letter for case in CASES) == "abcde"
    for case in CASES:
        assert [bool(part.must_fire | part.may_fire) for part in case.parts] == [True, False]
