"""A metric that loses what it had gained: a real network that forgets, and what noise and restarts look like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from detectors.kinds import Facts
from detectors.series.collapse import PERFORMANCE_COLLAPSE
from detectors.streams import Role
from tests.detectors.components.objectives import noise_of
from tests.detectors.series.judged import Floats, fired

KIND = "performance_collapse"


def onsets(values: Floats, role: Role = "metric", direction: float = 1.0) -> list[list[int]]:
    return fired(values, role, direction)[KIND]


def fine_tuned(rehearsed: bool, switch: int = 300, steps: int = 600) -> tuple[Floats, Floats]:
    """A network learns the digits 0 to 4, and from ``switch`` on the digits 5 to 9, with or without the old ones.

    Its loss, and its accuracy on digits 0 to 4 that it never saw.
    """
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16), torch.tensor(digits.target)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    low, high = (y < 5).nonzero()[:, 0], (y >= 5).nonzero()[:, 0]
    held, low = low[:200], low[200:]
    later = torch.cat([low, high]) if rehearsed else high
    losses, accuracies = np.empty(steps), np.empty(steps)
    for step in range(steps):
        pool = low if step < switch else later
        batch = pool[torch.randint(len(pool), (32,), generator=generator)]
        loss = cross_entropy(net(x[batch]), y[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses[step] = loss.item()
        with torch.no_grad():
            accuracies[step] = (net(x[held]).argmax(-1) == y[held]).double().mean()
    return losses, accuracies


def test_a_real_network_that_forgets_what_it_learned_is_found_though_its_loss_comes_back_down() -> None:
    losses, accuracies = fine_tuned(rehearsed=False)
    ((onset,),) = onsets(accuracies)
    assert 300 < onset < 360
    assert fired(losses)["divergence"] == [[]]


def test_the_same_network_that_goes_on_with_the_old_data_is_healthy() -> None:
    _, accuracies = fine_tuned(rehearsed=True)
    assert accuracies[-50:].mean() > 0.9
    assert onsets(accuracies) == [[]]


def learned(steps: int = 720) -> Floats:
    """From 0.1 to 0.9."""
    return 0.9 - 0.8 * np.exp(-np.arange(steps) / 60)


def forgotten(onset: int = 400) -> Floats:
    """And back to 0.1 in some 50 values."""
    return 0.1 + (learned() - 0.1) * np.exp(-np.maximum(np.arange(720) - onset, 0) / 15)


@pytest.mark.parametrize("noise", ["white", "t3", "ar0.9"])
@pytest.mark.parametrize("level", [0.05, 0.15])
def test_noise_on_a_metric_that_learned_or_did_not_is_no_collapse(noise: str, level: float) -> None:
    for curve in (learned(), np.ones(720), np.zeros(720)):
        values = curve + level * noise_of(noise, (50, 720))
        assert not any(onsets(values) + onsets(values, direction=-1.0))


@pytest.mark.parametrize("noise", ["white", "t3"])
def test_a_fall_back_to_the_start_is_found_within_the_time_that_tells_it_from_a_dip(noise: str) -> None:
    values = forgotten() + 0.03 * noise_of(noise, (50, 720))
    found = onsets(values)
    assert sum(map(bool, found)) >= 49
    assert all(430 < place < 540 for row in found for place in row)


def test_a_metric_that_comes_back_is_no_collapse() -> None:
    """A restart of the learning rate: all is lost for 20 values, and learned again."""
    values = learned()
    values[400:] = np.maximum(0.1, 0.9 - 0.8 * np.exp(-(np.arange(320) - 20) / 15))
    assert onsets(values + 0.02 * noise_of("white", (720,))) == [[]]


def test_losses_and_metrics_without_a_known_direction_are_not_judged() -> None:
    values = forgotten() + 0.01 * noise_of("white", (720,))
    assert onsets(values)[0]
    assert onsets(values, "slice")[0]
    assert onsets(-values, direction=-1.0)[0]
    assert onsets(values, direction=0.0) == [[]]
    assert onsets(-values, "total", -1.0) == onsets(-values, "component", -1.0) == [[]]


def test_the_message_names_the_checkpoint_of_the_best() -> None:
    readings = {
        "metric_lost_ratio": 0.86,
        "metric_best_mean": 291.3,
        "metric_recent_mean": 48.82,
        "metric_best_mean_step": 500.0,
    }
    saved = {400: "a.pt", 490: "b.pt", 700: "c.pt"}
    facts = Facts("train", "reward", "firing", 1062, 1078, readings, {}, {}, checkpoints=saved)
    assert PERFORMANCE_COLLAPSE.describe(facts) == (
        "reward (train) lost 86% of what it had gained and does not come back, seen since step 1062: its mean is 48.82 "
        "and was 291.3 at step 500. Stop, and go on from checkpoint b.pt with a lower learning rate or smaller updates."
    )
    advice = PERFORMANCE_COLLAPSE.advise(facts)
    assert advice is not None
    assert advice.action == "stop"
