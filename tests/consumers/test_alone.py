"""Losses of a phase that reports no total."""

from __future__ import annotations

import numpy as np
import pytest

from consumers.runs import SeriesKey
from consumers.snapshots import restore, snapshot
from losswatch.schema import Steps
from tests.consumers.builders import a_fleet, decoded, make_steps


def two_losses(first: int, *, seq: int, total: bool = False) -> Steps:
    """40 steps of a game that one of two networks wins after 60: its opponent's loss rises."""
    step = np.arange(first, first + 40)
    losing = np.where(step < 60, 0.7 + 0.01 * np.sin(step), 0.7 * np.exp((step - 60) / 40))
    parts = {"winner": 1.4 / (1 + step / 50), "loser": losing}
    made = make_steps(
        "r", first, 40, seq=seq, components=0, metrics={}, total=parts["winner"] + losing if total else None
    )
    return made.model_copy(update={"components": parts})


@pytest.mark.parametrize("at_once", [True, False])
def test_each_of_them_is_judged_for_divergence(at_once: bool) -> None:
    fleet = a_fleet()
    records = decoded([two_losses(40 * i, seq=i) for i in range(5)])
    batches = [records] if at_once else [[record] for record in records]
    found = [finding for batch in batches for finding in fleet.take(batch)[0] if finding.kind == "divergence"]
    assert [(finding.subject, finding.state) for finding in found if finding.state == "firing"] == [("loser", "firing")]


@pytest.mark.parametrize("at_once", [True, False])
def test_none_of_them_is_judged_any_more_once_there_is_a_total(at_once: bool) -> None:
    fleet = a_fleet()
    records = decoded([two_losses(40 * i, seq=i, total=i > 0) for i in range(5)])
    for batch in [records] if at_once else [[record] for record in records]:
        assert not [finding for finding in fleet.take(batch)[0] if finding.subject == "loser"]
    row = fleet.runs["r"].series[SeriesKey("train", "component", "loser")]
    assert fleet.rows.pool("series").state["fact.alone"][row].item() == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_what_was_found_in_one_of_them_is_resolved_by_the_first_totals(at_once: bool) -> None:
    fleet = a_fleet()
    records = decoded([two_losses(40 * i, seq=i, total=i > 3) for i in range(6)])
    batches = [records] if at_once else [[record] for record in records]
    found = [finding for batch in batches for finding in fleet.take(batch)[0] if finding.kind == "divergence"]
    begun, over = (next(f for f in found if (f.subject, f.state) == ("loser", s)) for s in ("firing", "resolved"))
    assert begun.step < 160
    assert (over.id, over.step, over.value) == (begun.id, 160 + 19, None)
    assert over.message == "loser (train) is no longer judged by itself, at step 179: the total of its phase is."
    assert not [finding for finding in found if finding.subject == "loser" and finding.step > over.step]


def test_a_restored_run_knows_that_it_has_no_total() -> None:
    fleet, other = a_fleet(), a_fleet()
    fleet.take(decoded([two_losses(0, seq=0)]))
    run = restore(other, snapshot(fleet, [fleet.runs["r"]])[0])
    row = run.series[SeriesKey("train", "component", "loser")]
    assert other.rows.pool("series").state["fact.alone"][row].item() == 1
