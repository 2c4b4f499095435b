"""What a run declares about itself, judged before its first step."""

from __future__ import annotations

from typing import Any

from consumers.snapshots import restore, snapshot
from tests.consumers.builders import a_fleet, decoded, make_start

AT_FAULT: dict[str, Any] = {
    "split": {"train": (0.0, 100.0), "val": (50.0, 150.0), "test": (101.0, 200.0)},
    "precision": {"train": "bf16", "test": "fp32", "val": "bf16"},
    "parameters": 22_500_000,
    "samples": {"train": 3_000},
}
MENDED: dict[str, Any] = AT_FAULT | {
    "split": {"train": (0.0, 50.0), "val": (50.0, 150.0), "test": (101.0, 200.0)},
    "precision": {"train": "bf16", "test": "bf16"},
    "samples": {"train": 3_000_000},
}
FOUND = [("over_capacity", "train"), ("precision_mismatch", "test"), ("split_leakage", "val")]


def test_a_declaration_at_fault_is_told_at_run_start_and_a_mended_one_resolves_it() -> None:
    fleet = a_fleet()
    firing, _ = fleet.take(decoded([make_start("r", seq=0, **AT_FAULT)]))
    assert sorted((finding.kind, finding.phase) for finding in firing) == FOUND
    assert {finding.state for finding in firing} == {"firing"}
    said = {finding.kind: finding.message for finding in firing}
    assert "50.0% of the declared time range of val" in said["split_leakage"]
    assert "7,500 parameters for each sample" in said["over_capacity"]
    other = a_fleet()
    restore(other, snapshot(fleet, list(fleet.runs.values()))[0])
    resolved, _ = other.take(decoded([make_start("r", seq=1, **MENDED)], first=1))
    assert sorted((finding.kind, finding.phase) for finding in resolved) == FOUND
    assert {finding.state for finding in resolved} == {"resolved"}
    assert {finding.id for finding in resolved} == {finding.id for finding in firing}


def test_what_is_not_declared_is_not_judged() -> None:
    fleet = a_fleet()
    half: dict[str, Any] = {"split": {"val": (0.0, 1.0)}, "parameters": 10**9, "precision": {"val": "fp32"}}
    assert fleet.take(decoded([make_start("r", **half)])) == ([], [])
