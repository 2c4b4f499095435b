"""Log output: aligned text for people or one JSON object a line for machines, on standard error."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else was given as ``extra``."""


class TextFormatter(logging.Formatter):
    """``12:31:07 warning  worker    The broker is away ...``: local time, level, last part of the logger's name."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(level)-7s %(where)-10s %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line; control characters in it cannot fake a second one."""
        record.level, record.where = record.levelname.lower(), record.name.rpartition(".")[2]
        line = super().format(record)
        head, newline, rest = line.partition("\n") if record.exc_info else (line, "", "")
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in head) + newline + rest


class JsonFormatter(logging.Formatter):
    """``{"time": ..., "level": ..., "logger": ..., "message": ...}`` and whatever was given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The object on one line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def configure(level: str, style: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send all log messages of at least ``level`` to ``stream`` (standard error), replacing earlier handlers.

    kafka-python and uvicorn are heard only at debug: what they warn of, the service tells in its own words.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    debug = level == "debug"
    for library, quiet in (("kafka", logging.CRITICAL), ("uvicorn", logging.ERROR), ("asyncio", logging.ERROR)):
        logging.getLogger(library).setLevel(logging.DEBUG if debug else quiet)
    logging.getLogger("kafka.admin.client").setLevel(logging.INFO if debug else logging.NOTSET)  # it tells passwords
