"""Any record that a publisher may send, for Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from losswatch.schema import (
    Advice,
    Expectation,
    Finding,
    Heartbeat,
    Objective,
    Predictions,
    Record,
    Reference,
    RunEnd,
    RunStart,
    Steps,
)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
numbers = st.floats(allow_nan=True, allow_infinity=True)
wholes = st.integers(0, 2**53 - 1)
labels = st.integers(-(2**63), 2**63 - 1) | names


def named(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, values, max_size=3)


def series(size: int) -> st.SearchStrategy[Any]:
    """Values with null, NaN and infinities among them, or a numpy array, or nothing but floats of 32 bits."""
    lists = st.lists(numbers | st.none(), min_size=size, max_size=size)
    return lists | npst.arrays(np.float64, size) | npst.arrays(np.float32, size)


def rows(count: int, least: int = 1) -> st.SearchStrategy[Any]:
    return st.integers(least, 4).flatmap(lambda width: npst.arrays(np.float64, (count, width)))


def listed(values: st.SearchStrategy[Any], size: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=size, max_size=size)


common = st.fixed_dictionaries(
    {"run": names, "time": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"session": names, "seq": wholes, "dropped": named(wholes)},
)


def _record(model: type[Record], fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Record]:
    return st.tuples(common, fields).map(lambda parts: model(**parts[0], **parts[1]))


objectives = st.builds(
    Objective,
    form=st.sampled_from(["sum", "mean", "weighted_sum", "kendall", "ratio"]),
    weights=named(numbers),
    variant=st.sampled_from(["half", "full", "half_log"]),
    scale=numbers,
)
run_starts = _record(
    RunStart,
    st.fixed_dictionaries(
        {},
        optional={
            "job": names,
            "labels": named(names),
            "objective": named(objectives),
            "metrics": named(st.sampled_from(["higher", "lower"])),
            "classes": st.lists(labels, max_size=3),
            "split": named(st.tuples(numbers, numbers)),
            "parameters": wholes,
            "thresholds": named(numbers),
            "expect": st.lists(st.builds(Expectation, series=names, low=numbers | st.none()), max_size=2),
        },
    ),
)


@st.composite
def _steps(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 5))
    optional = {
        "at": series(size),
        "total": series(size),
        "components": named(series(size)),
        "weights": named(series(size)),
        "metrics": named(series(size)),
        "slices": named(named(series(size))),
        "checkpoint": listed(names | st.none(), size),
    }
    return draw(st.fixed_dictionaries({"step": listed(wholes, size), "phase": names}, optional=optional))


@st.composite
def _predictions(draw: st.DrawFn) -> dict[str, Any]:
    size = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["probabilities", "logits", "classes", "summary", None]))
    needed: dict[str, Any] = {"step": wholes, "kind": st.just(kind)}
    if kind is None:
        needed["features"] = rows(size)
    elif kind == "summary":
        classes = draw(st.integers(2, 4))
        needed |= {"n": st.just(size), "mean": series(classes), "counts": listed(wholes, classes)}
        needed |= {"values": st.none() | listed(labels, size), "confidence": st.none() | series(size)}
    else:
        needed["values"] = listed(labels, size) if kind == "classes" else rows(size, least=2)
    optional = {
        "labels": listed(labels, size),
        "slices": listed(names | st.none(), size),
        "embeddings": rows(size),
        "errors": named(series(size)),
        "targets": named(series(size)),
    }
    return draw(st.fixed_dictionaries(needed, optional=optional))


findings = _record(
    Finding,
    st.fixed_dictionaries(
        {
            "id": names,
            "kind": names,
            "phase": names,
            "subject": names | st.none(),
            "severity": st.sampled_from(["info", "warning", "critical"]),
            "state": st.sampled_from(["pending", "firing", "resolved"]),
            "began": wholes,
            "confirmed": wholes | st.none(),
            "step": wholes,
            "value": numbers | st.none(),
            "threshold": numbers | st.none(),
            "message": names,
            "evidence": named(numbers),
            "advice": st.none() | st.builds(Advice, action=st.just("set_weight"), component=names, value=numbers),
        }
    ),
)
records: st.SearchStrategy[Record] = st.one_of(
    run_starts,
    _record(Steps, _steps()),
    _record(Predictions, _predictions()),
    _record(
        Reference,
        st.fixed_dictionaries(
            {"features": rows(2)},
            optional={"slices": listed(names, 2), "labels": listed(labels, 2), "targets": named(series(2))},
        ),
    ),
    _record(Heartbeat, st.fixed_dictionaries({}, optional={"every": st.floats(1e-3, 1e6)})),
    _record(RunEnd, st.fixed_dictionaries({"status": st.sampled_from(["finished", "failed", "stopped"])})),
    findings,
)
