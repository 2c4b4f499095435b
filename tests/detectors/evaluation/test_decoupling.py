"""A loss that gets better and a metric that gets worse."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.evaluation.decoupling import DECOUPLING, Decoupling
from detectors.kinds import Advice, Facts
from tests.detectors.evaluation.pairs import Floats, falling, pair
from tests.detectors.lifecycles import statuses


def fires(total: Floats, metric: Floats, direction: float = 1.0) -> int | None:
    """The position at which the finding fires."""
    course = statuses(Decoupling(), pair(total, metric, direction))["loss_metric_decoupling"][0]
    return next((t for t, status in enumerate(course) if status == "firing"), None)


def test_case_a_decouples() -> None:
    t = np.arange(150)
    rng = np.random.default_rng(0)
    total = np.geomspace(0.3127, 0.0226, 150)
    accuracy = np.interp(t, [0, 149], [0.8614, 0.7470]) + 0.005 * rng.standard_normal(150)
    assert fires(total, accuracy) is not None
    assert fires(total, 1 - accuracy) is None, "a metric that falls with the loss, higher being better, is one more way"


def test_the_sign_counts() -> None:
    worse = np.linspace(1.0, 0.5, 60)
    assert fires(falling(60), worse, direction=1.0) is not None
    assert fires(falling(60), worse, direction=-1.0) is None
    assert fires(1 / falling(60), worse, direction=1.0) is None, "both get worse"


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_a_metric_that_rises_or_stays_does_not_decouple(noise: float) -> None:
    rng = np.random.default_rng(0)
    fired = 0
    for _ in range(50):
        jitter = 1 + noise * rng.standard_normal(100)
        fired += fires(falling(100), (1 - falling(100, 0.3)) * jitter) is not None
    assert fired <= 1


def test_it_advises_to_stop_while_it_lasts() -> None:
    now = dict.fromkeys((DECOUPLING.value, *DECOUPLING.evidence), 0.13)
    firing = Facts("test", "accuracy", "firing", 3, 9, now, {}, {}, "test total", {0: "epoch-1.pt"})
    assert DECOUPLING.advise(firing) == Advice("stop")
    assert "epoch-1.pt" in DECOUPLING.describe(firing)
