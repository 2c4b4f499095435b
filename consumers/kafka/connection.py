"""How every client of the Kafka broker is opened, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import IllegalArgumentError, IllegalStateError, KafkaConfigurationError, KafkaError
from kafka.net.compat import KafkaNetClient

from consumers.source import BrokerUnavailable

LARGEST_RECORD = 16 * 1024 * 1024
"""Bytes of key, value and headers together; what is larger is refused before it is sent."""

_MISUSE = (KafkaConfigurationError, IllegalArgumentError, IllegalStateError)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the brokers are, who we are, and how long to wait for an answer."""

    bootstrap_servers: str
    """``host:port``, several of them separated by commas."""
    client_id: str
    answer_timeout: float
    """Seconds after which a call that was not answered raises BrokerUnavailable."""
    security: Mapping[str, object] = field(default_factory=dict)
    """kafka-python's ``security_protocol``, ``ssl_*`` and ``sasl_*`` settings."""

    @property
    def answer_ms(self) -> int:
        return round(1000 * self.answer_timeout)

    def open(self, kind: Callable[..., Any], network: Callable[..., Any] = KafkaNetClient, **settings: object) -> Any:
        """A kafka-python client, connected. Raises BrokerUnavailable after ``answer_timeout``, ValueError
        for settings that kafka-python does not accept."""
        networks: list[Any] = []

        def remembered(**configs: object) -> Any:
            networks.append(network(**configs))
            return networks[-1]

        try:
            with self.answering("could not be reached"):
                return kind(
                    bootstrap_servers=self.bootstrap_servers,
                    client_id=self.client_id,
                    bootstrap_timeout_ms=self.answer_ms,
                    reconnect_backoff_max_ms=1000,
                    kafka_client=remembered,
                    **self.security,
                    **settings,
                )
        except BaseException:
            # A constructor that fails leaves its I/O thread running: one more for every attempt.
            for opened in networks:
                opened.close()
            raise

    @contextmanager
    def answering(self, failure: str) -> Iterator[None]:
        """Raise BrokerUnavailable for kafka-python's errors, in a sentence that ends in ``failure``."""
        try:
            yield
        except KafkaConfigurationError as error:
            raise ValueError(f"kafka-python does not accept the settings: {error}") from error
        except _MISUSE:
            raise
        except KafkaError as error:
            raise BrokerUnavailable(f"the Kafka broker at {self.bootstrap_servers} {failure}: {error}") from error
