"""Values on a device: nobody waits for it, nothing is read before it is there, nothing that was overwritten."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import losswatch
from losswatch import tensors
from losswatch.devices import Copies, OnDevice, PinnedRing, stage
from losswatch.samples import summary_of_logits
from losswatch.schema import Predictions, Steps
from losswatch.transport import MemoryTransport
from tests.publisher.hook.reading import eventually, records_of

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the GPU path runs on a fake one")


class FakeEvent:
    def __init__(self, stream: FakeStream) -> None:
        self._stream = stream

    def query(self) -> bool:
        return self._stream.reached


class FakeStream:
    """A stream that gets to where it is when it is told so."""

    def __init__(self, device: Any = None) -> None:
        self.reached = False
        self.waited_for: list[FakeEvent] = []

    def wait_event(self, event: FakeEvent) -> None:
        self.waited_for.append(event)

    def record_event(self) -> FakeEvent:
        return FakeEvent(self)


@pytest.fixture
def fake() -> types.SimpleNamespace:
    """As much of torch as a `PinnedRing` uses, with streams that do not move by themselves."""

    def empty(shape: Any, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        assert pin_memory
        return torch.empty(shape, dtype=dtype)

    cuda = types.SimpleNamespace(Stream=FakeStream, stream=lambda stream: contextlib.nullcontext())
    return types.SimpleNamespace(cuda=cuda, empty=empty, uint8=torch.uint8)


def test_a_copy_is_done_when_its_event_has_come_to_pass_and_not_before(fake: Any) -> None:
    ring = PinnedRing(fake, "cuda:0")
    job = FakeStream()
    copy = ring.copy(torch.tensor([1.5, 2.5]), job.record_event(), None)
    stream = ring._stream
    assert len(stream.waited_for) == 1
    assert not copy.done()
    stream.reached = True
    assert copy.done()
    assert copy.value().tolist() == [1.5, 2.5]


def test_slots_of_the_ring_are_used_again_and_never_while_something_is_in_them(fake: Any) -> None:
    ring = PinnedRing(fake, "cuda:0")
    event = FakeStream().record_event()
    copies = [ring.copy(torch.full((3,), float(i)), event, None) for i in range(300)]
    assert len(ring._free) == 0
    ring._stream.reached = True
    assert all(copy.done() for copy in copies)
    assert [copy.value()[0].item() for copy in copies] == list(range(300))
    assert len(ring._free) == 256


def test_what_is_made_of_a_value_on_the_device_is_all_that_is_copied(fake: Any) -> None:
    ring = PinnedRing(fake, "cuda:0")
    copy = ring.copy(torch.randn(5000, 100), FakeStream().record_event(), summary_of_logits)
    ring._stream.reached = True
    assert copy.done()
    assert copy.value().shape == (203,)


def test_scalars_of_a_call_are_cloned_together_and_read_one_by_one() -> None:
    values = [torch.tensor(1.0), torch.tensor([2.0], dtype=torch.float64), torch.tensor(3)]
    parts = [(OnDevice.part(), value) for value in values]
    stage(parts)
    for value in values:
        value.fill_(99)
    copies = Copies()
    assert tensors.ready((parts[0][0], {"a": parts[1][0]}, (parts[2][0], None, "train")), copies)
    assert [tensors.number(part) for part, _ in parts] == [1.0, 2.0, 3.0]


class Slow:
    """A value on a device that takes its time."""

    def __init__(self, value: float) -> None:
        self.value, self.arrived, self.is_cpu = value, False, False

    def detach(self) -> Slow:
        return self

    clone = detach


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A value that is on its way until ``arrived`` is set."""
    value = Slow(0.5)
    monkeypatch.setattr(OnDevice, "ready", lambda self, copies: value.arrived)
    monkeypatch.setattr(OnDevice, "read", lambda self: torch.tensor(value.value))
    yield value
    value.arrived = True


def test_steps_wait_for_their_device_while_the_hook_goes_on(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("losswatch.sender.HEARTBEAT_SECONDS", 0.1)
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    run._sender.intake.on_device = True  # type: ignore[union-attr]  # as `stage` has it said for a CUDA tensor
    run.log(0, total=slow)
    run.log(1, total=0.25)
    eventually(lambda: any(record.type == "heartbeat" for record in records_of(transport.records)))
    assert not any(isinstance(record, Steps) for record in records_of(transport.records))
    slow.arrived = True
    assert run.finish()
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.total is not None
    assert block.total.tolist() == [0.5, 0.25]


def test_a_device_that_never_answers_costs_its_steps_and_not_the_end_of_the_run(slow: Any) -> None:
    transport = MemoryTransport()
    run = losswatch.start("r", transport=transport)
    run._sender.intake.on_device = True  # type: ignore[union-attr]  # as above
    run.log(0, total=slow)
    assert not run.finish(timeout=1.0)
    assert run.stats().dropped == {"steps_on_busy_device": 1}
    assert records_of(transport.records)[-1].type == "run_end"


def test_what_cannot_be_read_from_its_device_is_left_out_of_the_step() -> None:
    transport = MemoryTransport()
    with losswatch.start("r", transport=transport) as run:
        run.log(0, total=0.5, components={"meta": torch.zeros((), device="meta")})
    (block,) = [record for record in records_of(transport.records) if isinstance(record, Steps)]
    assert block.total is not None
    assert (block.total.tolist(), block.components.keys() - {"meta"}) == ([0.5], set())


@needs_cuda
def test_on_a_gpu_nothing_synchronises_and_what_is_overwritten_was_cloned() -> None:
    transport = MemoryTransport()
    loss, logits = torch.zeros((), device="cuda"), torch.zeros(4096, 64, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run = losswatch.start("r", transport=transport)
        for step in range(200):
            loss.fill_(step)
            logits[:, 0] = step
            run.log(step, total=loss, components={"a": loss, "b": loss * 2})
            if step % 50 == 0:
                run.predictions(step, logits=logits)
                run.predictions(step, logits=logits[:16], ids=list(range(16)))
        assert run.finish(timeout=20)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    records = records_of(transport.records)
    totals = np.concatenate([r.total for r in records if isinstance(r, Steps) and r.total is not None])
    assert totals.tolist() == list(range(200))
    assert [r.kind for r in records if isinstance(r, Predictions)] == ["summary", "logits"] * 4


@needs_cuda
def test_the_replay_of_a_cuda_graph_overwrites_nothing_that_was_reported() -> None:
    transport = MemoryTransport()
    static = torch.zeros((), device="cuda")
    graph = torch.cuda.CUDAGraph()
    with losswatch.start("r", transport=transport) as run:
        with torch.cuda.graph(graph):
            static += 1
            run.log(0, total=static)
        for step in range(1, 101):
            graph.replay()
            run.log(step, total=static)
    totals = np.concatenate(
        [r.total for r in records_of(transport.records) if isinstance(r, Steps) and r.total is not None]
    )
    assert totals[-100:].tolist() == list(range(1, 101))


def test_torch_is_never_imported_by_the_hook() -> None:
    assert "torch" in sys.modules, "this test's own"
    assert not hasattr(tensors, "torch")
