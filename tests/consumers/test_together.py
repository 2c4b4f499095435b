from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.decode import Decoded
from consumers.findings import MOST_NAMED
from consumers.fleet import Fleet
from consumers.snapshots import restore, snapshot
from losswatch.schema import Finding, Record, Steps
from tests.consumers.builders import a_fleet, decoded, make_predictions, make_start

STEPS = 320
JUMP = 30.0


def a_run(
    jumps: dict[int, Sequence[str]], names: Sequence[str] = "abc", every: dict[str, int] | None = None, length: int = 16
) -> list[Record]:
    """Metrics of a run; at some steps some of them jump, and some are reported every so many steps only."""
    noise = {name: np.random.default_rng([*name.encode()]).normal(1.0, 0.05, STEPS) for name in names}
    records: list[Record] = []
    for seq, first in enumerate(range(0, STEPS, length), start=1):
        step = np.arange(first, first + length)
        metrics: dict[str, list[float | None]] = {}
        for name in names:
            often = (every or {}).get(name, 1)
            metrics[name] = [
                None if at % often else float(noise[name][at]) * (JUMP if name in jumps.get(at, ()) else 1.0)
                for at in step.tolist()
            ]
        records.append(Steps(run="r", time=float(seq), session="s", seq=seq, step=step, metrics=metrics))
    return records


def of_kind(kind: str, fleet: Fleet, *batches: Sequence[Decoded]) -> list[Finding]:
    return [f for batch in batches for f in fleet.take(batch)[0] if f.kind == kind]


def anomalies(fleet: Fleet, *batches: Sequence[Decoded]) -> list[Finding]:
    return of_kind("temporal_anomaly", fleet, *batches)


def test_what_many_series_show_at_one_step_is_one_finding_about_the_most_anomalous() -> None:
    found = anomalies(a_fleet(), decoded(a_run({100: "abc"})))
    assert [finding.state for finding in found] == ["firing", "resolved"]
    begun, over = found
    scores = [begun.evidence["anomaly_score"], *(other.evidence["anomaly_score"] for other in begun.also)]
    assert scores == sorted(scores, reverse=True)
    assert {begun.subject, *(other.subject for other in begun.also)} == set("abc")
    assert begun.series == 3
    for other in begun.also:
        evidence = other.evidence
        assert evidence["anomaly_low"] < evidence["anomaly_expected"] < evidence["anomaly_high"] < evidence["value"]
        assert other.value is not None
        assert other.value >= 50_000
        assert f"{other.subject} (a spike)" in begun.message
    assert over.id == begun.id
    assert over.series == 3
    assert (
        over.message == f"{begun.subject} (train) and 2 other series have shown nothing unusual for a while (step 180)."
    )


def test_one_series_alone_is_told_as_before() -> None:
    begun, over = anomalies(a_fleet(), decoded(a_run({100: "b"})))
    assert (begun.subject, begun.also, begun.series) == ("b", [], 1)
    assert "At the same step" not in begun.message
    assert over.message == "b (train) has shown nothing unusual for a while (step 180)."


def test_other_steps_are_findings_of_their_own() -> None:
    found = anomalies(a_fleet(), decoded(a_run({100: "ab", 101: "c"})))
    assert [(f.began, f.state, f.series) for f in found] == [
        (100, "firing", 2),
        (101, "firing", 1),
        (100, "resolved", 2),
        (101, "resolved", 1),
    ]


def test_it_is_over_with_the_last_of_its_series() -> None:
    begun, over = anomalies(a_fleet(), decoded(a_run({100: "ab"}, every={"b": 2})))
    assert (begun.series, over.state, over.id) == (2, "resolved", begun.id)
    assert over.step == 100 + 2 * 80


def test_not_more_series_are_named_than_a_reader_can_use() -> None:
    names = [f"m{i:02}" for i in range(3 + MOST_NAMED)]
    begun, _ = anomalies(a_fleet(), decoded(a_run({100: names}, names)))
    assert len(begun.also) == MOST_NAMED
    assert begun.series == 3 + MOST_NAMED
    assert f"At the same step {2 + MOST_NAMED} other series changed, among them " in begun.message


def test_equal_series_are_told_in_the_order_of_what_they_are() -> None:
    metrics = a_run({100: "abc"})
    records = [
        record.model_copy(update={"total": record.metrics["b"], "components": {"d": record.metrics["b"]}})
        for record in metrics
        if isinstance(record, Steps)
    ]
    declared = make_start("r", metrics={"b": "lower"}, objective={"train": {"form": "sum"}})
    begun = anomalies(a_fleet(), decoded([declared, *records]))[0]
    named = [begun.subject, *(other.subject for other in begun.also)]
    assert [name for name in named if name in ("total", "b", "d")] == ["total", "d", "b"]


