"""Where the worker writes, on a KafkaProducer."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.net.compat import KafkaNetClient

from consumers.kafka.connection import LARGEST_RECORD, Connection
from consumers.source import BrokerUnavailable, Headers, Slot

_MOST_WAITING = 64 * 1024 * 1024
"""Bytes that may wait for their acknowledgement; the producer itself has no limit."""


class _PatientClient(KafkaNetClient):  # type: ignore[misc]  # kafka-python has no types
    """Makes the sender wait for a node that is not ready.

    The sender takes the delay for milliseconds while it comes in seconds, and is mostly 0.0: with a
    broker that accepts connections and says nothing it polls without a pause, at 100 % CPU (3.0.12).
    """

    def connection_delay(self, node_id: object) -> float:
        return max(20.0, 1000 * float(super().connection_delay(node_id)))


class KafkaSink:
    """`consumers.source.Sink` on a KafkaProducer, which is made at the first `send`.

    After a failure the rest of what is sent before the next `flush` is dropped, so that a broker that
    is away costs one time-out and not one per record; the flush then raises, and the sink starts anew.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer: Any = None
        self._futures: list[Any] = []
        self._waiting = 0
        self._failure: BrokerUnavailable | None = None

    def send(self, slot: Slot, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Queue a record. Waits while too much is queued, and for a broker that has to be reached first.

        Raises ValueError for a record of more than 16 MiB.
        """
        if self._failure is not None:
            return
        try:
            with self._connection.answering(f"did not take a record for {slot.topic}"):
                if self._producer is None:
                    self._producer = self._open()
                try:
                    future = self._producer.send(
                        slot.topic, partition=slot.partition, key=key, value=value, headers=list(headers)
                    )
                except MessageSizeTooLargeError as error:
                    raise ValueError(f"a record for {slot.topic} is too large: {error}") from error
                self._futures.append(future)
                self._waiting += len(key or b"") + len(value or b"")
                if self._waiting > _MOST_WAITING:
                    self._settle(self._connection.answer_timeout)
        except BrokerUnavailable as error:
            self._give_up(error)

    def flush(self, timeout: float) -> None:
        """Wait until all that was sent is acknowledged. Raises BrokerUnavailable if it was not."""
        if self._failure is None:
            try:
                with self._connection.answering("did not confirm what was written"):
                    self._settle(timeout)
            except BrokerUnavailable as error:
                self._give_up(error)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Stop at once; what was not flushed may be lost."""
        self._drop_producer()

    def _open(self) -> Any:
        return self._connection.open(
            KafkaProducer,
            _PatientClient,
            # Offsets are committed on the strength of these acknowledgements.
            acks="all",
            # An idempotent kafka-python producer was seen stuck for good after a restart of its broker.
            # Duplicates are harmless here: readers skip by session and seq, and snapshots by offset.
            enable_idempotence=False,
            # Without idempotence, a second request in flight may overtake one that is retried.
            max_in_flight_requests_per_connection=1,
            linger_ms=50,
            max_request_size=LARGEST_RECORD,
            max_block_ms=self._connection.answer_ms,
            metrics_enabled=False,
        )

    def _settle(self, timeout: float) -> None:
        """Wait for the acknowledgements of all that is queued. Raises KafkaError."""
        if self._producer is None:
            return
        self._producer.flush(timeout=timeout)
        for future in self._futures:
            if future.failed():
                raise future.exception
        self._futures.clear()
        self._waiting = 0

    def _give_up(self, error: BrokerUnavailable) -> None:
        self._failure = error
        self._drop_producer()

    def _drop_producer(self) -> None:
        """Stop the producer, even one that is stuck."""
        producer, self._producer = self._producer, None
        self._futures.clear()
        self._waiting = 0
        if producer is not None:
            # close() alone flushes first and, when that fails, leaves the sender thread at work for good.
            producer._sender.force_close()
            deadline = time.monotonic() + 1
            producer._sender.join(1)
            with contextlib.suppress(KafkaError):
                producer.close(timeout=max(0.0, deadline - time.monotonic()))
