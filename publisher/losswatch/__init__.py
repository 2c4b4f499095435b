"""losswatch: report a training run's losses and predictions to the losswatch service."""

from __future__ import annotations

from losswatch.integrations.logger import Logger
from losswatch.integrations.torch import watch
from losswatch.run import Run
from losswatch.sender import Stats
from losswatch.starting import start

__all__ = ["Logger", "Run", "Stats", "start", "watch"]
