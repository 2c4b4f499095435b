"""Collapse and decline of class entropy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.cell import BAD, GOOD, UNKNOWN, Block, State
from detectors.kinds import Facts
from detectors.predictions.distribution import entropy, moments_of
from detectors.predictions.diversity import (
    COLLAPSE,
    DECLINE,
    FLOOR,
    GAIN,
    HORIZON,
    TARGET,
    Diversity,
    adaptive_weight,
)
from tests.detectors import lifecycles
from tests.detectors.blocks import cuts_of, run

Floats = npt.NDArray[np.float64]
THRESHOLDS = {t.name: t.default for t in (FLOOR, HORIZON, TARGET, GAIN)}


def means_of(class_entropy: Floats, classes: int) -> Floats:
    """Distributions (R, C, T) of the given entropies (R, T): one class has more than the others."""
    top = np.linspace(1 / classes, 1, 20_001)
    rest = (1 - top) / (classes - 1)
    grid = -top * np.log(top) - (classes - 1) * np.where(rest > 0, rest * np.log(np.maximum(rest, 1e-300)), 0)
    p = np.interp(-class_entropy * np.log(classes), -grid, top)
    return np.concatenate([p[:, None], np.repeat((1 - p[:, None]) / (classes - 1), classes - 1, axis=1)], axis=1)


def stream(
    class_entropy: Floats, samples: int = 512, classes: int = 10, every: int = 1, *, sharpness: float = 0.7,
    mean: Floats | None = None, labels: float | None = None,
) -> Block:  # fmt: skip
    """Records of the given class entropy (R, T), one every so many steps."""
    values = torch.from_numpy(class_entropy)
    ones = torch.ones_like(values)
    p = torch.from_numpy(means_of(class_entropy.clip(0, 1), classes) if mean is None else mean)  # (R, C, T)
    collision, surprise = moments_of(p.transpose(1, 2))
    return Block(
        (torch.arange(values.shape[1]) * every).expand(values.shape),
        ones.bool(),
        {
            "samples": ones * samples,
            "classes": ones * classes,
            "class_entropy": values,
            "sample_entropy": values / 2,
            "sharpness": ones * sharpness,
            "collision": collision,
            "surprise": surprise,
            "max_class_probability": p.amax(1),
            "unique_classes": ones * classes,
            "calibration_error": ones * torch.nan,
            "label_entropy": ones * (torch.nan if labels is None else labels),
            "mean": p,
            "predicted": p * samples,
        },
    )


def fresh(cell: Diversity, block: Block) -> State:
    """With a slot for each class."""
    return cell.init(block.mask.shape[0], block.values["mean"].shape[1], block.values["mean"])


def statuses(block: Block) -> dict[str, list[list[str]]]:
    """Of rows with a slot for each class."""
    return lifecycles.statuses(Diversity(), block, block.values["mean"].shape[1])


def first_firing(block: Block, name: str) -> int | None:
    """The record at which the only row's finding of a kind fires."""
    return next((t for t, status in enumerate(statuses(block)[name][0]) if status == "firing"), None)


def test_collapse_fires_at_the_fifth_record_that_is_surely_below_the_floor() -> None:
    falling = np.linspace(0.97, 0.55, 200)[None]
    below = int((falling[0] + 0.0038 < 0.85).argmax())
    fired = first_firing(stream(falling, samples=20_000), "diversity_collapse")
    assert fired is not None
    assert 0 <= fired - (below + 4) <= 3
    later = first_firing(stream(falling), "diversity_collapse")
    assert later is not None
    assert fired < later <= below + 34, "512 samples are less sure than 20,000"


@pytest.mark.parametrize(("share", "fires"), [(1.0, False), (0.9, False), (0.5, True), (0.0, True)])
def test_predictions_as_diverse_as_the_labels_have_not_collapsed(share: float, fires: bool) -> None:
    block = stream(np.full((1, 60), share * 0.5), samples=256, classes=2, sharpness=1.0, labels=0.5)
    assert (first_firing(block, "diversity_collapse") is not None) == fires
    unlabelled = stream(np.full((1, 60), share * 0.5), samples=256, classes=2, sharpness=1.0)
    assert first_firing(unlabelled, "diversity_collapse") == 4


def test_labels_do_not_raise_the_floor() -> None:
    values = np.full((1, 60), 0.9)
    assert first_firing(stream(values, labels=1.0), "diversity_collapse") is None


