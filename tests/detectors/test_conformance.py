"""Every check crossed with every detector of the catalog."""

from __future__ import annotations

import pytest

from detectors.catalog import CELLS
from detectors.cell import Cell
from tests.detectors.conformance import CHECKS, Check, name_of


@pytest.mark.parametrize(
    ("cell", "check"),
    [pytest.param(cell, check, id=f"{cell.name}:{name_of(check)}") for cell in CELLS for check in CHECKS],
)
def test_every_detector_keeps_the_contract(cell: Cell, check: Check) -> None:
    check(cell)
