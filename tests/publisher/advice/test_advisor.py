from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from losswatch.advice import TTL_SECONDS, Advisor, mode_of
from losswatch.advised import MOST_KEPT, Decisions, Mode, step_towards
from losswatch.notices import Notices
from losswatch.schema import Advice
from tests.publisher.advice.findings import STARTED, finding, stop, weigh


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = STARTED + 12.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def advisor(clock: Clock, mode: Mode = "follow") -> Advisor:
    return Advisor("r", STARTED, mode, None, Notices(), clock=clock)


def weight(advisor: Advisor, hi: float = 1.0) -> float:
    return advisor.weight("diversity", 0.1, 0.0, hi, 2.0)


def weights(advisor: Advisor, count: int, hi: float = 1.0) -> list[float]:
    return [round(weight(advisor, hi), 6) for _ in range(count)]


def test_without_advice_the_job_keeps_its_own_weight_and_goes_on(clock: Clock) -> None:
    quiet = advisor(clock)
    assert weight(quiet) == 0.1
    assert not quiet.should_stop()
    assert quiet.decisions() == Decisions("follow", None, {})


def test_an_advised_weight_is_reached_by_doubling_at_most(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.7))
    assert weights(following, 5) == [0.2, 0.4, 0.7, 0.7, 0.7]
    assert following.decisions().weights == {"diversity": 0.7}


def test_a_job_may_allow_larger_steps(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.7))
    assert following.weight("diversity", 0.1, 0.0, 1.0, 100.0) == 0.7


@pytest.mark.parametrize(("value", "reached"), [(17.64, 1.0), (-3.0, 0.05)])
def test_advice_out_of_range_is_clamped(clock: Clock, value: float, reached: float) -> None:
    following = advisor(clock)
    following.hear(weigh(value))
    given = [following.weight("diversity", 0.1, 0.05, 1.0, 2.0) for _ in range(10)]
    assert given[-1] == reached
    assert all(0.05 <= each <= 1.0 for each in given)


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_weight_that_is_no_number_is_no_advice(clock: Clock, value: float | None) -> None:
    following = advisor(clock)
    following.hear(finding(Advice(action="set_weight", component="diversity", value=value)))
    assert weight(following) == 0.1


def test_advice_for_another_component_leaves_the_weight_alone(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.7, component="entropy"))
    assert weight(following) == 0.1


def test_the_newest_advice_wins(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.2))
    following.hear(weigh(0.15, id="r/test/diversity_collapse/-/83"))
    assert weights(following, 2) == [0.15, 0.15]


def test_a_weight_that_was_taken_stays_when_its_finding_is_resolved(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.2))
    assert weight(following) == 0.2
    following.hear(finding(None, state="resolved"))
    assert weight(following) == 0.2


def test_a_weight_whose_finding_was_resolved_before_it_was_taken_is_not_taken(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.2))
    following.hear(finding(None, state="resolved"))
    assert weight(following) == 0.1