def test_small_batches_are_judged_by_their_window() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.97, 0.03])
    counts = np.stack([rng.multinomial(8, p, size=60)]).transpose(0, 2, 1) / 8  # (1, C, T)
    block = stream(entropy(torch.from_numpy(counts.transpose(0, 2, 1))).numpy(), 8, 2, sharpness=1.0, mean=counts)
    verdict = run(Diversity(), fresh(Diversity(), block), [block]).verdicts["diversity_collapse"]
    assert (verdict[0, :3] == UNKNOWN).all(), "eight samples say nothing on their own"
    assert first_firing(block, "diversity_collapse") is not None


def labels_as_records(classes: int, samples: int, p: Floats, rows: int = 20, records: int = 100) -> Block:
    """Records of sure predictions, drawn from a distribution, of more classes than have slots."""
    rng = np.random.default_rng(classes + samples)
    drawn = rng.choice(classes, (rows, records, samples), p=p)
    ordered = np.sort(drawn, axis=-1)
    first = np.concatenate([np.ones((rows, records, 1), bool), ordered[..., 1:] != ordered[..., :-1]], -1)
    runs = np.diff(np.flatnonzero(np.append(first, True)))  # how often each class occurs in its record
    record = np.repeat(np.arange(rows * records), first.reshape(rows * records, -1).sum(1))
    share = runs / samples

    def total(x: Floats) -> torch.Tensor:
        return torch.from_numpy(np.bincount(record, x, rows * records).reshape(rows, records))

    ones, none = torch.ones(rows, records, dtype=torch.float64), torch.zeros(rows, 0, records, dtype=torch.float64)
    values = {
        "samples": ones * samples,
        "classes": ones * classes,
        "class_entropy": total(-share * np.log(share)) / math.log(classes),
        "collision": total(share**2),
        "surprise": total(share * np.log(share) ** 2),
        "mean": none,
        "predicted": none,
        "sharpness": ones,
    }
    rest = ("sample_entropy", "max_class_probability", "unique_classes", "calibration_error", "label_entropy")
    step = torch.arange(records).expand(rows, records)
    return Block(step, ones.bool(), values | dict.fromkeys(rest, ones * torch.nan))


def told_first(block: Block) -> list[int | None]:
    """The record at which each row is first found to have collapsed."""
    return [
        next((at for at, state in enumerate(row) if state == "firing"), None)
        for row in statuses(block)["diversity_collapse"]
    ]


@pytest.mark.parametrize(
    ("classes", "samples", "by"), [(5000, 8, 20), (50_000, 16, 20), (50_000, 32, 9), (100_000, 32, 9)]
)
def test_small_batches_of_very_many_classes_are_judged_by_their_window(classes: int, samples: int, by: int) -> None:
    few = np.where(np.arange(classes) < 2, 0.5, 0.0)
    found = told_first(labels_as_records(classes, samples, few, records=30))
    assert all(at is not None and 64 / samples <= at + 1 <= by for at in found)


@pytest.mark.parametrize("samples", [8, 32, 256, 1024])
@pytest.mark.parametrize("classes", [1500, 50_000])
def test_a_predictor_of_very_many_classes_above_the_floor_is_not_collapsed(classes: int, samples: int) -> None:
    place = np.arange(1, classes + 1)
    for power in (0.0, 0.7):
        p = place**-power / (place**-power).sum()
        assert -(p @ np.log(p)) / math.log(classes) > 0.88
        assert told_first(labels_as_records(classes, samples, p, records=60)) == [None] * 20


def test_a_predictor_above_the_floor_is_not_collapsed_whatever_its_batches() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.70, 0.30])  # a class entropy of 0.88
    for samples in (1, 8, 32, 256):
        counts = rng.multinomial(samples, p, size=(50, 500)).transpose(0, 2, 1) / samples
        told = entropy(torch.from_numpy(counts.transpose(0, 2, 1))).numpy()
        found = statuses(stream(told, samples, 2, sharpness=1.0, mean=counts))
        assert sum("firing" in row for row in found["diversity_collapse"]) <= 2, samples


