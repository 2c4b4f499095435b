"""How encoded records reach a broker: the protocol, Kafka, and one that keeps them in memory."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from losswatch import topics
from losswatch.helper import Helper

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


class Received(NamedTuple):
    """A record that was read."""

    value: bytes
    headers: Headers


class FindingsReader(Protocol):
    """Reads the findings of one run. Used by one thread, of its own, as every method may take seconds."""

    def connect(self) -> None:
        """Get ready to read what is published from now on, or after `close`, where it was. Raises Unavailable."""

    def read(self, timeout: float) -> Sequence[Received]:
        """What has arrived, waiting up to ``timeout`` seconds for something. Raises Unavailable."""

    def close(self) -> None:
        """Let go of the connection. `connect` may follow."""


class Transport(Protocol):
    """Used by the sender's thread; `connect` by a thread of its own, as it may take seconds."""

    @property
    def target(self) -> str:
        """What it sends to, for messages."""

    def prepare(self) -> None:
        """On the job's thread, which must not wait: start the threads that are going to be needed."""

    def connect(self, topics: Sequence[str]) -> None:
        """Get ready to send to the topics, so that `send` need not wait. Raises Unavailable."""

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        """Start to send. Raises as `Delivery.check` does.

        Records of one key and topic arrive in this order, and after one that is Unavailable none
        arrives until `close` and `connect`.
        """

    def close(self) -> None:
        """Let go of the connection and of what is under way, at once. `connect` may follow."""

    def dismiss(self) -> None:
        """Let the threads of `prepare` go; nothing follows."""

    def abandon(self) -> None:
        """In a forked child: forget the connection without touching it; it is the parent's."""

    def findings(self, run: str) -> FindingsReader:
        """A reader of the findings of a run; it is not connected yet."""


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
        self.advice: queue.SimpleQueue[Received] = queue.SimpleQueue()
        """Findings for the run to read."""
        self._receive = receive or self.records.append

    def prepare(self) -> None:
        return None

    def connect(self, topics: Sequence[str]) -> None:
        return None

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers) -> Delivery:
        self._receive(Sent(topic, key, value, headers))
        return Delivered()

    def close(self) -> None:
        return None

    def dismiss(self) -> None:
        return None

    def abandon(self) -> None:
        return None

    def findings(self, run: str) -> MemoryFindings:
        return MemoryFindings(self.advice)


class MemoryFindings:
    """Reads the findings that a test puts into a queue."""

    def __init__(self, records: queue.SimpleQueue[Received]) -> None:
        self._records = records

    def connect(self) -> None:
        return None

    def read(self, timeout: float) -> list[Received]:
        try:
            return [self._records.get(timeout=timeout)]
        except queue.Empty:
            return []

    def close(self) -> None:
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
        self._helper: Helper | None = None

    def prepare(self) -> None:
        self._helper = Helper("losswatch-kafka")

    def connect(self, topics: Sequence[str]) -> None:
        if "proxy_url" not in self._options:
            _probe(self._servers, self._options)
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
            from losswatch.tls import tls_problem

            raise Unavailable(tls_problem(self._servers, self._options) or _text(error)) from error
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
        return KafkaFindings(self._servers, self._options, run)


CONSUMER: Final[dict[str, Any]] = {
    "group_id": None,
    "enable_auto_commit": False,
    # After an outage in which records were lost. Old ones do no harm: they are told by their time.
    "auto_offset_reset": "earliest",
    "fetch_max_wait_ms": 1000,
    "metrics_enabled": False,
    "bootstrap_timeout_ms": 4000,
    "allow_auto_create_topics": False,
}


class KafkaFindings:
    """kafka-python's consumer on the partition of one run, without a group."""

    def __init__(self, servers: Sequence[str], options: Mapping[str, Any], run: str) -> None:
        self._servers, self._options, self._key = servers, options, run.encode()
        self._client: Any = None
        self._consumer: Any = None
        self._next_offsets: dict[Any, int] = {}
        self._topic_id: Any = None

    def connect(self) -> None:
        if "proxy_url" not in self._options:
            _probe(self._servers, self._options)
        import kafka
        from kafka.net.compat import KafkaNetClient

        def client(**options: Any) -> Any:
            self._client = KafkaNetClient(**options)
            return self._client

        usable = kafka.KafkaConsumer.DEFAULT_CONFIG.keys() - PRODUCER.keys()
        options = {name: value for name, value in self._options.items() if name in usable} | CONSUMER
        try:
            consumer = kafka.KafkaConsumer(bootstrap_servers=self._servers, kafka_client=client, **options)
            self._consumer = consumer
            partitions = sorted(consumer.partitions_for_topic(topics.FINDINGS) or ())
        except Exception as error:
            raise Unavailable(_text(error)) from error
        if not partitions:
            raise Unavailable(f"topic {topics.FINDINGS} does not exist yet; `losswatch serve` creates it")
        assigned = [kafka.TopicPartition(topics.FINDINGS, partition) for partition in self._chosen(partitions)]
        consumer.assign(assigned)
        self._recreated()
        for each in assigned:
            if each in self._next_offsets:
                consumer.seek(each, self._next_offsets[each])
            else:
                consumer.seek_to_end(each)

    def read(self, timeout: float) -> list[Received]:
        try:
            batches = self._consumer.poll(timeout_ms=int(1000 * timeout))
            # Left to itself, kafka-python logs an error per attempt and may never find a restarted broker.
            if not batches and (not self._connected() or self._recreated()):
                raise Unavailable("the connection is lost")
        except Unavailable:
            raise
        except Exception as error:
            raise Unavailable(_text(error)) from error
        received = []
        for partition, records in batches.items():
            self._next_offsets[partition] = records[-1].offset + 1
            received += [Received(each.value or b"", each.headers) for each in records if each.key == self._key]
        return received

    def close(self) -> None:
        for opened in (self._consumer, self._client):  # a constructor that fails leaks its sockets
            if opened is not None:
                with contextlib.suppress(Exception):
                    opened.close()
        self._consumer = self._client = None

    def _recreated(self) -> bool:
        """Whether the topic is a new one, as after a restart of a broker that forgets: it is then read whole."""
        before, self._topic_id = self._topic_id, self._client.cluster.topic_id(topics.FINDINGS)
        recreated = before is not None and before != self._topic_id
        if recreated:
            self._next_offsets = dict.fromkeys(self._consumer.assignment(), 0)
        return recreated

    def _connected(self) -> bool:
        leaders = [self._client.cluster.leader_for_partition(each) for each in self._consumer.assignment()]
        return all(self._client.connected(leader) for leader in leaders)

    def _chosen(self, partitions: Sequence[int]) -> Sequence[int]:
        """The partition of the run's records, which its findings are in too; all of them if the job chooses itself."""
        if "partitioner" in self._options:
            return partitions
        from kafka.partitioner.default import murmur2

        return [partitions[(murmur2(self._key) & 0x7FFFFFFF) % len(partitions)]]


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


def _probe(servers: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raise Unavailable unless one of the servers accepts a connection, and TLS where that is asked for.

    kafka-python would try for seconds, or for ever where TLS is not answered, and log every attempt in the job's log.
    """
    import socket

    failures = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
                from losswatch.tls import tls_problem

                problem = tls_problem([server], options, PROBE_SECONDS, listen=0.0)
                if problem is None:
                    return
                failures.append(problem)
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
