"""How every client of the Kafka broker is opened, and what its errors mean to us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka.errors import IllegalArgumentError, IllegalStateError, KafkaConfigurationError, KafkaError
from kafka.net.compat import KafkaNetClient

from consumers.kafka.oauth import FileToken
from consumers.source import BrokerUnavailable
from losswatch.tls import tls_problem

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
    """kafka-python's ``security_protocol``, ``ssl_*`` and ``sasl_*`` settings; a path as
    ``sasl_oauth_token_provider`` is a file that holds the token."""

    @property
    def answer_ms(self) -> int:
        return round(1000 * self.answer_timeout)

    def open(self, kind: Callable[..., Any], network: Callable[..., Any] = KafkaNetClient, **settings: object) -> Any:
        """A kafka-python client, connected. Raises BrokerUnavailable after ``answer_timeout``, ValueError
        for settings that kafka-python does not accept."""
        networks: list[Any] = []
        self._check_tls(listen=0.0)

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
                    **self._credentials(),
                    **settings,
                )
        except BaseException as error:
            # A constructor that fails leaves its I/O thread running: one more for every attempt.
            for opened in networks:
                opened.close()
            if isinstance(error, BrokerUnavailable):
                self._check_tls()
            raise

    def _check_tls(self, listen: float = 1.0) -> None:
        """kafka-python would not say what is wrong, and waits for ever where TLS is not answered."""
        problem = tls_problem(self.bootstrap_servers.split(","), self.security, self.answer_timeout, listen)
        if problem:
            raise BrokerUnavailable(f"no TLS with the Kafka broker: {problem}")

    def _credentials(self) -> Mapping[str, object]:
        provider = self.security.get("sasl_oauth_token_provider")
        given = {"sasl_oauth_token_provider": FileToken(provider)} if isinstance(provider, Path) else {}
        return {**self.security, **given}

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
