"""docs/findings.md says everything about every kind and threshold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detectors.catalog import CELLS, KINDS, THRESHOLDS
from detectors.cell import Kind, Threshold

TEXT = (Path(__file__).parents[2] / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
PARTS = ("Meaning", "Maths", "Fires", "Resolves", "Warm-up", "What to do", "Example")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: str(kind.name))
def test_every_kind_has_a_section_with_all_its_parts(kind: Kind) -> None:
    assert kind.name in SECTIONS, f"docs/findings.md has no section '## {kind.name}'"
    section = SECTIONS[kind.name]
    missing = [part for part in PARTS if f"**{part}" not in section]
    assert not missing, f"the section {kind.name} of docs/findings.md lacks {missing}"
    assert f"Severity `{kind.severity}`, confirm {kind.confirm}, release {kind.release}" in section
    assert kind.threshold is None or f"`{kind.threshold}`" in section


@pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=lambda threshold: str(threshold.name))
def test_every_threshold_is_in_the_table_with_its_default_and_its_help(threshold: Threshold) -> None:
    row = f"| `{threshold.name}` | {threshold.default:g} | {threshold.help} |"
    assert row in SECTIONS["Thresholds"], f"docs/findings.md lacks the row: {row}"


def test_nothing_is_documented_that_does_not_exist() -> None:
    assert set(SECTIONS) == {"How a finding is judged", "Thresholds", *KINDS}
    listed = set(re.findall(r"^\| `(\w+)` \| [\d.]+ \|", SECTIONS["Thresholds"], flags=re.MULTILINE))
    assert listed == THRESHOLDS.keys()


def test_the_sections_are_in_the_order_of_the_catalog() -> None:
    assert [name for name in SECTIONS if name in KINDS] == [kind.name for cell in CELLS for kind in cell.kinds]
