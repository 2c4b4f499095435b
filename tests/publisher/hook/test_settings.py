"""The hook's environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from losswatch.settings import Settings

DOCS = Path(__file__).parents[3] / "docs" / "hook.md"


@pytest.mark.parametrize(
    ("value", "enabled"), [("", True), ("1", True), ("0", False), ("False", False), (" off ", False)]
)
def test_the_switch_is_on_unless_it_says_off(value: str, enabled: bool) -> None:
    assert Settings.from_environment({"LOSSWATCH_ENABLED": value}).enabled is enabled


def test_empty_variables_count_as_absent() -> None:
    assert Settings.from_environment({"LOSSWATCH_RUN": " ", "LOSSWATCH_BOOTSTRAP_SERVERS": ""}) == Settings()


def test_every_variable_is_documented_and_nothing_else() -> None:
    assert set(re.findall(r"LOSSWATCH_[A-Z_]+", DOCS.read_text())) == {
        f"LOSSWATCH_{name.upper()}" for name in Settings._fields
    }
