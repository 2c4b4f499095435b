"""A Kafka-compatible broker as `consumers.source.Broker`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from consumers.kafka.connection import Connection
from consumers.kafka.sink import KafkaSink
from consumers.kafka.source import FETCHING, KafkaSource, read_ahead
from consumers.source import Message, Slot
from losswatch.topics import ALIKE, TOPICS

_TOPIC_EXISTS = 36


class KafkaBroker:
    """Any Kafka-compatible broker.

    Nothing is connected until a method is called; each then raises BrokerUnavailable when the broker
    has not answered within ``answer_timeout`` seconds. ``security`` takes kafka-python's
    ``security_protocol``, ``ssl_*`` and ``sasl_*`` settings as they are. ``session_timeout`` seconds
    after a member was killed, its partitions go to others (Apache Kafka allows 6 s to 30 min; tansu
    takes half of it for every join). ``replication_factor`` is that of topics made here; without it
    the broker's own default is taken.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        security: Mapping[str, object] | None = None,
        client_id: str = "losswatch",
        answer_timeout: float = 5.0,
        session_timeout: float = 10.0,
        replication_factor: int | None = None,
    ) -> None:
        self._connection = Connection(bootstrap_servers, client_id, answer_timeout, dict(security or {}))
        self._session_timeout = session_timeout
        self._replication_factor = replication_factor

    def create_topics(self, partitions: int) -> list[str]:
        """Create the missing topics; the names of those it made.

        Raises RuntimeError, with the broker's reason, where the broker refuses.
        """
        with self._admin() as admin, self._connection.answering("did not create the topics"):
            present = set(admin.list_topics())
            missing = {topic.name: topic for topic in TOPICS if topic.name not in present}
            if not missing:
                return []
            partitions = max((self._count(admin, name) for name in ALIKE if name in present), default=partitions)
            wanted = {
                name: {
                    "num_partitions": partitions,
                    "replication_factor": -1 if self._replication_factor is None else self._replication_factor,
                    "configs": dict(topic.config),
                }
                for name, topic in missing.items()
            }
            answers = admin.create_topics(wanted, raise_errors=False)["topics"]
            for answer in answers:
                if answer["error_code"] not in (0, _TOPIC_EXISTS):
                    config = " ".join(f"{name}={value}" for name, value in missing[answer["name"]].config)
                    raise RuntimeError(
                        f"the broker refused to create topic {answer['name']} ({partitions} partitions, {config}):"
                        f" {answer['error_message'] or 'error ' + str(answer['error_code'])}."
                        " Create it with the broker's own tools and start again."
                    )
            admin.wait_for_topics(list(missing), timeout_ms=self._connection.answer_ms)
            return [answer["name"] for answer in answers if answer["error_code"] == 0]

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 where it does not exist."""
        with self._admin() as admin, self._connection.answering("did not describe its topics"):
            return self._count(admin, topic)

    @staticmethod
    def _count(admin: KafkaAdminClient, topic: str) -> int:
        return len(admin.describe_topics([topic])[0]["partitions"])

    def source(self, group: str, topics: Sequence[str]) -> KafkaSource:
        """Join the group; the partitions come with the polls."""
        return KafkaSource(self._connection, group, topics, self._session_timeout)

    def sink(self) -> KafkaSink:
        """A producer of its own."""
        return KafkaSink(self._connection)

    def read(self, slot: Slot, start: int = 0) -> Iterator[Message]:
        """Every record that is in the partition now, from ``start`` (or the first one kept) on.

        "Now" is the high watermark that comes with the fetches: tansu's ListOffsets gives the offset after
        the *first* record of the last batch. Raises BrokerUnavailable when the end is not reached.
        """
        partition = TopicPartition(*slot)
        # With a reset, a start behind the end would begin again at the front.
        settings = {**FETCHING, "auto_offset_reset": "none", "fetch_max_wait_ms": 50}
        consumer = self._connection.open(KafkaConsumer, group_id=None, **settings)
        try:
            with self._connection.answering(f"could not be read to the end of {slot.topic}-{slot.partition}"):
                consumer.assign([partition])
                first = consumer.beginning_offsets([partition], timeout_ms=self._connection.answer_ms)[partition]
                if first == consumer.end_offsets([partition], timeout_ms=self._connection.answer_ms)[partition]:
                    return
                consumer.seek(partition, max(start, first))
                try:
                    while records := read_ahead(consumer, partition, self._connection.answer_timeout):
                        yield from records
                except OffsetOutOfRangeError:
                    return
        finally:
            consumer.close(autocommit=False)

    def close(self) -> None:
        """Nothing is held open between two calls; sources and sinks are closed by who has them."""

    def _admin(self) -> KafkaAdminClient:
        return self._connection.open(KafkaAdminClient, request_timeout_ms=self._connection.answer_ms)
