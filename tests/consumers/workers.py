"""Workers without a real clock, and brokers that crash them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from consumers.fleet import Fleet
from consumers.memory import MemoryBroker
from consumers.source import Broker, Slot
from consumers.worker import Loop, Policy, Worker
from tests.consumers.builders import a_fleet
from tests.consumers.outcomes import Outcome, outcomes


class Ticks:
    """A clock that moves by ``step`` seconds whenever it is read."""

    def __init__(self, step: float = 1.0, now: float = 0.0) -> None:
        self.step, self.now = step, now

    def __call__(self) -> float:
        self.now += self.step
        return self.now


POLICY = Policy(poll_timeout=0.0, poll_records=7, checkpoint_every=20.0, view_every=1e9, retry_after=1.0)
"""No waiting; small batches; a checkpoint every few turns of a clock that ticks when it is read."""


def a_worker(
    broker: Broker,
    fleet: Fleet | None = None,
    clock: Callable[[], float] | None = None,
    wall: Callable[[], float] = lambda: 3000.0,
    **policy: Any,
) -> Worker:
    """A worker on clocks that the test owns."""
    return Worker(broker, fleet or a_fleet(), dataclasses.replace(POLICY, **policy), clock or Ticks(), wall)


def turn(worker: Worker, loop: Loop, times: int = 10) -> None:
    """So many turns."""
    for _ in range(times):
        worker.turn(loop)


def turn_until_idle(worker: Worker, loop: Loop, most: int = 1000) -> None:
    """Turn until everything that was assigned is restored and nothing is waiting to be read."""
    for _ in range(most):
        worker.turn(loop)
        if loop.assignment.ready and not any(worker.telemetry.lag.values()):
            return
    raise AssertionError(f"not idle after {most} turns: {worker.telemetry.lag}")


def run_worker_until_idle(broker: Broker, worker: Worker | None = None) -> dict[str, Outcome]:
    """Let a worker consume everything, with a checkpoint at the end; what became of each run."""
    worker = worker or a_worker(broker)
    with worker.connected() as loop:
        turn_until_idle(worker, loop)
        worker.checkpoint(loop)
        worker.look()
        return outcomes(worker)


Where = Literal["before", "after"]


class Crash(BaseException):
    """The process is gone: nothing that catches Exception sees it."""


class CrashingBroker:
    """A broker whose ``at``-th call raises Crash, before it takes effect or after; counts the calls.

    Calls are: poll, send, flush, commit, committed, seek, read.
    """

    def __init__(self, broker: MemoryBroker, at: int | None = None, where: Where = "before") -> None:
        self._broker, self._at, self._where = broker, at, where
        self.calls: list[str] = []

    def create_topics(self, partitions: int) -> list[str]:
        return self._broker.create_topics(partitions)

    def partitions(self, topic: str) -> int:
        return self._broker.partitions(topic)

    def source(self, group: str, topics: Sequence[str]) -> Any:
        return _Crashing(self, self._broker.source(group, topics))

    def sink(self) -> Any:
        return _Crashing(self, self._broker.sink())

    def read(self, slot: Slot, start: int = 0) -> Iterator[Any]:
        return iter(self.call("read", lambda: list(self._broker.read(slot, start))))

    def close(self) -> None:
        self._broker.close()

    def call(self, name: str, act: Callable[[], Any]) -> Any:
        """Do what was asked, unless it is time to crash."""
        number = len(self.calls)
        self.calls.append(name)
        if number == self._at and self._where == "before":
            raise Crash(f"before {name}, call {number}")
        result = act()
        if number == self._at:
            raise Crash(f"after {name}, call {number}")
        return result


class _Crashing:
    """A source or sink of a `CrashingBroker`."""

    def __init__(self, broker: CrashingBroker, inner: Any) -> None:
        self._broker, self._inner = broker, inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in {"close", "changes", "lag", "beginning"}:
            return method
        return lambda *args, **options: self._broker.call(name, lambda: method(*args, **options))
