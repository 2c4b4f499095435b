"""The detectors are as good as they were when the quality suite was last written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench.quality import oracle, recorded
from bench.quality.budgets import budget
from bench.quality.noise import FAMILIES, Draw
from bench.quality.score import loss_side_kinds
from bench.quality.synthetic import GENERATORS

KINDS = loss_side_kinds()
DOCS = Path(__file__).parents[2] / "docs" / "findings"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_has_a_generator(kind: str) -> None:
    assert kind in GENERATORS, f"add a generator for {kind} to bench/quality/synthetic.py"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_recorded(kind: str) -> None:
    assert kind in recorded.load(), "run python -m bench.quality --write"


@pytest.mark.parametrize("kind", KINDS)
def test_the_documents_state_the_budget_of_a_kind(kind: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    (section,) = re.findall(rf"^## {kind}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    stated = re.search(r"Budget: ([\d.]+) in 10,000 steps", section)
    assert stated, f"say in the section of {kind} what its budget is"
    assert float(stated[1]) == budget(kind, "white")
    for family in FAMILIES:
        assert f"{budget(kind, family):g}" in section


def test_no_kind_became_worse_than_its_tolerance() -> None:
    before = {kind: figures for kind, figures in recorded.load().items() if kind in KINDS}
    assert recorded.worse(recorded.measure(sorted(before)), before) == []


def test_what_could_be_found_is_all_of_the_large_spikes_and_few_of_the_small_ones() -> None:
    assert oracle.recall("ar0.9", 0.15, 5.0, steps=200, onset=120) == 1.0
    assert oracle.recall("ar0.9", 0.15, 0.5, steps=200, onset=120) < 0.2


def test_what_could_be_found_falls_with_the_noise_and_rises_with_the_failure() -> None:
    stuck = [oracle.stagnation_recall(level, 0.9, 720, 100.0) for level in (0.05, 0.15, 0.5)]
    parted = [oracle.slice_recall("trending", 0.05, strength, 720, 400) for strength in (3.0, 5.0)]
    assert stuck == sorted(stuck, reverse=True)
    assert stuck[-1] < 0.3
    assert 0.9 < parted[0] < parted[1]


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_makes_the_same_run_from_the_same_seed(kind: str) -> None:
    first, second = (GENERATORS[kind](Draw(np.random.default_rng(3), "white", 0.1, 3.0, 120, 60)) for _ in range(2))
    for one, other in zip(first.phases, second.phases, strict=True):
        if "total" in one.fields:
            np.testing.assert_array_equal(one.fields["total"], other.fields["total"])
    assert (first.declared, first.onset) == (second.declared, second.onset)
