"""A transport that fails in every way a broker can."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from losswatch.transport import Delivered, Delivery, Headers, MemoryTransport, Unavailable


class Silent:
    """A delivery of which nothing is ever heard."""

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def check(self) -> None:
        raise AssertionError("not known")


class Failed(Delivered):
    """A delivery that failed."""

    def check(self) -> None:
        raise Unavailable("connection lost")


class FaultyTransport(MemoryTransport):
    """Fails as told by ``fault``, a function of the number of the send."""

    def __init__(self, fault: Callable[[int], Delivery | None] = lambda _: None, *, reachable: bool = True) -> None:
        super().__init__()
        self.fault = fault
        self.reachable = reachable
        self.sends = self.connects = self.closes = 0

    def connect(self, topics: Sequence[str]) -> None:
        self.connects += 1
        if not self.reachable:
            raise Unavailable("connection refused")

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        self.sends += 1
        return self.fault(self.sends) or super().send(topic, key, value, headers)

    def close(self) -> None:
        self.closes += 1
