"""What the hook takes from the environment; arguments of `losswatch.start` win over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

SPOOL_BYTES: Final = 2**30
OFF: Final = frozenset({"0", "false", "no", "off"})


class Settings(NamedTuple):
    """The environment's part of a hook's configuration: ``run`` is ``LOSSWATCH_RUN``, and so on."""

    bootstrap_servers: str | None = None
    """Kafka servers to publish to, HOST:PORT,HOST:PORT. Without them the hook is off."""
    run: str | None = None
    """The run's id. Without one it is made of the job's name and a random part."""
    enabled: bool = True
    """0, false, no or off makes every hook of the process do nothing."""
    advice: str = "shadow"
    """What becomes of the service's advice: see `losswatch.advised.Mode`."""
    spool: str | None = None
    """A folder for what is reported while the broker is away. Without one memory has to do."""
    spool_bytes: int = SPOOL_BYTES
    """Most bytes in that folder, of all jobs that use it."""
    send_labels: bool = True
    """0, false, no or off keeps true labels and targets in the job."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in ``environ`` (default: the process's); empty values count as absent.

        >>> settings = Settings.from_environment({"LOSSWATCH_RUN": "ttt-42", "LOSSWATCH_ENABLED": "off"})
        >>> settings.run, settings.enabled
        ('ttt-42', False)
        """
        values = os.environ if environ is None else environ
        given = {name: values.get(f"LOSSWATCH_{name.upper()}", "").strip() for name in cls._fields}
        return cls(
            bootstrap_servers=given["bootstrap_servers"] or None,
            run=given["run"] or None,
            enabled=given["enabled"].lower() not in OFF,
            advice=given["advice"].lower() or "shadow",
            spool=given["spool"] or None,
            spool_bytes=int(given["spool_bytes"]) if given["spool_bytes"].isdecimal() else SPOOL_BYTES,
            send_labels=given["send_labels"].lower() not in OFF,
        )
