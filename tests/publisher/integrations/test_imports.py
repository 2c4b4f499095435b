from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {"torch", "lightning", "transformers", "accelerate", "keras", "sklearn"}


@pytest.mark.parametrize("module", ["losswatch", "losswatch.integrations.torch", "losswatch.integrations.sklearn"])
def test_no_framework_is_imported_before_it_is_needed(module: str) -> None:
    script = f"import sys, {module}; print(*({FRAMEWORKS!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
