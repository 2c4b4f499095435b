"""Records to Kafka: kafka-python's producer, without the habits that hurt a job."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from losswatch.connection import Helper
from losswatch.kafka_findings import KafkaFindings
from losswatch.notices import line_of
from losswatch.transport import Delivery, Headers, Refused, Unavailable

PRODUCER: Final[dict[str, Any]] = {
    # An idempotent producer of kafka-python 3.0 can stay stuck for good after an outage; the session
    # and seq of our records make duplicates harmless without it.
    "enable_idempotence": False,
    "acks": 1,
    # One request at a time, so that a retry cannot overtake.
    "max_in_flight_requests_per_connection": 1,
    "linger_ms": 0,
    "batch_size": 1_048_576,
    "metrics_enabled": False,
    "max_block_ms": 3000,
    "bootstrap_timeout_ms": 4000,
    "allow_auto_create_topics": False,
}


def failure(error: Any) -> Exception:
    """The error of a send as Refused where the broker will never take the record, else as Unavailable."""
    import kafka.errors

    never = (kafka.errors.MessageSizeTooLargeError, kafka.errors.InvalidMessageError)
    return Refused(line_of(error)) if isinstance(error, never) else Unavailable(line_of(error))


class KafkaTransport:
    """kafka-python's producer, without the habits that hurt a job.

    Parameters
    ----------
    bootstrap_servers
        ``HOST:PORT`` of one or more brokers, separated by commas.
    options
        Further settings of ``kafka.KafkaProducer``, such as ``security_protocol``. Those that
        ordering and liveness rest on are fixed.
    """

    def __init__(self, bootstrap_servers: str, options: Mapping[str, Any] | None = None) -> None:
        self.target = bootstrap_servers
        self._servers = [server.strip() for server in bootstrap_servers.split(",") if server.strip()]
        self._options = {"client_id": "losswatch", **(options or {}), **PRODUCER}
        self._producer: Any = None
        self._helper: Helper | None = None

    def prepare(self) -> None:
        self._helper = Helper("losswatch-kafka")

    def connect(self, topics: Sequence[str]) -> None:
        from losswatch.tls import probe, tls_problem

        if "proxy_url" not in self._options:
            probe(self._servers, self._options)
        import kafka
        import kafka.errors
        from kafka.net.compat import KafkaNetClient

        unknown = sorted(self._options.keys() - kafka.KafkaProducer.DEFAULT_CONFIG.keys())
        if unknown:  # kafka-python would tell their values too, and one may be a misspelt password
            raise Unavailable(f"kafka-python has no setting {', '.join(unknown)}")
        clients: list[Any] = []

        def client(**options: Any) -> Any:
            clients.append(KafkaNetClient(**options))
            return clients[-1]

        try:
            producer = self._producer_class()(bootstrap_servers=self._servers, kafka_client=client, **self._options)
        except Exception as error:
            for made in clients:  # a constructor that fails leaks its sockets
                with contextlib.suppress(Exception):
                    made.close()
            raise Unavailable(tls_problem(self._servers, self._options) or line_of(error)) from error
        self._producer = producer
        # Its exit handler would run before ours and close it while there is something left to send.
        with contextlib.suppress(AttributeError):
            producer._unregister_cleanup()
        for topic in topics:
            try:
                producer.partitions_for(topic)
            except kafka.errors.KafkaTimeoutError as error:
                self.close()
                raise Unavailable(f"topic {topic} does not exist yet; `losswatch serve` creates it") from error
            except Exception as error:
                self.close()
                raise Unavailable(line_of(error)) from error

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        try:
            return KafkaDelivery(self._producer.send(topic, value, key=key, headers=headers))
        except Exception as error:
            raise failure(error) from error

    def close(self) -> None:
        """Stop the producer for good: its own ``close`` raises, and leaves its thread spinning, while
        records are stuck."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        sender, helper = producer._sender, self._helper
        for step in (sender.force_close, sender.wakeup, lambda: helper and helper.wait(1.0)):
            try:
                step()
            except Exception:
                import logging

                logging.getLogger("losswatch").debug("losswatch: closing the Kafka producer", exc_info=True)
        producer._closed = True

    def dismiss(self) -> None:
        if self._helper is not None:
            self._helper.stop()

    def _producer_class(self) -> Any:
        """KafkaProducer with its thread's work done by a thread of ours, which is there already."""
        import kafka

        if self._helper is None or self._helper.busy:  # the last producer's work does not end
            self.dismiss()
            self._helper = Helper("losswatch-kafka")
        helper = self._helper

        class Producer(kafka.KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
            @property
            def _sender(self) -> Any:
                return self._our_sender

            @_sender.setter
            def _sender(self, sender: Any) -> None:
                sender.start = lambda: helper.do(sender.run)
                self._our_sender = sender

        return Producer

    def abandon(self) -> None:
        if self._producer is not None:
            self._producer._closed = True

    def findings(self, run: str) -> KafkaFindings:
        shared = {name: value for name, value in self._options.items() if name not in PRODUCER}
        return KafkaFindings(self._servers, shared, run)


class KafkaDelivery:
    """A future of kafka-python's producer."""

    def __init__(self, future: Any) -> None:
        self._future = future
        self._known = threading.Event()
        future.add_both(lambda *_: self._known.set())

    def wait(self, timeout: float) -> bool:
        return self._known.wait(timeout)

    def check(self) -> None:
        if self._future.failed():
            raise failure(self._future.exception) from self._future.exception
