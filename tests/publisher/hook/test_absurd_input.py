"""Whatever a job passes, nothing is raised, the rest of the call is used and it is said once."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import losswatch
from losswatch.schema import Steps
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import records_of, steps_of


class Hostile:
    """An object each of whose protocols raises."""

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no iteration")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, key: object) -> Any:
        raise RuntimeError("no items")


ABSURD: list[Any] = [
    None,
    "text",
    b"bytes",
    {},
    {"a": {"b": []}},
    {1: 2, None: "x", ("t",): 3},
    [],
    [[1], [1, 2]],
    [object()],
    {"s"},
    Hostile(),
    {"h": Hostile(), "ok": 1.0},
    {Hostile(): 1.0},
    lambda: 0,
    1j,
    10**400,
    -1,
    2**63,
    "\ud800",
    {"\ud800": 1.0},
    "x" * 100_000,
    {"x" * 100_000: 1.0},
    {f"n{i}": 1.0 for i in range(3000)},
    np.zeros((0, 3)),
    np.zeros((2, 2, 2)),
    np.zeros(1_000_000),
    np.array(["a", "b"]),
    np.array([None, {}], dtype=object),
    np.datetime64("2026-01-01"),
    torch.zeros(3, 0),
    torch.zeros(2, 3, dtype=torch.complex64),
    torch.zeros(4, device="meta"),
    torch.eye(3).to_sparse(),
    MappingProxyType({"a": 1.0}),
    NotImplemented,
    float("inf"),
    True,
]


@pytest.mark.parametrize("position", range(len(ABSURD)))
def test_no_argument_can_make_a_call_raise(position: int) -> None:
    value = ABSURD[position]
    transport = MemoryTransport()
    run: Any = losswatch.start("r", transport=transport)
    run.log(value, total=1.0)
    run.log(1, value)
    for name in ("components", "weights", "log_vars", "metrics", "slices", "checkpoint", "phase", "nonsense"):
        run.log(2, total=1.0, **{name: value})
    run.predictions(value, [[0.5, 0.5]])
    for name in ("probabilities", "logits", "classes"):
        run.predictions(3, **{name: value})
    for name in ("labels", "phase", "slices", "embeddings", "features", "errors", "nonsense"):
        run.predictions(4, [[0.5, 0.5]], **{name: value})
    run.reference(value)
    run.log(5, total=5.0, phase="last")
    run.finish(error=value)
    assert run.stats().errors == 0
    records = records_of(transport.records)
    assert 5 in steps_of(records)
    assert records[-1].type == "run_end"


@pytest.mark.parametrize("position", range(len(ABSURD)))
def test_no_declaration_can_make_start_raise(position: int) -> None:
    value = ABSURD[position]
    names = ("job", "labels", "objective", "metrics", "classes", "split", "precision", "parameters", "samples")
    start: Any = losswatch.start
    transport = MemoryTransport()
    for name in (*names, "thresholds", "expect", "nonsense"):
        start("r", transport=transport, **{name: value}).finish()
    start(value, transport=transport).finish()
    assert {record.type for record in records_of(transport.records)} == {"run_start", "run_end"}
    start("r", bootstrap_servers=value, kafka=value).finish(timeout=0.05)


def test_the_usable_part_of_a_call_is_used(caplog: pytest.LogCaptureFixture) -> None:
    transport = MemoryTransport()
    hostile: Any = Hostile()
    with losswatch.start("r", transport=transport) as run:
        for step in range(5):
            run.log(step, total=hostile, components={"good": 1.0, "bad": hostile})
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.components["good"].tolist() == [1.0] * 5
    assert len(caplog.messages) == 1
    assert "RuntimeError: no float" in caplog.text


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers() | st.floats() | st.text() | st.none(),
            st.floats() | st.integers() | st.none() | st.binary(),
            st.dictionaries(st.text() | st.integers(), st.floats() | st.none() | st.text() | st.booleans(), max_size=5),
            st.text() | st.none() | st.integers(),
        ),
        max_size=20,
    )
)
def test_no_call_raises_and_what_arrives_is_valid(calls: list[tuple[Any, Any, Any, Any]]) -> None:
    transport = MemoryTransport()
    run: Any = losswatch.start("r", transport=transport)
    for step, total, components, phase in calls:
        run.log(step, total, components=components, slices={"s": components}, checkpoint=phase, phase=phase)
    run.finish()
    stats = run.stats()
    assert stats.errors == 0
    assert len(steps_of(records_of(transport.records))) + stats.dropped.get("steps_unusable", 0) == len(calls)