def test_a_stop_is_withdrawn_when_its_finding_is_resolved(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(stop())
    assert following.should_stop()
    following.hear(finding(None, state="resolved"))
    assert not following.should_stop()


def test_a_stop_stands_while_another_finding_advises_it_too(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(stop())
    following.hear(stop(id="r/train/non_finite/total/50"))
    following.hear(finding(None, state="resolved"))
    assert following.should_stop()
    assert following.decisions().stop == "r/train/non_finite/total/50"


def test_a_finding_that_is_only_suspected_advises_nothing(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(stop(state="pending", confirmed=None))
    assert not following.should_stop()


@pytest.mark.parametrize("advised", [{"run": "another"}, {"time": STARTED - 1.0}], ids=["run", "session"])
def test_advice_for_another_run_or_an_earlier_session_is_ignored(clock: Clock, advised: dict[str, Any]) -> None:
    following = advisor(clock)
    following.hear(stop(**advised))
    following.hear(weigh(0.7, **advised))
    assert not following.should_stop()
    assert weight(following) == 0.1


def test_advice_that_nobody_asked_for_in_time_has_expired(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(stop())
    following.hear(weigh(0.7, id="another"))
    clock.now = STARTED + 10.1 + TTL_SECONDS
    assert not following.should_stop()
    assert weight(following) == 0.1


def test_advice_that_was_taken_in_time_does_not_expire(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(stop())
    following.hear(weigh(0.2, id="another"))
    assert following.should_stop()
    clock.now += 2 * TTL_SECONDS
    following.hear(weigh(0.9, component="entropy", id="yet another"))
    assert following.should_stop()
    assert weight(following) == 0.2


def test_in_shadow_mode_it_is_only_said_once_what_would_be_done(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    shadow = advisor(clock, "shadow")
    shadow.hear(stop())
    shadow.hear(weigh(0.7, id="another"))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            assert weight(shadow) == 0.1
            assert not shadow.should_stop()
    assert [record.getMessage().partition("shadow mode: ")[2] for record in caplog.records] == [
        "the weight of diversity would go from 0.1 to 0.7, as the finding another advises (advice='follow' lets it)",
        "would stop on the advice of the finding r/test/diversity_decline/-/45 (advice='follow' lets it)",
    ]
    assert shadow.decisions() == Decisions("shadow", "r/test/diversity_decline/-/45", {"diversity": 0.7})


@pytest.mark.parametrize(
    ("lo", "hi", "factor"), [(1.0, 0.0, 2.0), (0.0, math.inf, 2.0), (math.nan, 1.0, 2.0), (0.0, 1.0, 1.0)]
)
def test_a_range_that_is_none_is_not_followed(clock: Clock, lo: float, hi: float, factor: float) -> None:
    following = advisor(clock)
    following.hear(weigh(0.7))
    assert following.weight("diversity", 0.1, lo, hi, factor) == 0.1


def test_absurd_arguments_give_the_default(clock: Clock) -> None:
    following = advisor(clock)
    following.hear(weigh(0.7))
    assert following.weight("diversity", "heavy", None, [], "2") == "heavy"  # type: ignore[comparison-overlap,arg-type]  # on purpose
    assert following.weight(["diversity"], 0.1, 0.0, 1.0, 2.0) == 0.1  # type: ignore[arg-type]  # on purpose


def test_what_is_kept_of_many_findings_is_bounded(clock: Clock) -> None:
    following = advisor(clock)
    for number in range(MOST_KEPT + 100):
        following.hear(stop(id=f"stop {number}"))
        following.hear(weigh(0.5, component=f"component {number}", id=f"weight {number}"))
    assert len(following._heard.stops) == len(following._heard.weights) == MOST_KEPT
    assert following.weight(f"component {MOST_KEPT + 99}", 0.4, 0.0, 1.0, 2.0) == 0.5
    assert following.weight("component 0", 0.4, 0.0, 1.0, 2.0) == 0.4


@pytest.mark.parametrize(
    ("reached", "target"), [(0.1, 7.0), (7.0, 0.1), (0.0, 3.0), (5.0, 0.0), (-1.0, 1.0), (2.0, -2.0), (-4.0, -0.5)]
)
def test_every_target_is_reached_without_a_jump(reached: float, target: float) -> None:
    steps = 0
    while reached != target:
        after = step_towards(reached, target, -10.0, 10.0, 2.0)
        assert min(reached, target) <= after <= max(reached, target)
        assert abs(after) <= 2 * abs(reached) + 0.02
        reached, steps = after, steps + 1
        assert steps < 40


@pytest.mark.parametrize("given", ["Follow", "yes", 1, None, ["follow"]])
def test_an_unknown_mode_is_shadow(given: object) -> None:
    assert mode_of(given, Notices()) == "shadow"


@pytest.mark.parametrize("mode", ["shadow", "follow", "off"])
def test_a_known_mode_is_itself(mode: str) -> None:
    assert mode_of(mode, Notices()) == mode
