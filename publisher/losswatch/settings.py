"""What the hook takes from the environment; arguments of `losswatch.start` win over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

VARIABLES: Final[dict[str, str]] = {
    "LOSSWATCH_BOOTSTRAP_SERVERS": "Kafka servers to publish to, HOST:PORT,HOST:PORT. Without them the hook is off.",
    "LOSSWATCH_RUN": "The run's id. Without one it is made of the job's name and a random part.",
    "LOSSWATCH_ENABLED": "0, false, no or off makes every hook of the process do nothing.",
    "LOSSWATCH_ADVICE": "shadow, follow or off: what becomes of the service's advice (default: shadow).",
    "LOSSWATCH_SPOOL": "A folder for what is reported while the broker is away. Without one memory has to do.",
    "LOSSWATCH_SPOOL_BYTES": "Most bytes in that folder, of all jobs that use it (default: 1 GiB).",
    "LOSSWATCH_SEND_LABELS": "0, false, no or off keeps true labels and targets in the job.",
}
"""Every variable the hook reads, with its meaning."""


SPOOL_BYTES: Final = 2**30
OFF: Final = frozenset({"0", "false", "no", "off"})


class Settings(NamedTuple):
    """The environment's part of a hook's configuration."""

    bootstrap_servers: str | None = None
    run: str | None = None
    enabled: bool = True
    advice: str = "shadow"
    spool: str | None = None
    spool_bytes: int = SPOOL_BYTES
    send_labels: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in ``environ`` (default: the process's); empty values count as absent.

        >>> settings = Settings.from_environment({"LOSSWATCH_RUN": "ttt-42", "LOSSWATCH_ENABLED": "off"})
        >>> settings.run, settings.enabled
        ('ttt-42', False)
        """
        values = os.environ if environ is None else environ
        spool_bytes = values.get("LOSSWATCH_SPOOL_BYTES", "").strip()
        return cls(
            bootstrap_servers=values.get("LOSSWATCH_BOOTSTRAP_SERVERS", "").strip() or None,
            run=values.get("LOSSWATCH_RUN", "").strip() or None,
            enabled=values.get("LOSSWATCH_ENABLED", "").strip().lower() not in OFF,
            advice=values.get("LOSSWATCH_ADVICE", "").strip().lower() or "shadow",
            spool=values.get("LOSSWATCH_SPOOL", "").strip() or None,
            spool_bytes=int(spool_bytes) if spool_bytes.isdecimal() else SPOOL_BYTES,
            send_labels=values.get("LOSSWATCH_SEND_LABELS", "").strip().lower() not in OFF,
        )
