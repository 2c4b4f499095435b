"""The jobs of cases B to E fail as they are said to, and their other variants do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import pytest

from examples import contrastive_collapse, label_maps, uncertainty_weighting, worse_where_it_matters
from losswatch.schema import Predictions, Steps
from tests.examples.published import published

Course = list[dict[str, float]]
SEEDS = range(2)


@pytest.mark.parametrize("alike", [False, True])
def test_the_test_total_is_the_mean_of_its_losses_or_made_as_that_of_validation_is(alike: bool) -> None:
    course, records = published(
        lambda run: uncertainty_weighting.train(run, 0, alike, 11), uncertainty_weighting.DECLARATION
    )
    evaluated = {record.phase: record for record in records if isinstance(record, Steps)}
    totals, parts = evaluated["test"].total, evaluated["test"].components
    assert totals is not None
    means = sum(parts[task] for task in uncertainty_weighting.TASKS) / len(uncertainty_weighting.TASKS)
    assert (totals == pytest.approx(means, rel=1e-5)) is not alike
    assert course[-1]["test"] == pytest.approx(float(totals[-1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_network_of_four_tasks_learns_without_reaching_the_clamp(seed: int) -> None:
    course, records = published(lambda run: uncertainty_weighting.train(run, seed, False), {})
    assert course[-1]["accuracy"] > 0.8
    shown = [s for record in records if isinstance(record, Steps) for s in record.log_vars.values()]
    assert max(abs(s).max() for s in shown) < uncertainty_weighting.CLAMP


@pytest.mark.parametrize("seed", SEEDS)
def test_hardest_triplets_end_in_one_place_with_a_loss_of_the_margin(seed: int) -> None:
    course, _ = published(lambda run: contrastive_collapse.train(run, seed, "triplet", 120), {})
    assert course[-1]["contrastive"] == pytest.approx(contrastive_collapse.MARGIN, abs=0.01)
    assert course[-1]["cosine"] > 0.99


@pytest.mark.parametrize("seed", SEEDS)
def test_prototypes_keep_the_embeddings_apart_and_keep_to_the_declared_course(seed: int) -> None:
    course, records = published(lambda run: contrastive_collapse.train(run, seed, "prototypes", 120), {})
    assert course[-1]["cosine"] < 0.1
    assert max(now["contrastive"] for now in course[50:]) < 1.2
    assert {
        record.embeddings.shape
        for record in records
        if isinstance(record, Predictions) and record.embeddings is not None
    } == {(397, 32)}


@pytest.mark.parametrize("seed", range(4))
def test_without_their_weight_the_severe_cases_are_worse_and_the_average_is_better(seed: int) -> None:
    courses: Mapping[bool, Course] = {
        annealed: published(partial(worse_where_it_matters.train, seed=seed, annealed=annealed), {})[0]
        for annealed in (True, False)
    }
    before, after = courses[True][worse_where_it_matters.KEPT_UNTIL], courses[True][-1]
    assert after["mae"] < 0.985 * before["mae"]
    assert after["severe"] > 1.3 * before["severe"]
    assert courses[False][-1]["severe"] < 1.05 * courses[False][worse_where_it_matters.KEPT_UNTIL]["severe"]


def test_checkpoints_slices_and_errors_per_sample_are_published_with_the_average() -> None:
    _, records = published(lambda run: worse_where_it_matters.train(run, 0, True, 4), {})
    validated = next(record for record in records if isinstance(record, Steps) and record.phase == "val")
    assert validated.checkpoint is not None
    assert validated.checkpoint[0] == "step-0.pt"
    assert set(validated.slices) == {"severe", "heavy"}
    predicted = next(record for record in records if isinstance(record, Predictions))
    assert set(predicted.errors) == {"progression", "sugar"}
    mean = sum(predicted.errors["progression"]) / worse_where_it_matters.VALIDATION
    assert mean == pytest.approx(float(validated.metrics["mae"][0]), rel=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_map_of_its_own_makes_validation_worse_and_a_shared_one_better(seed: int) -> None:
    own, shared = (published(partial(label_maps.train, seed=seed, shared=shared), {})[0] for shared in (False, True))
    assert own[-1]["total"] < 0.5
    assert own[-1]["val"] > 1.4 * min(now["val"] for now in own)
    assert shared[-1]["val"] < 0.5
    assert shared[-1]["val_accuracy"] > own[-1]["val_accuracy"] + 0.1


def test_both_maps_begin_with_what_is_normal_and_differ_in_the_anomalies() -> None:
    known, unseen = (label_maps.label_map(part.codes) for part in label_maps.load(0))
    assert tuple(known) == label_maps.KNOWN
    assert list(unseen) == [0, -1, 107, 106, 102, 6, 2]


def test_the_jobs_are_reproducible() -> None:
    for job in (
        lambda run: uncertainty_weighting.train(run, 3, False, 5),
        lambda run: contrastive_collapse.train(run, 3, "triplet", 5),
        lambda run: worse_where_it_matters.train(run, 3, True, 5),
        lambda run: label_maps.train(run, 3, False, 5),
    ):
        first, again = published(job, {})[0], published(job, {})[0]
        assert first == again
        assert all(math.isfinite(value) for now in first for value in now.values())
