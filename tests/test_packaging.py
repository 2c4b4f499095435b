"""What is installed is what was tested."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))


def project(path: str) -> dict[str, Any]:
    with (ROOT / path).open("rb") as file:
        found: dict[str, Any] = tomllib.load(file)
    return found


def required(pyproject: dict[str, Any]) -> set[str]:
    """The names of everything the project may install, and of what builds it."""
    extras = chain.from_iterable(pyproject["project"].get("optional-dependencies", {}).values())
    everything = (*pyproject["build-system"]["requires"], *pyproject["project"]["dependencies"], *extras)
    return {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in everything}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", ["pyproject.toml", "publisher/pyproject.toml"])
def test_every_requirement_has_a_pin(path: str) -> None:
    missing = {canonical(name) for name in required(project(path))} - {canonical(name) for name in PINS} - {"losswatch"}
    assert not missing, f"run `make lock`: constraints.txt lacks {missing}"


def test_a_training_job_installs_three_packages_and_msgpack_if_it_wants_to() -> None:
    publisher = project("publisher/pyproject.toml")["project"]
    wanted = (*publisher["dependencies"], *publisher["optional-dependencies"]["binary"])
    assert {re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in wanted} == {
        "kafka-python",
        "numpy",
        "pydantic",
        "msgpack",
    }
    assert publisher["requires-python"] == ">=3.10"


def test_both_distributions_have_one_version() -> None:
    assert project("pyproject.toml")["project"]["version"] == project("publisher/pyproject.toml")["project"]["version"]
