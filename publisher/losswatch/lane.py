"""The way from the job's threads to the sender: bounded, and without a lock."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable
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


class Lane(Generic[T]):
    """Hands items from any thread to the one that takes them, without a lock.

    ``limit`` bounds the length times the cost of the item being put, which bounds the sum of all
    costs however they vary. A lock would let the taking thread, descheduled while it holds it, stop
    the job; each operation here is one atomic step of a deque. `losswatch.run.Run.log` has `put` in line: it
    uses ``limit``, ``items`` and `make_room`.

    The oldest items go when there is no room, but for those of infinite importance and the most
    important of the others since the last `take`. ``when`` tells an item's time: what was saved comes before
    what is newer, or not at all.
    """

    def __init__(
        self,
        limit: int,
        importance: Callable[[T], float] = indifferent,
        when: Callable[[T], float] = indifferent,
    ) -> None:
        self.limit = limit
        self.items: deque[T] = deque()
        """What waits, but for what was saved."""
        self._importance, self._when = importance, when
        self._saved: deque[T] = deque(maxlen=SAVED)
        self._worst: tuple[float, T] | None = None
        self._passed_over = itertools.count()
        self._looks = self._recovered = 0
        self._newest = -math.inf

    def __len__(self) -> int:
        return len(self.items) + len(self._saved) + (self._worst is not None)

    def put(self, item: T, cost: int) -> None:
        """Append an item, dropping the oldest ones while there is no room for its cost."""
        if len(self.items) * cost > self.limit:
            self.make_room(cost)
        self.items.append(item)

    def make_room(self, cost: int) -> None:
        """Drop the oldest items while there is no room for one more of such a cost."""
        items = self.items
        while len(items) * cost > self.limit:
            try:
                self._pass_over(items.popleft())
            except IndexError:
                break

    def take(self, most: int) -> list[T]:
        """Up to ``most`` of the oldest items, oldest first. One thread only."""
        taken = self._take_saved() if self._saved or self._worst else []
        try:
            for _ in range(most - len(taken)):
                taken.append(self.items.popleft())
        except IndexError:
            pass
        if taken:
            self._newest = max(self._newest, self._when(taken[-1]))
        return taken

    def dropped(self) -> int:
        """How many items were dropped. One thread only."""
        looks, self._looks = self._looks, self._looks + 1
        return next(self._passed_over) - looks - self._recovered

    def _pass_over(self, item: T) -> None:
        next(self._passed_over)
        value = self._importance(item)
        if value == math.inf:
            if len(self._saved) < SAVED:
                self._saved.append(item)
        elif value > (self._worst[0] if self._worst else -math.inf):
            self._worst = (value, item)

    def _take_saved(self) -> list[T]:
        """What was saved, but for what was overtaken by something already taken."""
        items = [self._saved.popleft() for _ in range(len(self._saved))]
        worst, self._worst = self._worst, None
        items += [worst[1]] if worst else []
        items = sorted((each for each in items if self._when(each) >= self._newest), key=self._when)
        self._recovered += len(items)
        return items
