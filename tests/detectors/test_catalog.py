"""The catalog as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from detectors.catalog import CELLS, KINDS, THRESHOLDS
from detectors.cell import Rewinding

WIRE_KINDS = {
    *("non_finite", "spike", "divergence", "plateau", "oscillation", "stalled", "temporal_anomaly"),
    *("component_conflict", "component_dominates", "component_inert", "component_stagnates"),
    *("total_inconsistent", "aggregation_mismatch", "precision_mismatch", "log_variance_clamped"),
    *("component_at_floor", "expectation_missed", "loss_metric_decoupling", "overfitting", "erratic_validation"),
    *("diversity_decline", "diversity_collapse", "representation_collapse", "class_imbalance"),
    *("class_never_predicted", "label_space_mismatch", "slice_divergence", "sparse_coverage", "weak_proxy"),
    *("split_leakage", "over_capacity", "performance_collapse"),
}
"""The names that the wire reserves for findings; a detector takes one of them."""


def repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_no_two_detectors_share_a_name() -> None:
    assert not repeated(cell.name for cell in CELLS)
    assert not any("." in cell.name for cell in CELLS), "the snapshot puts a dot behind the name"


def test_no_two_kinds_thresholds_or_readings_share_a_name() -> None:
    assert not repeated(kind.name for cell in CELLS for kind in cell.kinds)
    assert not repeated(threshold.name for cell in CELLS for threshold in cell.thresholds)
    assert not repeated(reading.name for cell in CELLS for reading in cell.readings)


def test_every_kind_is_one_the_wire_knows() -> None:
    assert KINDS.keys() <= WIRE_KINDS


def test_evidence_is_read_by_the_cell_itself_or_by_one_before_it() -> None:
    read: dict[str, set[str]] = {}
    for cell in CELLS:
        known = read.setdefault(cell.stream, set())
        known |= {reading.name for reading in cell.readings}
        for kind in cell.kinds:
            assert {kind.value, *kind.evidence} <= known, kind.name
            assert kind.value in {reading.name for reading in cell.readings}, kind.name


def test_only_what_series_show_at_once_is_told_together() -> None:
    for cell in CELLS:
        for kind in cell.kinds:
            if kind.together is not None:
                assert (cell.stream, kind.confirm) == ("series", 1), kind.name
                assert kind.together in kind.evidence, kind.name


def test_what_a_cell_does_when_a_job_goes_back_is_done() -> None:
    for cell in CELLS:
        assert isinstance(cell, Rewinding) == hasattr(cell, "rewind"), cell.name


def test_thresholds_are_finite_numbers_with_a_sentence() -> None:
    for threshold in THRESHOLDS.values():
        assert threshold.default == float(threshold.default)
        assert abs(threshold.default) < 1e9
        assert threshold.help.endswith(".")
