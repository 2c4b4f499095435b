"""Two workers, one broker, and everything that can go wrong between them, in any order."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from consumers.memory import MemoryBroker
from consumers.source import BrokerUnavailable
from consumers.worker import Loop, Worker
from losswatch.schema import Record
from tests.consumers.builders import a_broker, a_story, publish
from tests.consumers.outcomes import Outcome, Told, assert_same_outcomes, findings_on_topic
from tests.consumers.workers import Crash, a_worker, run_worker_until_idle

PARTITIONS = {"one": 0, "two": 0, "three": 1}


def stories() -> dict[str, list[Record]]:
    return {run: a_story(run, collapse=run != "two", jump=run == "three", blocks=6) for run in PARTITIONS}


def uninterrupted() -> tuple[dict[str, Outcome], list[Told]]:
    broker = a_broker(2)
    for run, records in stories().items():
        publish(broker, records, PARTITIONS[run])
    outcome = run_worker_until_idle(broker)
    return outcome, sorted(findings_on_topic(broker, 2))


class Member:
    """A worker process."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.worker: Worker = a_worker(broker, poll_records=3, checkpoint_every=60.0)
        self._connection: AbstractContextManager[Loop] = self.worker.connected()
        self.loop: Loop = self._connection.__enter__()

    def die(self) -> None:
        """Leave nothing but what was flushed."""
        with suppress(Crash):
            self._connection.__exit__(Crash, Crash(), None)


which = st.integers(0, 1)


class Workers(RuleBasedStateMachine):
    """Records arrive, workers come and go, calls fail; in the end it is as if nothing had happened."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = a_broker(2)
        self.left = {run: list(reversed(records)) for run, records in stories().items()}
        self.members = [Member(self.broker), Member(self.broker)]

    @rule(run=st.sampled_from(sorted(PARTITIONS)), count=st.integers(1, 12))
    def deliver(self, run: str, count: int) -> None:
        records = [self.left[run].pop() for _ in range(min(count, len(self.left[run])))]
        publish(self.broker, records, PARTITIONS[run])

    @precondition(lambda self: len(self.members) < 2)
    @rule()
    def start_a_worker(self) -> None:
        self.members.append(Member(self.broker))

    @precondition(lambda self: self.members)
    @rule(which=which, turns=st.integers(1, 6))
    def turn(self, which: int, turns: int) -> None:
        member = self._member(which)
        try:
            for _ in range(turns):
                member.worker.turn(member.loop)
        except BrokerUnavailable:
            self._kill(member)

    @precondition(lambda self: self.members)
    @rule(which=which)
    def checkpoint(self, which: int) -> None:
        member = self._member(which)
        member.worker.checkpoint(member.loop)

    @precondition(lambda self: self.members)
    @rule(which=which)
    def crash(self, which: int) -> None:
        self._kill(self._member(which))

    @precondition(lambda self: self.members)
    @rule(which=which)
    def expel(self, which: int) -> None:
        """A missed heartbeat; the worker goes on until its next poll tells it."""
        member = self._member(which)
        if not member.loop.outbox.uncertain:
            source: Any = member.loop.source
            source.lose()

    @rule(turns=st.integers(1, 3))
    def turn_all(self, turns: int) -> None:
        for _ in range(turns):
            for which in range(len(self.members)):
                if which < len(self.members):
                    self.turn(which, 1)

    @rule(call=st.sampled_from(["flush", "flush", "flush", "commit", "read", "poll"]), answer_lost=st.booleans())
    def fail_the_next(self, call: Any, answer_lost: bool) -> None:
        self.broker.fail_next(call, answer_lost=answer_lost)

    @rule(turns=st.booleans())
    def broker_away_and_back(self, turns: bool) -> None:
        """Whether a worker turns meanwhile or only writes a checkpoint."""
        self.broker.available = False
        if self.members:
            self.turn(0, 1) if turns else self.checkpoint(0)
        self.broker.available = True

    def teardown(self) -> None:
        for run, records in self.left.items():
            publish(self.broker, reversed(records), PARTITIONS[run])
        for member in list(self.members):
            self._kill(member)
        self.broker.heal()
        outcome = run_worker_until_idle(self.broker)
        assert_same_outcomes(outcome, EXPECTED)
        assert sorted(findings_on_topic(self.broker, 2)) == TOLD

    def _member(self, which: int) -> Member:
        return self.members[which % len(self.members)]

    def _kill(self, member: Member) -> None:
        self.members.remove(member)
        member.die()


EXPECTED, TOLD = uninterrupted()
TestWorkers = Workers.TestCase
TestWorkers.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
