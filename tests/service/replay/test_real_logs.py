"""Other people's logs, which are not part of the project: every one of them, where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.replay_logs import FINDS, FOLDER, MOST_WARNED, Judged, judge, report

REACHED = {"nan": 1.0, "overfit": 0.5, "spikes": 0.7}
"""The part of the files with a label that is found at least; what is aimed at is in `scripts.replay_logs.TARGETS`."""
LOGS = Path(os.environ.get("LOSSWATCH_TEST_LOGS", FOLDER))
pytestmark = pytest.mark.skipif(
    not (LOGS / "manifest.csv").is_file(),
    reason=f"no labelled logs in {LOGS}; LOSSWATCH_TEST_LOGS names another folder. They are not ours to publish",
)


@pytest.fixture(scope="module")
def judged() -> Sequence[Judged]:
    return list(judge(LOGS))


def test_every_file_is_read(judged: Sequence[Judged]) -> None:
    assert [str(each.outcome.error) for each in judged if each.outcome.error is not None] == []
    assert [each.id for each in judged if not sum(run.steps for run in each.outcome.runs)] == []
    assert {reason for each in judged for reason in each.outcome.unusable} == set()


def test_no_healthy_run_is_called_critical(judged: Sequence[Judged]) -> None:
    assert [each.id for each in judged if each.healthy and any(f.severity == "critical" for f in each.fired)] == []


def test_few_healthy_runs_are_warned_of(judged: Sequence[Judged]) -> None:
    healthy = [each for each in judged if each.healthy]
    warned = [each.id for each in healthy if any(f.severity != "info" for f in each.fired)]
    assert len(warned) <= MOST_WARNED * len(healthy), warned


@pytest.mark.parametrize("label", REACHED)
def test_what_a_person_saw_is_found(judged: Sequence[Judged], label: str) -> None:
    having = [each for each in judged if label in each.labels]
    missed = [each.id for each in having if not each.found(label)]
    assert len(having) - len(missed) >= REACHED[label] * len(having), missed


def test_every_label_is_known_or_says_nothing_of_failure(judged: Sequence[Judged]) -> None:
    assert {label for each in judged for label in each.labels} - FINDS.keys() <= {"healthy", "lr-restart"}


def test_the_page_names_files_by_their_ids_only(judged: Sequence[Judged]) -> None:
    page = report(judged)
    assert str(LOGS) not in page
    assert all(each.outcome.path.name not in page for each in judged)
