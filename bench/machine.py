"""What the figures were measured on, and what a process takes of it."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path


def machine() -> str:
    """Cores, processor, system and Python, for the head of a page of results; no full stop at the end."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.machine())
    return f"Machine: {os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
