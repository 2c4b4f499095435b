"""The pages of docs/findings say everything about every kind and threshold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detectors.catalog import CELLS, KINDS, THRESHOLDS
from detectors.kinds import Kind, Threshold

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("Meaning", "Maths", "Fires", "Resolves", "Warm-up", "What to do", "Example")


def sections_of(page: Path) -> list[tuple[str, str]]:
    """Heading and text of each section, in order."""
    parts = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part) for part in parts]


PAGES = {page.stem: sections_of(page) for page in sorted((DOCS / "findings").glob("*.md"))}
HOLDERS = {kind: [family for family, parts in PAGES.items() if kind in dict(parts)] for kind in KINDS}
"""The families whose page has a section of that kind."""


def listed_on(family: str) -> list[str]:
    """The thresholds in the table of a family."""
    return re.findall(r"^\| `(\w+)` \| [\d.e-]+ \|", dict(PAGES[family]).get("Thresholds", ""), flags=re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: str(kind.name))
def test_every_kind_has_one_section_with_all_its_parts(kind: Kind) -> None:
    assert len(HOLDERS[kind.name]) == 1, f"one page of docs/findings has to have a section '## {kind.name}'"
    section = dict(PAGES[HOLDERS[kind.name][0]])[kind.name]
    missing = [part for part in PARTS if f"**{part}" not in section]
    assert not missing, f"the section {kind.name} of docs/findings lacks {missing}"
    assert f"Severity `{kind.severity}`, confirm {kind.confirm}, release {kind.release}" in section
    assert kind.threshold is None or f"`{kind.threshold}`" in section


@pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=lambda threshold: str(threshold.name))
def test_every_threshold_is_once_in_the_table_of_its_family_with_its_default_and_its_help(threshold: Threshold) -> None:
    kinds = [kind for cell in CELLS if threshold in cell.thresholds for kind in cell.kinds]
    families = {family for kind in kinds for family in HOLDERS[kind.name]} or set(PAGES)
    holders = [family for family in PAGES if threshold.name in listed_on(family)]
    assert len(holders) == 1
    assert holders[0] in families, f"it belongs into docs/findings/{min(families)}.md"
    row = f"| `{threshold.name}` | {threshold.default:g} | {threshold.help} |"
    assert row in dict(PAGES[holders[0]])["Thresholds"], f"docs/findings/{holders[0]}.md lacks the row: {row}"


@pytest.mark.parametrize("family", PAGES)
def test_nothing_is_documented_that_does_not_exist_and_nothing_twice(family: str) -> None:
    headings = [heading for heading, _ in PAGES[family]]
    assert set(headings) <= {"Thresholds", *KINDS}
    assert len(headings) == len(set(headings))
    listed = listed_on(family)
    assert set(listed) <= THRESHOLDS.keys()
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("family", PAGES)
def test_the_sections_of_a_page_are_in_the_order_of_the_catalog(family: str) -> None:
    documented = [heading for heading, _ in PAGES[family] if heading in KINDS]
    assert documented == [kind for kind in KINDS if kind in documented]


def test_the_index_says_how_findings_are_judged_and_lists_them() -> None:
    assert [heading for heading, _ in sections_of(DOCS / "findings.md")] == [
        "How a finding is judged", "Many series at once", "When a job goes back", "Kinds", "Thresholds",
    ]  # fmt: skip
