from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from losswatch.fields import MAX_VALUES
from losswatch.schema import Finding, Predictions, Reference, RunStart, Steps

COMMON: dict[str, Any] = {"run": "r", "time": 0.0, "step": 1}
MATRIX = [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]
SUMMARY: dict[str, Any] = {"kind": "summary", "n": 3, "mean": [0.5, 0.5], "counts": [2, 1]}


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_probabilities_and_logits_are_matrices(kind: str) -> None:
    record = Predictions(**COMMON, kind=kind, values=MATRIX)
    assert isinstance(record.values, np.ndarray)
    assert record.values.shape == (3, 2)


def test_classes_are_an_array_where_all_are_whole_numbers_and_else_a_list() -> None:
    for values in ([0, 1, 0], np.array([0, 1, 0]), {"d": "|u1", "s": [3], "b": b"\x00\x01\x00"}):
        record = Predictions(**COMMON, kind="classes", values=values, labels=values)
        for found in (record.values, record.labels):
            assert isinstance(found, np.ndarray)
            assert (found.dtype.str, found.tolist()) == ("<i8", [0, 1, 0])
    assert Predictions(**COMMON, kind="classes", values=[0, "a", 0]).values == [0, "a", 0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_keep_the_float_type_that_they_were_sent_in(dtype: type[np.floating[Any]]) -> None:
    values = np.array([[0.25, 0.75]], dtype=dtype)
    sent = {"d": values.dtype.str, "s": [1, 2], "b": values.tobytes()}
    found = Predictions(**COMMON, kind="probabilities", values=sent).values
    assert isinstance(found, np.ndarray)
    assert (found.dtype.str, found.tolist()) == (values.dtype.str, [[0.25, 0.75]])


def test_a_summary_holds_one_mean_and_one_count_per_class() -> None:
    record = Predictions(**COMMON, **SUMMARY)
    assert record.values is None
    assert record.mean is not None
    assert record.counts is not None
    assert record.counts.dtype == np.int64


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"kind": "probabilities"}, "values are missing"),
        ({"kind": "logits", "values": None}, "expected an array of numbers, found null"),
        ({"kind": "logits", "values": []}, "expected 1 to"),
        ({"kind": "logits", "values": [[], []]}, "expected 1 to"),
        ({"kind": "logits", "values": [[1.0], [2.0]]}, "at least 2 classes"),
        ({"kind": "logits", "values": [1.0, 2.0]}, "rows"),
        ({"kind": "logits", "values": [[1.0, 2.0], [1.0]]}, "rows of one length, found 1 to 2"),
        ({"kind": "logits", "values": [[1.0, None]]}, "expected numbers, found null"),
        ({"kind": "logits", "values": [[1.0, True]]}, "expected numbers, found true/false"),
        ({"kind": "classes", "values": []}, "at least one label"),
        ({"kind": "classes", "values": MATRIX}, "found a list"),
        ({"kind": "classes", "values": [True]}, "found true/false"),
        ({"kind": "classes", "values": [1.0]}, "found 1"),
        ({"kind": "classes", "values": [2**64]}, "64 bits"),
        ({"kind": "classes", "values": ["x" * 201]}, "at most 200 characters"),
        ({"kind": "classes", "values": "abc"}, "expected a list"),
        (SUMMARY | {"values": MATRIX}, "found a list"),
        (SUMMARY | {"values": []}, "at least one label"),
        (SUMMARY | {"values": [0, 1], "confidence": [0.5]}, "confidence has 1 entries for 2 samples"),
        (SUMMARY | {"values": [0, 1], "labels": [0, 1, 1]}, "labels has 3 entries for 2 samples"),
        (SUMMARY | {"n": None}, "needs n, mean and counts"),
        (SUMMARY | {"n": 0}, "greater than or equal to 1"),
        (SUMMARY | {"counts": [1, 1, 1]}, "as many in both"),
        (SUMMARY | {"mean": [1.0], "counts": [3]}, "2 or more"),
        (SUMMARY | {"counts": [-1, 4]}, "whole numbers from 0"),
        ({"kind": "unheard of", "values": MATRIX}, "kind"),
        ({"values": MATRIX}, "values need a kind"),
        ({}, "kind is missing; without one embeddings, features or errors are needed"),
        ({"labels": [1, 2], "targets": {"a": [1.0, 2.0]}}, "kind is missing"),
        ({"features": MATRIX, "errors": {"a": [1.0, 2.0]}}, "errors.a has 2 entries for 3 samples"),
        ({"kind": "classes", "values": [1], "step": -1}, "step"),
        ({"kind": "classes", "values": [1], "step": True}, "step"),
    ],
)
def test_predictions_that_do_not_fit_their_kind_are_refused(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Predictions(**(COMMON | fields))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("labels", [0, 1]),
        ("slices", ["a", None]),
        ("embeddings", [[1.0], [2.0]]),
        ("features", [[1.0], [2.0]]),
        ("errors", {"curve": [1.0, 2.0]}),
        ("targets", {"curve": [1.0, 2.0]}),
    ],
)
@pytest.mark.parametrize("kind", [{"kind": "logits", "values": MATRIX}, SUMMARY])
def test_what_comes_per_sample_has_one_entry_per_sample(kind: dict[str, Any], name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"has 2 entries for 3 samples"):
        Predictions(**COMMON, **kind, **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [("slices", ["a"], "slices"), ("labels", [1], "labels"), ("targets", {"y": [1.0]}, r"targets\.y")],
)
def test_a_reference_has_one_of_each_per_sample(name: str, value: Any, where: str) -> None:
    with pytest.raises(ValueError, match=f"{where} has 1 entries for 2 samples"):
        Reference(run="r", time=0.0, features=[[1.0], [2.0]], **{name: value})


