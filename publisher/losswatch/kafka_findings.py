"""Findings from Kafka: kafka-python's consumer on the partition of one run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from losswatch import topics
from losswatch.notices import line_of
from losswatch.transport import Received, Unavailable

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
            from losswatch.tls import probe

            probe(self._servers, self._options)
        import kafka
        from kafka.net.compat import KafkaNetClient

        def client(**options: Any) -> Any:
            self._client = KafkaNetClient(**options)
            return self._client

        usable = kafka.KafkaConsumer.DEFAULT_CONFIG
        options = {name: value for name, value in self._options.items() if name in usable} | CONSUMER
        try:
            consumer = kafka.KafkaConsumer(bootstrap_servers=self._servers, kafka_client=client, **options)
            self._consumer = consumer
            partitions = sorted(consumer.partitions_for_topic(topics.FINDINGS) or ())
        except Exception as error:
            raise Unavailable(line_of(error)) from error
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
            raise Unavailable(line_of(error)) from error
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