def test_soft_predictions_over_many_classes_cannot_hide_behind_few_samples() -> None:
    """What 64 labels of 1,000 classes could excuse, 64 soft predictions cannot."""
    p = np.full((1, 1000, 30), 0.5 / 900)
    p[:, :100] = 0.5 / 100
    told = np.full((1, 30), entropy(torch.from_numpy(p[0, :, 0])).item())
    assert 0.80 < told[0, 0] < 0.96
    raised = {FLOOR.name: 0.98}
    for sharpness, collapsed in ((float((p[0, :, 0] ** 2).sum()), True), (1.0, False)):
        block = stream(told, 64, 1000, sharpness=sharpness, mean=p)
        limits = {name: torch.full((1,), value, dtype=torch.float64) for name, value in (THRESHOLDS | raised).items()}
        verdict = Diversity().update(fresh(Diversity(), block), block, limits).verdicts["diversity_collapse"]
        assert (verdict[0, 0] == BAD).item() is collapsed


def test_an_autocorrelated_class_entropy_near_its_floor_hardly_ever_declines() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((50, 1000))
    for t in range(1, 1000):
        noise[:, t] = 0.9 * noise[:, t - 1] + math.sqrt(1 - 0.81) * noise[:, t]
    found = statuses(stream(np.clip(0.90 + 0.01 * noise, 0, 1)))
    assert sum(row.count("firing") for row in found["diversity_decline"]) <= 150  # of 50,000 records
    assert not any("firing" in row for row in found["diversity_collapse"])


def test_case_a_is_no_collapse_yet_and_is_one_at_a_floor_above_it() -> None:
    p = torch.linspace(0.6112, 0.6895, 150, dtype=torch.float64)
    block = stream(entropy(torch.stack([p, 1 - p], -1)).numpy()[None], classes=2)
    assert first_firing(block, "diversity_collapse") is None
    state = fresh(Diversity(), block)
    raised = {
        name: torch.full((1,), value, dtype=torch.float64) for name, value in (THRESHOLDS | {FLOOR.name: 0.92}).items()
    }
    assert (Diversity().update(state, block, raised).verdicts["diversity_collapse"][0, -5:] == BAD).all()


def test_case_a_is_forecast_to_collapse() -> None:
    p = torch.linspace(0.6112, 0.6895, 150, dtype=torch.float64)
    block = stream(entropy(torch.stack([p, 1 - p], -1)).numpy()[None], classes=2)
    output = run(Diversity(), fresh(Diversity(), block), [block])
    assert first_firing(block, "diversity_decline") is not None
    assert 0 < output.readings["class_entropy_steps_to_floor"][0, -1].item() < 100


@pytest.mark.parametrize("every", [1, 5])
def test_the_forecast_of_a_straight_line_is_exact_and_comes_before_the_collapse(every: int) -> None:
    slope = 0.001
    noise = 0.0005 * np.random.default_rng(0).standard_normal((1, 200))
    block = stream(0.97 - slope * np.arange(200)[None] + noise, every=every)
    left = run(Diversity(), fresh(Diversity(), block), [block]).readings["class_entropy_steps_to_floor"]
    at = 60
    want = (0.97 - slope * at + 0.0038 - 0.85) / slope * every
    assert left[0, at].item() == pytest.approx(want, rel=0.1)
    decline, collapse = (first_firing(block, name) for name in ("diversity_decline", "diversity_collapse"))
    assert decline is not None
    assert collapse is not None
    assert decline < collapse - 50 / every


def test_a_constant_class_entropy_does_not_decline_wherever_it_is() -> None:
    for level in (1 / 3, 0.86, 0.97, 1.0):
        assert first_firing(stream(np.full((1, 500), level)), "diversity_decline") is None


