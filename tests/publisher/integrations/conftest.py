"""Keras chooses its backend when it is imported."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