def losses(jumps: dict[int, Sequence[str]]) -> list[Record]:
    """Five losses and their total, of which some are far too high at some steps."""
    parts = [record for record in a_run(jumps, "abcde") if isinstance(record, Steps)]
    return [
        part.model_copy(
            update={"total": np.sum(list(part.metrics.values()), axis=0), "components": part.metrics, "metrics": {}}
        )
        for part in parts
    ]


def test_a_bad_batch_is_one_spike_in_all_losses_that_have_it() -> None:
    begun, over = of_kind("spike", a_fleet(), decoded(losses({100: "abcde"})))
    assert (begun.state, begun.series, over.state, over.series, over.id) == ("firing", 6, "resolved", 6, begun.id)
    assert {begun.subject, *(other.subject for other in begun.also)} == {"total", *"abcde"}
    scales = [begun.evidence["spike_noise_scales"], *(other.evidence["spike_noise_scales"] for other in begun.also)]
    assert scales == sorted(scales, reverse=True)
    named = ", ".join(f"{other.subject} ({other.evidence['spike_rise_ratio']:.0%})" for other in begun.also[:3])
    assert f"by step 100. At the same step 5 other series got worse, among them {named}. Look at" in begun.message
    assert over.message == f"{begun.subject} (train) and 5 other series are back at their levels since step 105."


def test_a_loss_that_spikes_again_while_the_others_come_back_is_a_finding_of_its_own() -> None:
    found = of_kind("spike", a_fleet(), decoded(losses({100: "abc", 103: "a", 106: "a"})))
    assert all(each.began == 100 for each in found if each.series > 1)
    begun = [each for each in found if each.state == "firing"]
    assert {each.id for each in begun} == {each.id for each in found if each.state == "resolved"}
    assert len({each.id for each in begun}) == len(begun)


def test_readings_of_predictions_at_the_same_step_are_a_finding_of_their_own() -> None:
    records = a_run({100: "ab"}, length=1)
    for step in range(STEPS):
        top = 0.6 + 0.01 * float(np.random.default_rng(step).normal())
        records.append(make_predictions("r", step, 0.9 if step == 100 else top, session=None, phase="train"))
    found = [f for f in anomalies(a_fleet(), decoded(records)) if f.began == 100 and f.state == "firing"]
    assert len(found) == 2
    of_steps, of_predictions = sorted(found, key=lambda f: f.subject in ("a", "b"), reverse=True)
    assert {of_steps.subject, *(o.subject for o in of_steps.also)} == {"a", "b"}
    assert "class_entropy_ratio" in {of_predictions.subject, *(o.subject for o in of_predictions.also)}


KINDS = ("temporal_anomaly", "spike")
RECORDS = decoded(
    [
        make_start("r", metrics=dict.fromkeys("abcd", "lower")),
        *a_run({100: "abc", 101: "d", 190: "ad", 200: "bc"}, "abcd", {"b": 2}, 10),
    ]
)


def told(fleet: Fleet, records: Sequence[Decoded]) -> list[Finding]:
    return [finding for finding in fleet.take(records)[0] if finding.kind in KINDS]


@pytest.fixture(scope="module")
def at_once() -> list[str]:
    found = told(a_fleet(), RECORDS)
    for kind in KINDS:
        states = {(f.state, f.series > 1) for f in found if f.kind == kind}
        assert {("firing", True), ("resolved", True), ("firing", False)} <= states
    return [f.model_dump_json(exclude={"evidence", "also", "value"}) for f in found]


@settings(max_examples=40, deadline=None)
@given(often=st.floats(0.0, 1.0), die=st.floats(0.0, 0.5), seed=st.integers(0, 2**32))
def test_neither_batches_nor_restarts_from_snapshots_change_the_findings(
    at_once: list[str], often: float, die: float, seed: int
) -> None:
    random = Random(seed)
    edges = [0, *(at for at in range(1, len(RECORDS)) if random.random() < often), len(RECORDS)]
    fleet, found = a_fleet(), list[Finding]()
    for start, stop in pairwise(edges):
        found += told(fleet, RECORDS[start:stop])
        if random.random() < die:
            (data,) = snapshot(fleet, list(fleet.runs.values()))
            fleet = a_fleet()
            restore(fleet, data)
    assert [f.model_dump_json(exclude={"evidence", "also", "value"}) for f in found] == at_once
    assert not fleet.runs["r"].together