@pytest.mark.parametrize(
    ("samples", "classes"), [(1, 2), (2, 2), (4, 2), (8, 2), (16, 2), (1, 10), (8, 10), (64, 10), (8, 100), (64, 1000)]
)
def test_a_uniform_predictor_never_looks_collapsed_however_few_its_samples(samples: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    rows = 50 if classes < 100 else 1000 // classes
    counts = rng.multinomial(samples, np.full(classes, 1 / classes), size=(rows, 500)) / samples  # (R, T, C)
    told = entropy(torch.from_numpy(counts)).numpy()
    block = stream(told, samples, classes, sharpness=1.0, mean=counts.transpose(0, 2, 1))
    found = statuses(block)
    assert not any("firing" in row for row in found["diversity_collapse"])
    assert sum("firing" in row for row in found["diversity_decline"]) <= 4


@pytest.mark.parametrize(("mean", "deviation"), [(0.95, 0.005), (0.95, 0.02), (0.97, 0.01)])
def test_white_noise_above_the_floor_hardly_ever_declines(mean: float, deviation: float) -> None:
    noise = np.random.default_rng(0).standard_normal((50, 1000))
    found = statuses(stream(np.clip(mean + deviation * noise, 0, 1)))
    assert sum("firing" in row for row in found["diversity_decline"]) <= 2
    assert not any("firing" in row for row in found["diversity_collapse"])


def test_too_few_samples_are_unknown_and_enough_of_them_can_be_bad() -> None:
    collapsed = np.zeros((1, 30))
    for samples, first in ((4, 17), (8, 9), (512, 1)):
        block = stream(collapsed, samples, classes=2)
        found = run(Diversity(), fresh(Diversity(), block), [block]).verdicts["diversity_collapse"][0]
        assert (found[: first - 1] == UNKNOWN).all()
        assert (found[first + 1 :] == BAD).all()


def test_a_class_entropy_that_is_not_finite_is_unknown_and_forgotten() -> None:
    values = np.full((1, 60), 0.95)
    values[0, 30] = math.nan
    block = stream(values)
    output = run(Diversity(), fresh(Diversity(), block), [block])
    for verdict in output.verdicts.values():
        assert verdict[0, 30] == UNKNOWN
        assert (verdict[0, 31:] == GOOD).all()


def test_a_decline_that_stops_is_resolved() -> None:
    values = np.concatenate([np.linspace(0.97, 0.90, 100), np.full(200, 0.90)])
    noise = 0.001 * np.random.default_rng(0).standard_normal(300)
    status = statuses(stream((values + noise)[None]))["diversity_decline"][0]
    assert "firing" in status[:110]
    assert status[-1] == "idle"


def test_readings_do_not_depend_on_how_records_arrive() -> None:
    block = stream(np.linspace(0.97, 0.80, 64)[None])
    whole = run(Diversity(), fresh(Diversity(), block), [block])
    single = run(Diversity(), fresh(Diversity(), block), cuts_of(block, range(64)))
    torch.testing.assert_close(
        single.readings["class_entropy_steps_to_floor"],
        whole.readings["class_entropy_steps_to_floor"],
        equal_nan=True,
    )


def facts(entropy_now: float, weights: dict[str, float], state: str = "firing") -> Facts:
    readings = dict.fromkeys(COLLAPSE.evidence, 0.7) | {
        "class_entropy_ratio": entropy_now,
        "class_entropy_bound_ratio": 0.85,
    }
    assert state in ("firing", "resolved")
    return Facts("test", None, "firing" if state == "firing" else "resolved", 120, 124, readings, THRESHOLDS, weights)


def test_the_adaptive_weight_is_that_of_case_a() -> None:
    assert adaptive_weight(0.70, base=0.1, gain=0.5, target=0.85) == pytest.approx(0.175)
    assert adaptive_weight(0.90, base=0.1, gain=0.5, target=0.85) == 0.1


def test_a_larger_diversity_weight_is_advised_and_to_stop_where_there_is_no_such_term() -> None:
    for kind in (COLLAPSE, DECLINE):
        advice = kind.advise(facts(0.70, {"entropy": 1.0, "Diversity": 0.1}))
        assert advice is not None
        assert (advice.action, advice.component) == ("set_weight", "Diversity")
        assert advice.value == pytest.approx(0.175)
        stop = kind.advise(facts(0.70, {"entropy": 1.0}))
        assert stop is not None
        assert stop.action == "stop"
        assert kind.advise(facts(0.95, {"diversity": 0.1}, "resolved")) is None


def test_the_message_says_where_and_how_far_it_fell() -> None:
    text = COLLAPSE.describe(facts(0.70, {}))
    assert all(part in text for part in ("test", "0.70", "0.85", "120"))


def test_a_decline_that_ends_below_the_floor_is_not_said_to_be_over() -> None:
    assert DECLINE.describe(facts(0.95, {}, "resolved")).endswith("no longer heads for its floor (0.95, 0.85).")
    assert DECLINE.describe(facts(0.01, {}, "resolved")).endswith("falls no further; it is 0.01, below 0.85.")
