"""How the process holds memory."""

from __future__ import annotations

import subprocess
import sys

TOLD = """
import gc
from service.memory import keep_memory
keep_memory()
print(gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 10_000, gc.isenabled())
"""


def test_what_was_imported_is_left_out_of_collections_which_become_rarer() -> None:
    done = subprocess.run([sys.executable, "-c", TOLD], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "True"]
