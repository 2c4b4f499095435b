from __future__ import annotations

from typing import Literal

import pytest

from consumers.decode import DeadLetter
from consumers.memory import MemoryBroker
from consumers.memory import Record as StoredRecord
from consumers.outbox import Outbox
from consumers.source import BrokerUnavailable, Slot
from consumers.telemetry import Telemetry
from losswatch.schema import Finding
from losswatch.topics import FINDINGS, STEPS
from tests.consumers.builders import a_broker
from tests.consumers.outcomes import dead_letters, findings_on_topic


def an_outbox(broker: MemoryBroker, findings_next: int = 0) -> Outbox:
    outbox = Outbox(broker, broker.sink(), Telemetry())
    outbox.open(0, findings_next)
    return outbox


def a_finding(began: int, state: Literal["firing", "resolved"] = "firing") -> Finding:
    return Finding(
        run="r",
        time=0.0,
        id=f"r/train/non_finite/total/{began}",
        kind="non_finite",
        phase="train",
        subject="total",
        severity="critical",
        state=state,
        began=began,
        confirmed=began,
        step=began,
        value=None,
        threshold=None,
        message="m",
    )


def ids(broker: MemoryBroker) -> list[str]:
    return [identity.rsplit("/", 1)[1] + state[0] for identity, state, _, _ in findings_on_topic(broker)]


def add(outbox: Outbox, *began: int) -> None:
    outbox.add([(0, a_finding(number)) for number in began], [])


def test_findings_are_published_once_in_order() -> None:
    broker = a_broker()
    outbox = an_outbox(broker)
    add(outbox, 1, 2)
    outbox.flush(1.0)
    add(outbox, 3)
    outbox.flush(1.0)
    outbox.flush(1.0)
    assert ids(broker) == ["1f", "2f", "3f"]


@pytest.mark.parametrize("answer_lost", [False, True])
def test_a_flush_that_failed_is_made_good_without_telling_twice(answer_lost: bool) -> None:
    broker = a_broker()
    outbox = an_outbox(broker)
    add(outbox, 1)
    outbox.flush(1.0)
    add(outbox, 2)
    broker.fail_next("flush", answer_lost=answer_lost)
    with pytest.raises(BrokerUnavailable):
        outbox.flush(1.0)
    assert outbox.uncertain
    add(outbox, 3)
    outbox.flush(1.0)
    assert ids(broker) == ["1f", "2f", "3f"]
    assert outbox.ledgers[0].next_offset == 3


def test_reading_back_may_fail_too() -> None:
    broker = a_broker()
    outbox = an_outbox(broker)
    add(outbox, 1)
    broker.fail_next("flush", answer_lost=True)
    broker.fail_next("read")
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            outbox.flush(1.0)
    outbox.flush(1.0)
    assert ids(broker) == ["1f"]


def test_what_a_replay_makes_again_is_not_told_again() -> None:
    broker = a_broker()
    add(before := an_outbox(broker), 1, 2)
    before.flush(1.0)
    after = an_outbox(broker)
    add(after, 1, 2, 3)
    after.flush(1.0)
    assert ids(broker) == ["1f", "2f", "3f"]


def test_another_state_of_the_same_finding_is_told() -> None:
    broker = a_broker()
    add(before := an_outbox(broker), 1)
    before.flush(1.0)
    after = an_outbox(broker)
    after.add([(0, a_finding(1)), (0, a_finding(1, "resolved"))], [])
    after.flush(1.0)
    assert ids(broker) == ["1f", "1r"]


def test_the_place_to_read_from_waits_until_a_replay_is_through() -> None:
    broker = a_broker()
    add(before := an_outbox(broker), 1, 2)
    before.flush(1.0)
    after = an_outbox(broker)
    add(after, 1, 5)
    after.flush(1.0)
    assert after.ledgers[0].next_offset == 0, "a replay from here on can still make 2 again"
    add(after, 2)
    after.flush(1.0)
    assert after.ledgers[0].next_offset == 3


def test_once_all_was_used_the_place_to_read_from_moves_on() -> None:
    broker = a_broker()
    add(before := an_outbox(broker), 1, 2)
    before.flush(1.0)
    after = an_outbox(broker)
    after.settle(0)
    assert after.ledgers[0].next_offset == 2
    assert after.ledgers[0].told == set()
    add(after, 2)
    after.flush(1.0)
    assert ids(broker) == ["1f", "2f", "2f"], "a job that went back told it anew"


def test_somebody_elses_records_in_the_findings_topic_are_passed_over() -> None:
    broker = a_broker()
    broker.produce(FINDINGS, 0, b"x", b"not a finding")
    outbox = an_outbox(broker)
    add(outbox, 1)
    outbox.flush(1.0)
    assert len(list(broker.read(Slot(FINDINGS, 0)))) == 2


def test_what_was_not_written_for_a_partition_given_up_is_forgotten() -> None:
    broker = a_broker(2)
    outbox = an_outbox(broker)
    outbox.open(1, 0)
    add(outbox, 1)
    broker.fail_next("flush")
    with pytest.raises(BrokerUnavailable):
        outbox.flush(1.0)
    outbox.add([(1, a_finding(9))], [])
    outbox.close(0)
    outbox.flush(1.0)
    assert [identity for identity, *_ in findings_on_topic(broker, 2)] == ["r/train/non_finite/total/9"]


def test_dead_letters_are_told_at_least_once() -> None:
    broker = a_broker()
    outbox = an_outbox(broker)
    message = StoredRecord(STEPS, 0, 7, 0, b"r", b"broken", [])
    outbox.add([], [DeadLetter(message, "not_json", "no JSON")])
    broker.fail_next("flush", answer_lost=True)
    with pytest.raises(BrokerUnavailable):
        outbox.flush(1.0)
    outbox.flush(1.0)
    assert [(reason, value) for reason, _, value in dead_letters(broker)] == [("not_json", b"broken")] * 2
