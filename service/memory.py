"""How the process holds memory: what one batch gives back, the next one needs again."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

NEW_OBJECTS: Final = 20_000
"""As many are there while a batch is used: with Python's 700, most collections would find only those."""
OLDER: Final = 20
"""Collections of younger objects before one of older ones."""
MMAP_THRESHOLD: Final = (-3, 32 * 1024 * 1024)
TRIM_THRESHOLD: Final = (-1, 64 * 1024 * 1024)
"""Options of glibc's mallopt(3), and bytes."""


def keep_memory() -> None:
    """To be called once, when everything is imported: collect garbage less often, and not among what was imported; let
    glibc keep up to 64 MB that is free, as the detectors' next block takes them again. With another C library only the
    first."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, OLDER, OLDER)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            mallopt(*option)
