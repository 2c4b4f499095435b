"""What the hook says in the job's log: each kind of thing once."""

from __future__ import annotations

import contextlib


def text_of(value: object, most: int = 300) -> str:
    """The value as a text that can be encoded, of at most ``most`` characters, whatever it is."""
    try:
        return str(value).encode("utf-8", "replace").decode()[:most]
    except Exception:  # the job's objects may raise anything
        return f"<{type(value).__name__}>"


def line_of(error: BaseException) -> str:
    """The error in a line."""
    return f"{type(error).__name__}: {text_of(error)}"[:300]


class Notices:
    """Says each kind of thing once on the ``losswatch`` logger, whatever the thread."""

    def __init__(self) -> None:
        import logging  # a third of what `import losswatch` would cost

        self._said: set[str] = set()
        self._logger = logging.getLogger("losswatch")

    def once(self, kind: str, message: str, *args: object) -> bool:
        """Log ``message % args`` as a warning unless this ``kind`` was said before and not taken back.

        Returns whether it was said now.
        """
        if kind in self._said:
            return False
        self._said.add(kind)
        with contextlib.suppress(Exception):  # a log handler of the job's must not become our exception
            self._logger.warning("losswatch: " + message, *args)
        return True

    def info(self, message: str, *args: object) -> None:
        """Log every time, for what happens seldom and is good news."""
        self._logger.info("losswatch: " + message, *args)

    def take_back(self, kind: str) -> bool:
        """Let ``kind`` be said again; whether it had been said."""
        said = kind in self._said
        self._said.discard(kind)
        return said
