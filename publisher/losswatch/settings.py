"""What the hook takes from the environment; arguments of `losswatch.start` win over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

VARIABLES: Final[dict[str, str]] = {
    "LOSSWATCH_BOOTSTRAP_SERVERS": "Kafka servers to publish to, HOST:PORT,HOST:PORT. Without them the hook is off.",
    "LOSSWATCH_RUN": "The run's id. Without one it is made of the job's name and a random part.",
    "LOSSWATCH_ENABLED": "0, false, no or off makes every hook of the process do nothing.",
}
"""Every variable the hook reads, with its meaning."""


class Settings(NamedTuple):
    """The environment's part of a hook's configuration."""

    bootstrap_servers: str | None = None
    run: str | None = None
    enabled: bool = True

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings in ``environ`` (default: the process's); empty values count as absent.

        >>> Settings.from_environment({"LOSSWATCH_RUN": "ttt-42", "LOSSWATCH_ENABLED": "off"})
        Settings(bootstrap_servers=None, run='ttt-42', enabled=False)
        """
        values = os.environ if environ is None else environ
        return cls(
            bootstrap_servers=values.get("LOSSWATCH_BOOTSTRAP_SERVERS", "").strip() or None,
            run=values.get("LOSSWATCH_RUN", "").strip() or None,
            enabled=values.get("LOSSWATCH_ENABLED", "").strip().lower() not in {"0", "false", "no", "off"},
        )
