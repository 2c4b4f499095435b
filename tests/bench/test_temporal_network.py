"""The network of bench.temporal_learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.temporal_network import NATS, Seen, scored, see, segments, trained
from bench.temporal_own import own
from bench.temporal_wild import make_wild


@pytest.fixture(scope="module")
def seen() -> Seen:
    return see(make_wild(1, 24))


def test_listening_does_not_change_the_score(seen: Seen) -> None:
    for heard, plain in zip(seen.scores, own(seen.runs), strict=True):
        np.testing.assert_array_equal(heard, plain)


def test_every_value_has_its_input_and_belongs_to_one_segment_at_most(seen: Seen) -> None:
    x, counts, labels = segments(seen)
    assert [len(x) for x in seen.inputs] == [len(run.values) for run in seen.runs]
    assert len(x) == int(counts.sum()) <= sum(len(run.values) for run in seen.runs)
    assert int(labels.sum()) == sum(len(run.windows) for run in seen.runs) > 3


@pytest.mark.parametrize("alone", [False, True])
def test_training_twice_gives_the_same_network(seen: Seen, alone: bool) -> None:
    first, second = (trained(seen, alone=alone, epochs=2) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    for score in scored(first, seen):
        assert np.all((score >= 0) & (score <= 1))
        assert not score[:16].any()


def test_alone_it_does_not_see_what_the_tails_say(seen: Seen) -> None:
    network, x = trained(seen, alone=True, epochs=2), torch.cat(list(seen.inputs))
    without = x.clone()
    without[:, [NATS, *range(NATS + 3, x.shape[1])]] = 0.0
    torch.testing.assert_close(network(x), network(without))


def test_wild_series_are_finite_and_the_same_at_every_call() -> None:
    for one, other in zip(make_wild(3, 40), make_wild(3, 40), strict=True):
        assert np.isfinite(one.values).all()
        np.testing.assert_array_equal(one.values, other.values)
        assert one.windows == other.windows
