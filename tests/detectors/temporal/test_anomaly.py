"""What the temporal score must find, what it must leave alone, and what it costs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.cell import BAD, Block, Output
from detectors.kinds import Facts
from detectors.temporal.anomaly import ANOMALY, CHANGES, TemporalAnomaly

Floats = npt.NDArray[np.float64]
CELL = TemporalAnomaly()
LOSS, ACCURACY, METRIC = -1.0, 1.0, 0.0


def judged(values: Floats, direction: float = METRIC, run_length: float = 50_000.0) -> Output:
    """Rows of values, in blocks of 64."""
    x = torch.from_numpy(np.atleast_2d(values).astype(np.float64))
    rows = x.shape[0]
    facts = {"direction": torch.full((rows,), direction, dtype=torch.float64)}
    limits = {"anomaly_run_length": torch.full((rows,), run_length, dtype=torch.float64)}
    state, outputs = CELL.init(rows, 0, x), []
    for start in range(0, x.shape[1], 64):
        piece = x[:, start : start + 64]
        step = torch.arange(start, start + piece.shape[1]).expand(piece.shape)
        outputs.append(CELL.update(state, Block(step, step >= 0, {"value": piece}, {}, facts), limits))
        state = outputs[-1].state
    readings = {name: torch.cat([o.readings[name] for o in outputs], -1) for name in outputs[0].readings}
    return Output(state, readings, {ANOMALY.name: torch.cat([o.verdicts[ANOMALY.name] for o in outputs], -1)})


def alarms(output: Output, row: int = 0) -> list[int]:
    found: list[int] = (output.verdicts[ANOMALY.name][row] == BAD).nonzero()[:, 0].tolist()
    return found


def falling(seed: int, length: int = 600, size: float = 0.05) -> Floats:
    """A healthy loss: down by a power law, noise in proportion."""
    noise = np.random.default_rng(seed).standard_normal(length)
    values: Floats = (1 + np.arange(length) / 30) ** -0.6 * (1 + size * noise)
    return values


def test_a_spike_of_a_loss_is_found_at_its_step_and_called_a_spike() -> None:
    values = falling(0)
    values[400] *= 2
    output = judged(values, LOSS)
    assert alarms(output) == [400]
    assert CHANGES[int(output.readings["anomaly_change"][0, 400]) - 1] == "a spike"
    assert output.readings["anomaly_direction"][0, 400] == 1
    assert output.readings["anomaly_low"][0, 400] < falling(0)[400] < output.readings["anomaly_high"][0, 400]


def test_what_comes_after_a_spike_does_not_depend_on_how_large_it_was() -> None:
    small, large = falling(1), falling(1)
    small[300] *= 3
    large[300] = 1e13
    expected = [judged(values, LOSS).readings["anomaly_expected"][0, 330:] for values in (small, large)]
    torch.testing.assert_close(expected[0], expected[1], rtol=0.05, atol=0.0)


@pytest.mark.parametrize("direction", [LOSS, ACCURACY])
def test_a_change_for_the_better_is_no_anomaly_and_the_same_for_the_worse_is(direction: float) -> None:
    noise = 0.02 * np.random.default_rng(2).standard_normal(500)
    step = np.where(np.arange(500) >= 300, 0.4, 0.0)
    assert not alarms(judged(1 + noise + direction * step, direction))
    assert alarms(judged(1 + noise - direction * step, direction))[0] in range(300, 303)


def test_an_undeclared_series_is_watched_both_ways() -> None:
    noise = 0.02 * np.random.default_rng(3).standard_normal(500)
    step = np.where(np.arange(500) >= 300, 0.4, 0.0)
    assert alarms(judged(1 + noise + step))
    assert alarms(judged(1 + noise - step))


def test_a_loss_that_falls_to_nothing_at_once_is_too_good_to_be_true() -> None:
    values = falling(4, size=0.02)
    values[300:] *= 0.02
    assert alarms(judged(values, LOSS))[0] == 300


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.7])
def test_a_lowered_learning_rate_is_healthy(factor: float) -> None:
    values = np.stack([falling(seed) for seed in range(40)])
    values[:, 300:] *= factor
    found = judged(values, LOSS)
    assert not [step for row in range(40) for step in alarms(found, row) if 300 <= step < 400]


def test_a_loss_that_diverges_is_found() -> None:
    values = falling(6)
    values[350:] += 0.01 * (np.exp(np.arange(250) / 20) - 1)
    assert alarms(judged(values, LOSS))[0] in range(355, 440)


def test_a_logger_that_repeats_its_last_value_is_found_and_called_a_freeze() -> None:
    values = falling(7)
    values[300:] = values[299]
    output = judged(values, LOSS)
    assert alarms(output)[0] in range(305, 330)
    assert CHANGES[int(output.readings["anomaly_change"][0, alarms(output)[0]]) - 1] == "a freeze"


def test_bursts_of_ten_times_the_noise_are_found_more_often_than_not() -> None:
    values = np.stack([falling(seed) for seed in range(20)])
    trend = (1 + np.arange(600) / 30) ** -0.6
    values[:, 350:450] += 9 * (values - trend)[:, 350:450]
    output = judged(values, LOSS)
    assert sum(any(350 <= step < 460 for step in alarms(output, row)) for row in range(20)) > 10


@pytest.mark.parametrize(
    "schedule",
    [np.linspace(1e-3, 0, 800), 1e-3 * np.cos(np.arange(800) / 800), np.full(800, 0.1), np.arange(800) // 100 * 1.0],
    ids=["linear", "cosine", "constant", "staircase"],
)
def test_a_schedule_is_no_anomaly(schedule: Floats) -> None:
    assert not alarms(judged(schedule))


def test_healthy_losses_raise_next_to_no_alarms() -> None:
    output = judged(np.stack([falling(seed, 2000) for seed in range(40)]), LOSS)
    assert sum(len(alarms(output, row)) for row in range(40)) <= 4


@pytest.mark.parametrize("noise", ["white", "heavy", "walking"])
def test_the_threshold_is_a_number_of_steps_between_false_alarms(noise: str) -> None:
    rng = np.random.default_rng(8)
    values = rng.standard_t(3, (25, 8000)) if noise == "heavy" else rng.standard_normal((25, 8000))
    if noise == "walking":
        for t in range(1, 8000):
            values[:, t] += 0.9 * values[:, t - 1]
    rarity = judged(values).readings["anomaly_rarity_steps"].numpy()
    for length in (1000, 5000):
        onsets = sum(int((np.diff(np.flatnonzero(row >= length), prepend=-81) > 80).sum()) for row in rarity)
        assert values.size / length / 2.5 < onsets < values.size / length * 2


def test_the_score_is_one_half_at_the_default_run_length() -> None:
    readings = judged(np.random.default_rng(9).standard_normal(400)).readings
    score, rarity = readings["anomaly_score"][0, 16:], readings["anomaly_rarity_steps"][0, 16:]
    torch.testing.assert_close(score, rarity.log() / (rarity.log() + math.log(50_000)))


def test_a_series_needs_half_a_kilobyte() -> None:
    state = CELL.init(1, 0, torch.zeros((), dtype=torch.float64))
    assert sum(value.numel() * value.element_size() for value in state.values()) <= 512


@pytest.mark.parametrize("unit", [1e-20, 1e-6, 1e12, 1e30])
def test_the_unit_of_a_series_makes_no_difference(unit: float) -> None:
    values = falling(10)
    values[400:] *= 3
    plain, other = judged(values, LOSS), judged(values * unit, LOSS)
    scores = [output.readings["anomaly_score"] for output in (plain, other)]
    torch.testing.assert_close(scores[0], scores[1], equal_nan=True, rtol=0.0, atol=1e-3)
    assert alarms(other) == alarms(plain) != []


def test_float32_gives_the_scores_of_float64() -> None:
    values = torch.from_numpy(np.stack([falling(seed, 64) for seed in range(40)]))
    step, facts = torch.arange(64).expand(values.shape), {"direction": torch.zeros(40)}
    block = Block(step, step >= 0, {"value": values}, {}, facts)
    scores = [
        cell.update(cell.init(40, 0, values), block, {"anomaly_run_length": torch.full((40,), 5e4)}).readings
        for cell in (CELL, TemporalAnomaly(dtype=torch.float64))
    ]
    torch.testing.assert_close(*(s["anomaly_score"] for s in scores), equal_nan=True, rtol=0.0, atol=1e-4)


def test_changes_far_below_float32_of_a_large_offset_are_no_freeze() -> None:
    noise = np.random.default_rng(11).standard_normal(400)
    assert not alarms(judged(1e6 + 1e-3 * noise))
    assert alarms(judged(1e6 + 1e-3 * np.where(np.arange(400) < 300, noise, 0.0)))


def test_any_value_may_be_the_spike() -> None:
    for worst in (1e36, 1e37, 1e308):
        values = falling(12)
        values[400] = worst
        assert alarms(judged(values, LOSS)) == [400]


def test_it_is_told_with_its_value_what_was_expected_and_the_kind_of_change() -> None:
    readings = {
        "value": 1.83,
        "anomaly_expected": 0.41,
        "anomaly_low": 0.36,
        "anomaly_high": 0.46,
        "anomaly_change": 1.0,
        "anomaly_rarity_steps": 8.1e8,
        "anomaly_score": 0.65,
        "anomaly_direction": 1.0,
    }
    text = ANOMALY.describe(Facts("train", "total", "firing", 412, 412, readings, {}, {}))
    assert text == (
        "total (train) shows a spike at step 412: 1.83 where 0.41 was expected (usual 0.36 to 0.46); "
        "its own past shows as much about once in 8.1e+08 steps."
    )
