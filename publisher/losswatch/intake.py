"""From what the job's threads hand over, bounded and without a lock, to records."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from losswatch import tensors
from losswatch.blocks import AT, CHUNK_ROWS, COMPONENTS, PHASE, STEP, TOTAL, Blocks, Fields, Row
from losswatch.buffer import Outgoing
from losswatch.devices import Copies
from losswatch.notices import Notices
from losswatch.samples import Reference, Sampled

if TYPE_CHECKING:
    from losswatch.records import Records

T = TypeVar("T")
SAVED: Final = 64
"""Most items of infinite importance that a lane keeps of those it drops, between two takes."""
ROW_VALUES: Final = 524_288
"""Most values in the lane of steps, which is emptied twenty times a second."""
BATCH_VALUES: Final = 4_194_304
"""Most numbers in the lane of predictions."""
TURN_ROWS: Final = 4096
"""Most rows taken before the connection is looked after again."""
TURN_BATCHES: Final = 8
END: Final = float("inf")
"""The time at which everything is due."""


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


class Intake:
    """The lanes and what comes out of them. ``rows`` and ``batches`` may be put into by any thread; all else
    is for the sender's.

    ``post`` is given the records as they are made.
    """

    def __init__(
        self,
        run: str,
        session: str,
        declaration: Mapping[str, Any],
        dropped: Counter[str],
        notices: Notices,
        post: Callable[[Sequence[Outgoing]], None],
    ) -> None:
        self.rows: Lane[Row] = Lane(ROW_VALUES, importance, itemgetter(AT))
        self.batches: Lane[Sampled | Reference] = Lane(BATCH_VALUES)
        self.on_device = False
        """Whether anything reported was on a device, where it has to be waited for."""
        self._run, self._session, self._declaration = run, session, declaration
        self._dropped, self._notices, self._post = dropped, notices, post
        self._blocks = Blocks(self._columns)
        self._held_rows: deque[Row] = deque()
        self._held_batches: deque[Sampled | Reference] = deque()
        self._copies = Copies()
        self._made: Records | None = None

    def __len__(self) -> int:
        """Calls that no record was made of yet."""
        return len(self.rows) + len(self.batches) + len(self._blocks) + self.held

    @property
    def held(self) -> int:
        """Calls that wait for a device."""
        return len(self._held_rows) + len(self._held_batches)

    @property
    def records(self) -> Records:
        """Makes the records; the first use, which imports a good deal, posts ``run_start``."""
        if self._made is None:
            from losswatch.records import Records

            self._made = Records(self._run, self._session, self._dropped, self._notices)
            self._post(self._made.start(self._declaration))
        return self._made

    def gather(self, now: float, trouble: Callable[[Exception], None]) -> None:
        """Post the records that are due at monotonic time ``now``."""
        self._gather_rows(now, trouble)
        for block in self._blocks.due(now):
            self._post_steps(block, trouble)
        self._held_batches.extend(self.batches.take(2**62 if now == END else TURN_BATCHES))
        while self._held_batches and (not self.on_device or tensors.ready(self._held_batches[0], self._copies)):
            self._post_batch(self._held_batches.popleft())
        for reason, dropped in (
            ("steps_too_fast", self.rows.dropped()),
            ("predictions_too_fast", self.batches.dropped()),
        ):
            if dropped:
                self._dropped[reason] = dropped

    def give_up_on_devices(self) -> None:
        """Drop what still waits for a device."""
        for reason, held in (("steps", self._held_rows), ("predictions", self._held_batches)):
            if held:
                self._dropped[f"{reason}_on_busy_device"] += len(held)
                held.clear()

    def _gather_rows(self, now: float, trouble: Callable[[Exception], None]) -> None:
        most = 2**62 if now == END else TURN_ROWS
        while most > 0 and (rows := self._next_rows()):
            most -= len(rows)
            for block in self._blocks.add(self._usable(rows), now):
                self._post_steps(block, trouble)
            if len(self.rows) >= CHUNK_ROWS:
                time.sleep(0.0005)  # the job wants the interpreter back

    def _next_rows(self) -> list[Row]:
        """The next rows, as far as they need not wait for a device."""
        held = self._held_rows
        most = CHUNK_ROWS if len(self.rows) < TURN_ROWS else 4 * CHUNK_ROWS  # behind, it may take longer
        rows = [] if held else self.rows.take(most)
        if not self.on_device:
            return rows
        if rows:
            held.extend(rows)
            tensors.ready(tuple(rows), self._copies)
        ready = []
        while held and tensors.ready(held[0], self._copies):
            ready.append(held.popleft())
        return ready

    def _post_batch(self, batch: Sampled | Reference) -> None:
        make = self.records
        try:
            self._post(make.reference(batch) if isinstance(batch, Reference) else make.predictions(batch))
        except Exception as error:
            self._dropped["predictions_unusable"] += 1
            self._notices.once("unusable batch", "predictions or a reference cannot be used: %s", error)

    def _post_steps(self, block: Sequence[Fields], trouble: Callable[[Exception], None]) -> None:
        if not block:
            return
        try:
            self._post(self.records.steps(block))
        except Exception as error:
            self._dropped["steps_unusable"] += sum(len(part["step"]) for part in block)
            trouble(error)

    def _columns(self, rows: Sequence[Row]) -> list[Fields]:
        return self.records.columns(rows)

    def _usable(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose step and phase can be used, with whole steps."""
        usable: list[Row] = []
        known: Any = None
        for row in rows:
            step = row[STEP]
            if row[PHASE] is known and type(step) is int and 0 <= step < tensors.WHOLE_LIMIT:
                usable.append(row)
            elif (checked := self._checked(row)) is not None:
                usable.append(checked)
                known = row[PHASE]
        return usable

    def _checked(self, row: Row) -> Row | None:
        """The row with a whole step, or None where its step or phase cannot be used."""
        phase, step = row[PHASE], row[STEP]
        try:
            if type(step) is not int:
                step = tensors.whole(step)
            if not 0 <= step < tensors.WHOLE_LIMIT:
                reason = "the step is not a whole number from 0 to 2**53 - 1"
            elif isinstance(phase, str) and 1 <= len(phase) <= 200 and phase.isprintable():
                return (phase, step, *row[2:])
            else:
                reason = "the phase is not a printable name of 1 to 200 characters"
        except Exception as error:
            reason = f"the step is not usable: {error}"
        self._dropped["steps_unusable"] += 1
        self._notices.once("unusable rows", "log(): %s. Such calls are dropped", reason)
        return None
