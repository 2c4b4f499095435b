"""The way from the job's threads to the sender: bounded, and without a lock."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from losswatch.blocks import Row

T = TypeVar("T")
SAVED: Final = 64
"""Most items of infinite importance that a lane keeps of those it drops, between two takes."""


def importance(row: Row) -> float:
    """How bad a step is: its total, or infinity where something in it is not finite.

    What is still on a device counts as the least: it cannot be looked at here.
    """
    total, components = row[3], row[4][0]
    for value in (total, *(components or {}).values()):
        if type(value) is float and not math.isfinite(value):
            return math.inf
    return total if type(total) is float else -math.inf


def indifferent(item: Any) -> float:
    """Nothing is more important than anything else."""
    return -math.inf


class Lane(Generic[T]):
    """Hands items from any thread to the one that takes them, without a lock.

    ``limit`` bounds the length times the cost of the item being put, which bounds the sum of all
    costs however they vary. A lock would let the taking thread, descheduled while it holds it, stop
    the job; each operation here is one atomic step of a deque.

    The oldest items go when there is no room, but for those of infinite importance and the most
    important of the others since the last `take`.
    """

    def __init__(self, limit: int, importance: Callable[[T], float] = indifferent) -> None:
        self._limit = limit
        self._importance = importance
        self._items: deque[tuple[int, T]] = deque()
        self._saved: deque[tuple[int, T]] = deque(maxlen=SAVED)
        self._worst: tuple[float, tuple[int, T]] | None = None
        self._tickets = itertools.count()
        self._next_ticket = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._saved) + (self._worst is not None)

    def put(self, item: T, cost: int) -> None:
        """Append an item, dropping the oldest ones while there is no room for its cost."""
        items = self._items
        while len(items) * cost > self._limit:
            try:
                self._pass_over(items.popleft())
            except IndexError:
                break
        items.append((next(self._tickets), item))

    def take(self, most: int) -> list[T]:
        """Up to ``most`` of the oldest items, oldest first. One thread only."""
        taken: list[T] = []
        if self._saved or self._worst:
            taken += self._take_saved()
        while len(taken) < most:
            try:
                ticket, item = self._items.popleft()
            except IndexError:
                break
            self._next_ticket = max(self._next_ticket, ticket + 1)
            taken.append(item)
        self._taken += len(taken)
        return taken

    @property
    def dropped(self) -> int:
        """How many items had been dropped before the newest one taken."""
        return self._next_ticket - self._taken

    def _pass_over(self, entry: tuple[int, T]) -> None:
        value = self._importance(entry[1])
        if value == math.inf:
            if len(self._saved) < SAVED:
                self._saved.append(entry)
        elif value > (self._worst[0] if self._worst else -math.inf):
            self._worst = (value, entry)

    def _take_saved(self) -> list[T]:
        """What was saved, but for what was overtaken by something already taken."""
        entries = [self._saved.popleft() for _ in range(len(self._saved))]
        worst, self._worst = self._worst, None
        entries += [worst[1]] if worst else []
        entries = sorted((each for each in entries if each[0] >= self._next_ticket), key=lambda entry: entry[0])
        if entries:
            self._next_ticket = entries[-1][0] + 1
        return [item for _, item in entries]
