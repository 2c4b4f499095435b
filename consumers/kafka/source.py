"""A member of a Kafka consumer group."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    CommitFailedError,
    FencedInstanceIdError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from consumers.kafka.connection import Connection
from consumers.source import BrokerUnavailable, Change, CommitRefused, Message, Slot

_log = logging.getLogger(__name__)

_SHORT_NAP, _LONG_NAP = 0.005, 0.05
"""Seconds between two looks at what was fetched: from the one to the other while nothing comes."""
_SILENCE = 5.0
"""Seconds without a record after which the broker is asked for a sign of life."""
_NO_MEMBER = (
    CommitFailedError,
    FencedInstanceIdError,
    IllegalGenerationError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

FETCHING: Mapping[str, Any] = {
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "fetch_max_bytes": 32 * 1024 * 1024,
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    # kafka-python cannot get past a batch whose checksum is wrong: the partition would stand still for
    # good. The broker checked it on the way in, and a record that makes no sense is dead-lettered.
    # It is not for speed: with the crc32c package no difference could be measured.
    "check_crcs": False,
    "metrics_enabled": False,
}


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Writes down what happened. It runs on kafka-python's I/O thread, where nothing may block."""

    def __init__(self, changes: deque[Change]) -> None:
        self._changes = changes

    def _note(self, what: Literal["assigned", "revoked", "lost"], partitions: Collection[Any]) -> None:
        if partitions:
            self._changes.append(Change(what, tuple(sorted(Slot(p.topic, p.partition) for p in partitions))))

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self._note("assigned", assigned)

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self._note("revoked", revoked)

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        self._note("lost", lost)


class KafkaSource:
    """`consumers.source.Source` on a KafkaConsumer.

    Partition i of every topic goes to the same member (range assignment), provided that the topics
    have equally many. A rebalance takes all partitions away and gives the new ones.
    """

    def __init__(self, connection: Connection, group: str, topics: Sequence[str], session_timeout: float) -> None:
        self._connection = connection
        self._changes: deque[Change] = deque()
        self._heard = time.monotonic()
        self._consumer = connection.open(
            KafkaConsumer,
            group_id=group,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=round(1000 * session_timeout),
            heartbeat_interval_ms=round(1000 * session_timeout / 4),
            **FETCHING,
        )
        self._consumer.subscribe(list(topics), listener=_Listener(self._changes))
        self._any = TopicPartition(topics[0], 0)

    def poll(self, timeout: float, most: int) -> Sequence[Message]:
        """Up to ``most`` records; none, before the time is up, when there was a rebalance.

        After some seconds without a record the broker is asked for a first offset, and BrokerUnavailable
        raised if it does not answer: a broker that is gone looks like one that has nothing new. The
        coordinator is not asked, because behind an unfinished join it answers nothing else.
        """
        deadline = time.monotonic() + timeout
        left, nap = timeout, _SHORT_NAP
        known = len(self._changes)
        while True:
            # kafka-python's own waiting takes half a core while a heartbeat is unanswered. A join is only
            # completed by a poll that waits for it, though: one that ends between two polls is thrown away.
            joined = self._consumer.group_metadata().state == MemberState.STABLE
            with self._connection.answering("could not be read"):
                batches = self._consumer.poll(timeout_ms=0 if joined else 1000 * left, max_records=most)
            now = time.monotonic()
            if batches:
                self._heard = now
                return next(iter(batches.values())) if len(batches) == 1 else list(chain(*batches.values()))
            if now - self._heard > _SILENCE:
                with self._connection.answering("does not answer"):
                    self._consumer.beginning_offsets([self._any], timeout_ms=min(2000, self._connection.answer_ms))
                self._heard = now = time.monotonic()
            left = deadline - now
            if left <= 0 or len(self._changes) > known:
                return []
            if joined:
                time.sleep(min(nap, left))
                nap = min(2 * nap, _LONG_NAP)

    def changes(self) -> list[Change]:
        """The rebalances since the last call, oldest first."""
        return [self._changes.popleft() for _ in range(len(self._changes))]

    def seek(self, slot: Slot, next_offset: int) -> None:
        """Go on from ``next_offset``. Raises ValueError for a partition that is not assigned."""
        if TopicPartition(*slot) not in self._consumer.assignment():
            raise ValueError(f"{slot} is not assigned to this member")
        self._consumer.seek(TopicPartition(*slot), next_offset)

    def commit(self, next_offsets: Mapping[Slot, int]) -> None:
        """Commit and wait. Kafka lets a member commit what belongs to another, so that is refused here."""
        strange = [slot for slot in next_offsets if TopicPartition(*slot) not in self._consumer.assignment()]
        if strange:
            raise CommitRefused(f"not assigned to this member: {strange}")
        offsets = {TopicPartition(*slot): OffsetAndMetadata(n, "losswatch", -1) for slot, n in next_offsets.items()}
        with self._connection.answering("did not confirm the commit"):
            try:
                self._consumer.commit(offsets, timeout_ms=self._connection.answer_ms)
            except _NO_MEMBER as error:
                raise CommitRefused(str(error)) from error

    def committed(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """The committed next offsets; partitions without one are absent."""
        with self._connection.answering("did not give the committed offsets"):
            offsets = {
                slot: self._consumer.committed(TopicPartition(*slot), timeout_ms=self._connection.answer_ms)
                for slot in slots
            }
        return {slot: offset for slot, offset in offsets.items() if offset is not None and offset >= 0}

    def beginning(self, slots: Sequence[Slot]) -> dict[Slot, int]:
        """The first offsets still kept."""
        with self._connection.answering("did not give the first offsets"):
            partitions = [TopicPartition(*slot) for slot in slots]
            found = self._consumer.beginning_offsets(partitions, timeout_ms=self._connection.answer_ms)
        return {Slot(p.topic, p.partition): offset for p, offset in found.items()}

    def lag(self) -> dict[Slot, int]:
        """High watermark, as of the last fetch from each partition, minus position.

        tansu's ListOffsets, and with it kafka-python's ``end_offsets``, is too low by up to a batch;
        the high watermark that comes with a fetch is right there too.
        """
        lags: dict[Slot, int] = {}
        with self._connection.answering("did not give the positions"):
            for partition in self._consumer.assignment():
                end = self._consumer.highwater(partition)
                position = None if end is None else self._consumer.position(partition, timeout_ms=0)
                if position is not None:
                    lags[Slot(partition.topic, partition.partition)] = max(0, end - position)
        return lags

    def close(self) -> None:
        """Leave the group, if the broker answers; the session times out if it does not."""
        try:
            with self._connection.answering("was not told that we leave"):
                self._consumer.close(autocommit=False, timeout_ms=self._connection.answer_ms)
        except BrokerUnavailable as error:
            _log.warning("%s", error)


def read_ahead(consumer: Any, partition: TopicPartition, patience: float) -> list[Message]:
    """The next records of the one partition the consumer is assigned; none at its high watermark.

    Raises KafkaError where nothing comes for ``patience`` seconds although there should be more.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        end = consumer.highwater(partition)
        if end is not None and consumer.position(partition, timeout_ms=0) >= end:
            return []
        records: list[Message] = consumer.poll(timeout_ms=20).get(partition, [])
        if records:
            return records
    raise KafkaError(f"nothing came for {patience:g} s before the end of {partition.topic}-{partition.partition}")
