"""The hook's one thread: takes what the job handed over, makes records of it and gets them to the broker."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from losswatch import tensors
from losswatch.blocks import BLOCK_STEPS, Blocks, Row
from losswatch.buffer import LIMITS, Kind, Lane, Outbox, Outgoing
from losswatch.connection import Connection
from losswatch.notices import Notices
from losswatch.samples import Sampled
from losswatch.transport import Delivery, Refused, Transport, Unavailable

if TYPE_CHECKING:
    from losswatch.records import Records

TICK_SECONDS: Final = 0.05
ACK_SECONDS: Final = 5.0
"""How long the oldest record under way may stay unacknowledged. kafka-python spins while it waits for
a broker that does not answer, so it is not left to its own, longer, timeouts."""
WINDOW_RECORDS: Final = 64
WINDOW_BYTES: Final = 1_000_000
"""Most that is under way at a time."""
ROW_VALUES: Final = 524_288
"""Most values in the lane of steps, which the sender empties every tick."""
BATCH_VALUES: Final = 4_194_304
"""Most numbers in the lane of predictions."""
TURN_ITEMS: Final = 4096
"""Most rows taken before the connection is looked after again."""
MOST_ERRORS: Final = 20
"""Internal errors after which the hook gives up: in a row for the sender, in all for calls."""


class Stats(NamedTuple):
    """What became of what the job reported."""

    connected: bool
    waiting: int
    """Calls not yet taken by the broker."""
    waiting_bytes: int
    """Encoded bytes not yet taken by the broker."""
    published: int
    """Calls taken by the broker."""
    records: int
    """Records taken by the broker."""
    dropped: dict[str, int]
    """Calls dropped, by reason."""
    errors: int
    """Internal errors, each of which was kept from the job."""


class Reference(NamedTuple):
    """Captured reference features."""

    features: Any


class Sender:
    """Owns everything between the lanes and the broker. ``rows`` and ``batches`` may be put into by any thread."""

    def __init__(
        self,
        run: str,
        session: str,
        declaration: Mapping[str, Any],
        transport: Transport,
        notices: Notices,
        limits: dict[Kind, int] = LIMITS,
    ) -> None:
        from losswatch import topics

        self.rows: Lane[Row] = Lane(ROW_VALUES)
        self.batches: Lane[Sampled | Reference] = Lane(BATCH_VALUES)
        self.errors = 0
        self._run, self._session, self._declaration = run, session, declaration
        self._transport = transport
        self._notices = notices
        self._blocks = Blocks()
        self._dropped: Counter[str] = Counter()
        self._outbox = Outbox(self._dropped, limits)
        self._under_way: deque[tuple[Outgoing, Delivery, float]] = deque()
        self._bytes_under_way = self._calls_under_way = 0
        self._connection = Connection(transport, (topics.STEPS, topics.PREDICTIONS), notices)
        self._records: Records | None = None
        self._published = self._records_published = 0
        self._ending: tuple[str, str | None] | None = None
        self._deadline = float("inf")
        self._ended = False
        self._wake = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="losswatch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self, status: str, error: str | None, timeout: float) -> bool:
        """Send what is left and ``run_end``, within ``timeout`` seconds; whether all of it arrived."""
        if self._ending is None:
            # A little is kept for closing, so that the caller is never held longer than it said.
            self._deadline = time.monotonic() + 0.9 * timeout
            self._ending = (status, error)
        self._wake.set()
        self._done.wait(timeout)
        return self._done.is_set() and self._waiting() == 0 and not +self._dropped

    def stats(self) -> Stats:
        """A snapshot, from any thread."""
        return Stats(
            connected=self._connection.up,
            waiting=self._waiting(),
            waiting_bytes=self._outbox.bytes + self._bytes_under_way,
            published=self._published,
            records=self._records_published,
            dropped=dict(+self._dropped),
            errors=self.errors,
        )

    def abandon(self) -> None:
        """In a forked child, which has no such thread: let go of everything that is the parent's."""
        self._transport.abandon()

    def _waiting(self) -> int:
        return len(self.rows) + len(self.batches) + len(self._blocks) + self._outbox.calls + self._calls_under_way

    def _work(self) -> None:
        failures = 0
        while failures < MOST_ERRORS and not self._over():
            try:
                self._turn()
                failures = 0
            except Exception as error:
                failures += 1
                self.trouble(error)
                time.sleep(TICK_SECONDS)
        left = self._waiting()
        if left or (self._ending and not self._ended):
            message = "%d reported steps or batches did not reach %s in time and are lost"
            self._notices.once("lost", message, left, self._transport.target)
        self._connection.close()
        self._done.set()

    def trouble(self, error: Exception) -> None:
        """Count an error that would otherwise have been the job's."""
        self.errors += 1
        self._notices.once("trouble", "internal error, the job is not affected: %s: %s", type(error).__name__, error)

    def _over(self) -> bool:
        if self._ending is None:
            return False
        sent_all = self._ended and not self._under_way and not len(self._outbox)
        return sent_all or time.monotonic() > self._deadline

    def _turn(self) -> None:
        ending = self._ending
        now = time.monotonic()
        # Before the imports below, which take as long as connecting does.
        connected = self._connection.ensure(now)
        self._gather(float("inf") if ending else now)
        if ending and not self._ended:
            self._connection.hurry()
            self._ended = True
            self._post(self._make().end(*ending))
        if connected:
            self._send()
        if self._under_way:
            self._settle()
        elif ending:
            time.sleep(TICK_SECONDS / 10)
        elif len(self.rows) < BLOCK_STEPS:
            self._wake.wait(TICK_SECONDS)

    def _make(self) -> Records:
        if self._records is None:
            from losswatch.records import Records

            self._records = Records(self._run, self._session, self._dropped, self._notices)
            self._post(self._records.start(self._declaration))
        return self._records

    def _gather(self, now: float) -> None:
        """Take what the job handed over and make records of what is due at ``now``."""
        make = self._make()
        most = 2**63 if now == float("inf") else TURN_ITEMS
        while most > 0 and (rows := self.rows.take(BLOCK_STEPS)):
            most -= len(rows)
            for row in rows:
                if (usable := self._usable(row)) and (block := self._blocks.add(usable, now)):
                    self._post_steps(make, block)
            if len(self.rows) >= BLOCK_STEPS:
                time.sleep(0.0005)  # the job wants the interpreter back
            if self._outbox.bytes and self._connection.up and len(self._under_way) < WINDOW_RECORDS:
                self._send()
        for block in self._blocks.due(now):
            self._post_steps(make, block)
        for batch in self.batches.take(max(most, 8)):
            try:
                self._post(make.reference(batch.features) if isinstance(batch, Reference) else make.predictions(batch))
            except Exception as error:
                self._dropped["predictions_unusable"] += 1
                self._notices.once("unusable batch", "predictions or a reference cannot be used: %s", error)
        for reason, lane in (("steps_too_fast", self.rows), ("predictions_too_fast", self.batches)):
            if lane.dropped or reason in self._dropped:
                self._dropped[reason] = lane.dropped

    def _usable(self, row: Row) -> Row | None:
        """The row with a whole step, or None where its step or phase cannot be used."""
        phase, step = row[0], row[1]
        try:
            if type(step) is not int:
                row = (phase, tensors.whole(step), *row[2:])
            if not 0 <= row[1] < tensors.WHOLE_LIMIT:
                reason = "the step is not a whole number from 0 to 2**53 - 1"
            elif isinstance(phase, str) and 1 <= len(phase) <= 200 and phase.isprintable():
                return row
            else:
                reason = "the phase is not a printable name of 1 to 200 characters"
        except Exception as error:
            reason = f"the step is not usable: {error}"
        self._dropped["steps_unusable"] += 1
        self._notices.once("unusable rows", "log(): %s. Such calls are dropped", reason)
        return None

    def _post_steps(self, make: Records, block: list[Row]) -> None:
        try:
            self._post(make.steps(block))
        except Exception as error:
            self._dropped["steps_unusable"] += len(block)
            self.trouble(error)

    def _post(self, records: list[Outgoing]) -> None:
        for record in records:
            self._outbox.add(record)
        for reason in ("steps_buffer_full", "predictions_buffer_full"):
            if reason in self._dropped:
                message = "the broker has been away so long that memory is full; the oldest %s are dropped and counted"
                self._notices.once(reason, message, reason.partition("_")[0])

    def _send(self) -> None:
        """Fill the window."""
        while len(self._under_way) < WINDOW_RECORDS and self._bytes_under_way < WINDOW_BYTES:
            record = self._outbox.next()
            if record is None:
                return
            try:
                delivery = self._transport.send(record.topic, self._run.encode(), record.value, record.headers)
            except Refused as error:
                self._refused(record, error)
            except Exception as error:
                self._outbox.put_back([record])
                self._lost(error)
                return
            else:
                self._under_way.append((record, delivery, time.monotonic()))
                self._bytes_under_way += len(record.value)
                self._calls_under_way += record.calls

    def _settle(self) -> None:
        """Take account of what the broker acknowledged, waiting a moment for the oldest."""
        wait = TICK_SECONDS
        while self._under_way:
            record, delivery, since = self._under_way[0]
            if not delivery.wait(wait):
                if time.monotonic() - since > ACK_SECONDS:
                    self._lost(Unavailable(f"no answer in {ACK_SECONDS:.0f} s"))
                return
            wait = 0.0
            try:
                delivery.check()
            except Refused as error:
                self._refused(record, error)
            except Exception as error:
                self._lost(error)
                return
            else:
                self._connection.confirmed()
                self._published += record.calls
                self._records_published += 1
            self._under_way.popleft()
            self._bytes_under_way -= len(record.value)
            self._calls_under_way -= record.calls

    def _refused(self, record: Outgoing, error: Refused) -> None:
        self._dropped["refused"] += max(record.calls, 1)
        self._notices.once("refused", "%s does not take a record: %s", self._transport.target, error)

    def _lost(self, error: Exception) -> None:
        """Give the connection up; everything not acknowledged is sent again, in order."""
        self._connection.lost(error, time.monotonic())
        self._outbox.put_back(record for record, _, _ in self._under_way)
        self._under_way.clear()
        self._bytes_under_way = self._calls_under_way = 0