@pytest.mark.parametrize("fields", [{"features": MATRIX}, {"embeddings": MATRIX}, {"errors": {"a": [1.0, 2.0, 3.0]}}])
def test_a_model_that_predicts_no_classes_sends_what_it_has(fields: dict[str, Any]) -> None:
    record = Predictions(**COMMON, **fields, targets={"a": [0.0, 1.0, 2.0]})
    assert (record.kind, record.values, record.size) == (None, None, 3)


def test_a_matrix_beyond_the_cap_is_refused() -> None:
    with pytest.raises(ValueError, match=f"expected 1 to {MAX_VALUES} numbers"):
        Reference(run="r", time=0.0, features=np.zeros((MAX_VALUES + 1, 1), dtype=np.uint8))


def test_features_and_embeddings_need_not_be_finite() -> None:
    record = Reference(run="r", time=0.0, features=[[float("nan")], ["-Infinity"]])
    assert repr(record.features.tolist()) == "[[nan], [-inf]]"


@pytest.mark.parametrize("name", ['"', "\n", "\x00", "{}", "\u202e", "\U0001f600", "a/b c"])
def test_any_character_is_legal_in_a_name(name: str) -> None:
    record = Steps(run=name, time=0.0, phase=name, step=[1], components={name: [0.5]})
    assert list(record.components) == [name]


def test_numbers_are_not_taken_from_text_or_truth_values() -> None:
    for fields in (
        {"thresholds": {"x": "0.5"}},
        {"thresholds": {"x": True}},
        {"parameters": 1.5},
        {"samples": {"x": "1"}},
    ):
        with pytest.raises(ValueError, match="should be a valid"):
            RunStart(run="r", time=0.0, **fields)


def test_nan_as_a_word_is_a_number() -> None:
    assert repr(RunStart(run="r", time=0.0, thresholds={"x": "-Infinity"}).thresholds) == "{'x': -inf}"


def test_a_finding_says_what_it_does_not_know() -> None:
    fields = dict.fromkeys(Finding.model_fields, None)
    with pytest.raises(ValueError, match="subject\n  Field required"):
        Finding(**{name: value for name, value in fields.items() if name != "subject"})
