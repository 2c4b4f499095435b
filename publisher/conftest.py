"""Keras chooses its backend when it is imported, as the doctests of its adapter do."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
