"""losswatch: report a training run's losses and predictions to the losswatch service."""

from __future__ import annotations

from losswatch.run import Run, start
from losswatch.sender import Stats

__all__ = ["Run", "Stats", "start"]
