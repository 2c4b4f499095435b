"""Threads that are started while threads can still be started."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

Job = Callable[[], object]


class Helper:
    """A daemon thread that runs what it is given, one after another.

    It starts at once. Since Python 3.12 no thread can be started while the interpreter exits, which is
    when a short script has everything left to send.
    """

    def __init__(self, name: str) -> None:
        self._jobs: Final[queue.SimpleQueue[Job | None]] = queue.SimpleQueue()
        self._idle: Final = threading.Event()
        self._idle.set()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether it has something to do."""
        return not self._idle.is_set()

    def do(self, job: Job) -> None:
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
