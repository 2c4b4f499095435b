"""The alerts on findings are made from the entry of each kind, and are up to date."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scripts import generate_alert_rules
from tests.deploy.commands import ROOT

ENTRIES = generate_alert_rules.entries()


@pytest.mark.parametrize("path", [path.relative_to(ROOT).as_posix() for path in generate_alert_rules.render()])
def test_the_generated_file_is_up_to_date(path: str) -> None:
    expected = generate_alert_rules.render()[ROOT / path]
    assert (ROOT / path).read_text() == expected, "run python -m scripts.generate_alert_rules (or make docs)"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.kind))
def test_a_kind_is_described_on_the_page_of_the_family_that_its_alert_is_in(entry: generate_alert_rules.Entry) -> None:
    page = ROOT / "docs" / "findings" / f"{entry.family}.md"
    assert f"\n## {entry.kind}\n" in page.read_text(encoding="utf-8")


def test_a_kind_without_an_entry_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_alert_rules, "ENTRIES", tmp_path)
    (tmp_path / "run_health.yml").write_text((ROOT / "deploy/prometheus/findings/run_health.yml").read_text())
    with pytest.raises(ValueError, match=r"has no entry for .*component_conflict"):
        generate_alert_rules.entries()


def test_an_entry_for_what_is_no_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate_alert_rules, "ENTRIES", tmp_path)
    (tmp_path / "x.yml").write_text("- {kind: bad_luck}")
    with pytest.raises(ValueError, match=r"x\.yml: bad_luck is no kind of finding"):
        generate_alert_rules.entries()


@pytest.mark.parametrize(
    ("description", "problem"), [("{value:5}", "neither percent nor like .3f"), ("{size}", "none of the words")]
)
def test_an_alert_that_cannot_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, description: str, problem: str
) -> None:
    broken = dataclasses.replace(ENTRIES[0], description=description)
    monkeypatch.setattr(generate_alert_rules, "entries", lambda: [broken])
    with pytest.raises(ValueError, match=problem):
        generate_alert_rules.render()
