"""The way from the job's threads to the sender: bounded, and without a lock."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar

from losswatch.blocks import COMPONENTS, TOTAL, Row

T = TypeVar("T")
SAVED: Final = 64
"""Most items of infinite importance that a lane keeps of those it drops, between two takes."""


def importance(row: Row) -> float:
    """How bad a step is: its total, or infinity where something in it is not finite.

    What is still on a device counts as the least: it cannot be looked at here.
    """
    total, components = row[TOTAL], row[COMPONENTS]
    for value in (total, *(components or {}).values()):
        if type(value) is float and not math.isfinite(value):
            return math.inf
    return total if type(total) is float else -math.inf


def indifferent(item: Any) -> float:
    """Nothing is more important than anything else."""
    return -math.inf


_ticket_of: Final = itemgetter(0)


class Lane(Generic[T]):
    """Hands items from any thread to the one that takes them, without a lock.

    ``limit`` bounds the length times the cost of the item being put, which bounds the sum of all
    costs however they vary. A lock would let the taking thread, descheduled while it holds it, stop
    the job; each operation here is one atomic step of a deque. `losswatch.run.Run.log` has `put` in line: it
    uses ``limit``, ``entries``, ``ticket`` and `make_room`.

    The oldest items go when there is no room, but for those of infinite importance and the most
    important of the others since the last `take`.
    """

    def __init__(self, limit: int, importance: Callable[[T], float] = indifferent) -> None:
        self.limit = limit
        self.entries: deque[tuple[int, T]] = deque()
        """What waits, each with its ticket."""
        self.ticket: Callable[[], int] = itertools.count().__next__
        """The number of an item that is about to be appended."""
        self._importance = importance
        self._saved: deque[tuple[int, T]] = deque(maxlen=SAVED)
        self._worst: tuple[float, tuple[int, T]] | None = None
        self._next_ticket = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self.entries) + len(self._saved) + (self._worst is not None)

    def put(self, item: T, cost: int) -> None:
        """Append an item, dropping the oldest ones while there is no room for its cost."""
        if len(self.entries) * cost > self.limit:
            self.make_room(cost)
        self.entries.append((self.ticket(), item))

    def make_room(self, cost: int) -> None:
        """Drop the oldest items while there is no room for one more of such a cost."""
        entries = self.entries
        while len(entries) * cost > self.limit:
            try:
                self._pass_over(entries.popleft())
            except IndexError:
                break

    def take(self, most: int) -> list[T]:
        """Up to ``most`` of the oldest items, oldest first. One thread only."""
        saved = self._take_saved() if self._saved or self._worst else []
        taken: list[tuple[int, T]] = []
        try:
            for _ in range(most - len(saved)):
                taken.append(self.entries.popleft())
        except IndexError:
            pass
        if taken:
            self._next_ticket = max(self._next_ticket, 1 + max(taken, key=_ticket_of)[0])
        self._taken += len(saved) + len(taken)
        return saved + [item for _, item in taken]

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
