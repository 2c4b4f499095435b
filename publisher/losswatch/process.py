"""What the life of the process means for its runs: forks, SIGTERM, exit."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Literal, Protocol

from losswatch.notices import line_of

Status = Literal["finished", "failed", "stopped"]
EXIT_SECONDS: Final = 2.0
"""How long the interpreter's exit, or a SIGTERM, may be delayed for a run that was not finished."""


class Forked(Protocol):
    """A run, as far as a fork goes."""

    def _in_child(self) -> None:
        """Fall silent: this is a child, and the run is the parent's."""


_live: Final[weakref.WeakSet[Any]] = weakref.WeakSet()


def silence_in_children(run: Forked) -> None:
    """Let a forked child (a DataLoader worker) report nothing of the run."""
    _watch_forks()
    _live.add(run)


def verdict(error: BaseException | None) -> tuple[Status, str | None]:
    """How a run ended, by the exception that ended it.

    >>> verdict(SystemExit(0)), verdict(KeyboardInterrupt())
    (('finished', None), ('stopped', 'KeyboardInterrupt: '))
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "finished", None
    return ("stopped" if isinstance(error, KeyboardInterrupt) else "failed"), line_of(error)


def verdict_at_exit() -> tuple[Status, str | None]:
    """How a run ended that the interpreter's exit found open."""
    # In an interactive session the last error need not be why it ends.
    return verdict(None if hasattr(sys, "ps1") else getattr(sys, "last_value", None))


def chain_sigterm(told: Callable[[], None], end: Callable[[], object]) -> bool:
    """Hear of SIGTERM before whoever handles it now; whether that is possible.

    ``told`` is called when another handler goes on to deal with it, ``end`` before the signal's default
    ends the process. Where SIGTERM is ignored it stays so. Only the main thread can set handlers.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before is None:  # a handler that Python did not set and could not call
        return False

    def handle(number: int, frame: FrameType | None) -> None:
        if callable(before):
            told()
            before(number, frame)
        elif before == signal.SIG_DFL:
            end()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, handle)
        return True
    return False


@functools.cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_silence)


def _silence() -> None:
    for run in list(_live):
        run._in_child()
