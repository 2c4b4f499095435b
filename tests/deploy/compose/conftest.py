"""What every test of the compose file needs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy.compose.composed import resolved


@pytest.fixture(scope="package")
def services() -> dict[str, Any]:
    """Every service by name, with everything filled in by its default."""
    return resolved()
