"""How encoded records reach a broker: the protocol, Kafka, and one that keeps them in memory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

Headers = list[tuple[str, bytes]]


class Unavailable(Exception):
    """The broker cannot take records now; the same ones may be sent again later."""


class Refused(Exception):
    """The broker will never take this record."""


class Delivery(Protocol):
    """What became of one record."""

    def wait(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; whether the outcome is known."""

    def check(self) -> None:
        """Once the outcome is known: raises Unavailable or Refused unless the broker has the record."""


class Transport(Protocol):
    """Used by the sender's thread; `connect` by a thread of its own, as it may take seconds."""

    @property
    def target(self) -> str:
        """What it sends to, for messages."""

    def connect(self, topics: Sequence[str]) -> None:
        """Get ready to send to the topics, so that `send` need not wait. Raises Unavailable."""

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        """Start to send. Raises as `Delivery.check` does.

        Records of one key and topic arrive in this order, and after one that is Unavailable none
        arrives until `close` and `connect`.
        """

    def close(self) -> None:
        """Let go of the connection and of what is under way, at once. `connect` may follow."""

    def abandon(self) -> None:
        """In a forked child: forget the connection without touching it; it is the parent's."""


class Sent(NamedTuple):
    """A record a `MemoryTransport` was given."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class Delivered:
    """The outcome of a record that arrived at once."""

    def wait(self, timeout: float) -> bool:
        return True

    def check(self) -> None:
        return None


class MemoryTransport:
    """Keeps the records in this process, for tests, and hands each to ``receive`` where there is one."""

    target = "memory"

    def __init__(self, receive: Callable[[Sent], None] | None = None) -> None:
        self.records: list[Sent] = []
        self._receive = receive or self.records.append

    def connect(self, topics: Sequence[str]) -> None:
        return None

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        self._receive(Sent(topic, key, value, headers))
        return Delivered()

    def close(self) -> None:
        return None

    def abandon(self) -> None:
        return None


PROBE_SECONDS: Final = 3.0
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

    def connect(self, topics: Sequence[str]) -> None:
        if "proxy_url" not in self._options:
            _probe(self._servers)
        import kafka
        import kafka.errors
        from kafka.net.compat import KafkaNetClient

        clients: list[Any] = []

        def client(**options: Any) -> Any:
            clients.append(KafkaNetClient(**options))
            return clients[-1]

        try:
            producer = kafka.KafkaProducer(bootstrap_servers=self._servers, kafka_client=client, **self._options)
        except Exception as error:
            for made in clients:  # a constructor that fails leaks its sockets
                with contextlib.suppress(Exception):
                    made.close()
            raise Unavailable(_text(error)) from error
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
                raise Unavailable(_text(error)) from error

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        try:
            return KafkaDelivery(self._producer.send(topic, value, key=key, headers=headers))
        except Exception as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Stop the producer for good: its own ``close`` raises, and leaves its thread spinning, while
        records are stuck."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        sender = producer._sender
        for step in (sender.force_close, sender.wakeup, lambda: sender.join(1.0)):
            try:
                step()
            except Exception:
                logging.getLogger("losswatch").debug("losswatch: closing the Kafka producer", exc_info=True)
        producer._closed = True

    def abandon(self) -> None:
        if self._producer is not None:
            self._producer._closed = True


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
            raise _failure(self._future.exception) from self._future.exception


def _probe(servers: Sequence[str]) -> None:
    """Raise Unavailable unless one of the servers accepts a connection.

    kafka-python would try for seconds and log every attempt in the job's log.
    """
    import socket

    failures = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
                return
        except ValueError:
            failures.append(f"{server}: expected HOST:PORT")
        except OSError as error:
            failures.append(f"{server}: {error.strerror or error}")
    raise Unavailable("; ".join(failures) or "no servers given")


def _failure(error: Any) -> Exception:
    import kafka.errors

    never = (kafka.errors.MessageSizeTooLargeError, kafka.errors.InvalidMessageError)
    return Refused(_text(error)) if isinstance(error, never) else Unavailable(_text(error))


def _text(error: Any) -> str:
    return f"{type(error).__name__}: {error}"[:300]
