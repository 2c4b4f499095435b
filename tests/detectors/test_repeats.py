"""What stands still because something holds it, and what only looks like it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from detectors.repeats import Repeats, Stop

Floats = npt.NDArray[np.float64]
RNG = np.random.default_rng(0)
FALLING = 0.05 + np.exp(-np.arange(400) / 40) * (1 + 0.1 * RNG.standard_normal(400))


def taken(values: Floats, repeats: Repeats = Repeats()) -> Stop:  # noqa: B008  # frozen: nothing to share
    x = torch.from_numpy(values)[None]
    state = repeats.init((1,), torch.zeros((), dtype=torch.float64))
    return repeats.update(state, x, ~x.isnan(), torch.tensor([x.shape[-1]]))[1]


def test_it_counts_how_long_a_value_has_been_the_same() -> None:
    values = np.array([1.0, 1.0, 2.0, np.nan, 2.0, 2.0, 1.0])
    assert taken(values).length.tolist() == [[1, 2, 1, 1, 2, 3, 1]]


def test_what_runs_into_a_clamp_stops_sharply() -> None:
    stop = taken(np.maximum(FALLING, 0.1))
    assert stop.lowest[0, -1] == 0.1
    assert stop.sharp[0, -1]
    assert stop.length[0, -1] > 100


def test_touching_the_clamp_before_does_not_count_against_it() -> None:
    values = np.maximum(0.2 + 0.1 * RNG.standard_normal(400), 0.15)
    values[300:] = 0.15
    assert taken(values).sharp[0, -1]


def test_a_series_that_fades_into_its_last_value_has_converged() -> None:
    values = (1.0 + np.exp(-np.arange(600) / 20.0)).astype(np.float32).astype(np.float64)
    stop = taken(values)
    assert stop.length[0, -1] > 100
    assert not stop.sharp[0, -1]


def test_coarsely_printed_values_repeat_by_themselves() -> None:
    values = np.round(0.0013 * (1 + 0.02 * RNG.standard_normal(2000)) + np.exp(-np.arange(2000) / 50), 4)
    stop = taken(values)
    repeated = (stop.length >= 20) & (torch.from_numpy(values) == stop.lowest)
    assert repeated.any()
    assert not (repeated & stop.sharp).any()


def test_a_value_that_is_reported_many_times_over_is_not_held() -> None:
    values = np.repeat(0.3 + np.exp(-np.arange(40) / 10) * (1 + 0.1 * RNG.standard_normal(40)), 100)
    assert not taken(values).sharp.any()


@pytest.mark.parametrize("constant", [0.0, 0.05, -1e300])
def test_a_series_that_never_moved_is_not_held(constant: float) -> None:
    assert not taken(np.full(500, constant)).sharp.any()
