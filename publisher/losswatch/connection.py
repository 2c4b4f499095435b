"""Keeps a transport connected, with back-off, without ever waiting for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final

from losswatch.notices import Notices, line_of
from losswatch.transport import Transport, Unavailable

FIRST_DELAY: Final = 0.25
LONGEST_DELAY: Final = 5.0
"""Seconds between attempts. An attempt at a refusing or a silent broker costs milliseconds of CPU."""

QUIET_SECONDS: Final = 60.0
"""Outages that come closer together than this are mentioned once."""


class Helper:
    """A daemon thread that runs what it is given, one after another.

    It starts at once. Since Python 3.12 no thread can be started while the interpreter exits, which is
    when a short script has everything left to send.
    """

    def __init__(self, name: str) -> None:
        self._jobs: Final[queue.SimpleQueue[Callable[[], object] | None]] = queue.SimpleQueue()
        self._idle: Final = threading.Event()
        self._idle.set()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether it has something to do."""
        return not self._idle.is_set()

    def do(self, job: Callable[[], object]) -> None:
        """Run the job when those before it are done; it must not raise. One thread only."""
        self._idle.clear()
        self._jobs.put(job)

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for everything to be done; whether it is."""
        return self._idle.wait(timeout)

    def stop(self) -> None:
        """End the thread when everything is done."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            finally:
                if self._jobs.empty():
                    self._idle.set()


class Connection:
    """The state of a transport's connection; attempts run on a thread of its own."""

    def __init__(self, transport: Transport, topics: Sequence[str], notices: Notices) -> None:
        self.up = self.troubled = False
        """Whether it is there; whether it failed and nothing was confirmed since."""
        self._transport = transport
        self._topics = topics
        self._notices = notices
        self._delay = FIRST_DELAY
        self._retry_at = float("-inf")
        self._helper = Helper("losswatch-connect")
        self._attempted = False
        self._outcome: Unavailable | None = None
        self._given_up = False
        self._silent_until = float("-inf")

    def ensure(self, now: float) -> bool:
        """Whether it is up at monotonic time ``now``; starts an attempt where one is due."""
        if self.up:
            return True
        if self._attempted:
            if self._helper.busy:
                return False
            self._attempted = False
            if self._outcome is None:
                self._connected(now)
                return True
            self._failed(self._outcome, now)
        elif now >= self._retry_at:
            self._begin()
        return False

    def lost(self, error: Exception, now: float) -> None:
        """Close it after a failure of a delivery."""
        self.up = False
        self._transport.close()
        self._failed(error, now)

    def confirmed(self) -> None:
        """Note that the broker took a record, which ends the back-off."""
        self._delay = FIRST_DELAY
        self.troubled = False

    def hurry(self) -> None:
        """From now on try without much delay: there is little time left."""
        self._delay, self._retry_at = FIRST_DELAY, float("-inf")

    def close(self) -> None:
        """Close it for good; an attempt under way closes what it opens."""
        self._given_up = True
        self.up = False
        if not self._helper.busy:
            self._transport.close()
            self._transport.dismiss()
        self._helper.stop()

    def _begin(self) -> None:
        self._outcome = None
        self._attempted = True
        self._helper.do(self._connect)

    def _connect(self) -> None:
        try:
            self._transport.connect(self._topics)
        except Unavailable as error:
            self._outcome = error
        except Exception as error:
            self._outcome = Unavailable(line_of(error))
        if self._given_up:
            self._transport.close()
            self._transport.dismiss()

    def _connected(self, now: float) -> None:
        self.up = True
        if now >= self._silent_until and self._notices.take_back("unavailable"):
            self._notices.info("publishing to %s again", self._transport.target)

    def _failed(self, error: Exception, now: float) -> None:
        message = "cannot publish to %s yet (%s). The job goes on; what it reports is kept and sent later"
        if self._notices.once("unavailable", message, self._transport.target, error):
            self._silent_until = now + QUIET_SECONDS
        self.troubled = True
        self._retry_at = now + self._delay
        self._delay = min(LONGEST_DELAY, 2 * self._delay)
