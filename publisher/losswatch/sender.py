"""The hook's one thread: takes what the job handed over, makes records of it and gets them to the broker."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from losswatch.blocks import CHUNK_ROWS
from losswatch.buffer import LIMITS, Buffer, Kind, Outbox, Outgoing
from losswatch.connection import Connection
from losswatch.intake import END, Intake
from losswatch.notices import Notices, line_of
from losswatch.transport import Transport
from losswatch.window import Window

if TYPE_CHECKING:
    from losswatch.spool.store import Spool

TICK_SECONDS: Final = 0.05
LONGEST_TICK: Final = 0.2
"""A turn costs the job a tenth of a millisecond whatever there is to do: there are fewer where little is reported."""
HEARTBEAT_SECONDS: Final = 10.0
"""A heartbeat is sent when nothing else was made for so long."""
MOST_ERRORS: Final = 20
"""Internal errors after which the hook gives up: in a row for the sender, in all for calls."""


class Stats(NamedTuple):
    """What became of what the job reported."""

    connected: bool
    waiting: int
    """Calls not yet taken by the broker."""
    waiting_bytes: int
    """Encoded bytes in memory, not yet taken by the broker."""
    published: int
    """Calls taken by the broker."""
    records: int
    """Records taken by the broker."""
    dropped: dict[str, int]
    """Calls dropped, by reason."""
    errors: int
    """Internal errors, each of which was kept from the job."""


class Sender:
    """Owns everything between the job's threads and the broker.

    Parameters
    ----------
    limits
        Most encoded bytes in memory, by kind of record.
    spool
        Opens the folder for what memory should not hold, on the sender's thread.
    """

    def __init__(
        self,
        run: str,
        session: str,
        declaration: Mapping[str, Any],
        transport: Transport,
        notices: Notices,
        limits: dict[Kind, int] = LIMITS,
        spool: Callable[[], Spool] | None = None,
    ) -> None:
        from losswatch import topics

        dropped: Counter[str] = Counter()
        self.intake = Intake(run, session, declaration, dropped, notices, self._post)
        self.errors = 0
        self._transport, self._notices, self._dropped, self._open_spool = transport, notices, dropped, spool
        self._outbox = Outbox(Buffer(dropped, limits, self._thin))
        self._topics = (topics.STEPS, topics.PREDICTIONS)
        self._connection: Connection | None = None
        self._window: Window | None = None
        self._made_at = time.monotonic()
        self._tick = TICK_SECONDS
        self._ending: tuple[str, str | None] | None = None
        self._deadline = self._patience = END
        self._ended = False
        self._wake = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="losswatch", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._transport.prepare()
        self._connection = Connection(self._transport, self._topics, self._notices)
        self._window = Window(self._outbox, self._transport, self._connection, self._dropped, self._notices)
        self._thread.start()

    def finish(self, status: str, error: str | None, timeout: float) -> bool:
        """Send what is left and ``run_end``, within ``timeout`` seconds; whether all of it arrived."""
        if self._ending is None:
            # A little is kept for closing, so that the caller is never held longer than it said.
            now = time.monotonic()
            self._patience, self._deadline = now + 0.5 * timeout, now + 0.9 * timeout
            self._ending = (status, error)
        self._wake.set()
        self._done.wait(timeout)
        return self._done.is_set() and self._waiting() == 0 and not +self._dropped

    def stats(self) -> Stats:
        """A snapshot, from any thread."""
        window = self._window
        return Stats(
            connected=self._connection is not None and self._connection.up,
            waiting=self._waiting(),
            waiting_bytes=self._outbox.buffer.bytes + (window.bytes if window is not None else 0),
            published=window.published if window is not None else 0,
            records=window.records if window is not None else 0,
            dropped=dict(+self._dropped),
            errors=self.errors,
        )

    def trouble(self, error: Exception) -> None:
        """Count an error that would otherwise have been the job's."""
        self.errors += 1
        self._notices.once("trouble", "internal error, the job is not affected: %s", line_of(error))

    def abandon(self) -> None:
        """In a forked child, which has no such thread: let go of everything that is the parent's."""
        self._transport.abandon()
        if self._outbox.spool is not None:
            self._outbox.spool.abandon()

    def _waiting(self) -> int:
        return len(self.intake) + self._outbox.calls + (self._window.calls if self._window is not None else 0)

    def _work(self) -> None:
        assert self._connection is not None
        assert self._window is not None
        failures = 0
        while failures < MOST_ERRORS and not self._over(self._window):
            try:
                self._turn(self._connection, self._window)
                failures = 0
            except Exception as error:
                failures += 1
                self.trouble(error)
                time.sleep(TICK_SECONDS)
        try:
            self._leave(self._window)
        except Exception as error:
            self.trouble(error)
        self._connection.close()
        self._done.set()

    def _over(self, window: Window) -> bool:
        if self._ending is None:
            return False
        return (self._ended and not len(window) and not len(self._outbox)) or time.monotonic() > self._deadline

    def _turn(self, connection: Connection, window: Window) -> None:
        ending = self._ending
        now = time.monotonic()
        # Before the imports of the first record, which take as long as connecting does.
        connected = connection.ensure(now)
        if self._open_spool is not None:
            self._begin_spooling(self._open_spool)
        _ = self.intake.records
        self._tick = self._next_tick(len(self.intake.rows)) if connected else TICK_SECONDS
        self.intake.gather(END if ending else now, self.trouble)
        if ending and not self._ended:
            connection.hurry()
            if now > self._patience:
                self.intake.give_up_on_devices()
            if not self.intake.held:
                self._ended = True
                self._post(self.intake.records.end(*ending))
        if connected:
            window.send()
            if now - self._made_at > HEARTBEAT_SECONDS and not ending:
                self._post(self.intake.records.heartbeat(HEARTBEAT_SECONDS))
        elif connection.troubled:
            self._outbox.spill()
        if len(window):
            window.settle(TICK_SECONDS)
        elif ending:
            time.sleep(TICK_SECONDS / 10)
        elif len(self.intake.rows) < CHUNK_ROWS:
            self._wake.wait(self._tick)

    def _next_tick(self, rows: int) -> float:
        """How long to wait for about `CHUNK_ROWS` rows, when ``rows`` came in the last tick."""
        if rows > CHUNK_ROWS:
            return max(TICK_SECONDS, self._tick / 2)
        return min(LONGEST_TICK, 2 * self._tick) if 2 * rows < CHUNK_ROWS else self._tick

    def _post(self, records: Sequence[Outgoing]) -> None:
        for record in records:
            self._outbox.add(record)
        if records:
            self._made_at = time.monotonic()
        for reason in ("steps_buffer_full", "predictions_buffer_full"):
            if reason in self._dropped:
                message = "the broker has been away so long that memory is full; the oldest %s are dropped and counted"
                self._notices.once(reason, message, reason.partition("_")[0])
        if self._connection is not None and self._connection.up and self._window is not None:
            self._window.send()

    def _thin(self, records: Sequence[Outgoing]) -> Outgoing:
        return self.intake.records.thin(records)

    def _begin_spooling(self, open_spool: Callable[[], Spool]) -> None:
        self._open_spool = None
        try:
            self._outbox.spool = open_spool()
        except OSError as error:
            self._notices.once("spool", "cannot spool (%s): memory has to do", error)

    def _leave(self, window: Window) -> None:
        """What did not arrive is left on disk, or lost."""
        arrived = self._ended and not self._waiting() and not len(self._outbox)
        window.put_back()
        self._outbox.spill()
        spool, target = self._outbox.spool, self._transport.target
        lost = len(self.intake) + self._outbox.buffer.calls
        if spool is not None and len(spool):
            message = "%d reported steps or batches did not reach %s in time and are kept in %s for the next process"
            self._notices.once("kept", message, spool.calls, target, spool.folder)
        if lost or not (arrived or spool is not None):
            self._notices.once(
                "lost", "%d reported steps or batches did not reach %s in time and are lost", lost, target
            )
        if spool is not None:
            spool.close()
