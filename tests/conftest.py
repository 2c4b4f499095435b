"""Fixtures for every test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.brokers import start_tansu

pytest.register_assert_rewrite("tests.consumers.broker_contract")

MakeTopic = Callable[..., str]


def pytest_configure(config: pytest.Config) -> None:
    """Bear with kafka-python 3.0, which leaves the sockets of refused connections to the garbage collector."""
    for left in (r"socket.socket fd=\d+, family=\d+, type=1, proto=6, laddr=\('0", r"ssl.SSLSocket fd=\d+"):
        config.addinivalue_line("filterwarnings", f"ignore:unclosed <{left}:ResourceWarning")


@pytest.fixture(scope="session")
def tansu() -> Iterator[str]:
    """The address of a broker shared by the whole session: use topics and groups of your own."""
    with start_tansu() as broker:
        yield broker.address


@pytest.fixture
def fresh_topic(tansu: str) -> MakeTopic:
    """``fresh_topic(partitions=4)``: the name of a new empty topic on the shared broker."""

    from kafka import KafkaAdminClient

    def make(partitions: int = 4) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        with KafkaAdminClient(bootstrap_servers=tansu) as admin:
            admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
        return name

    return make
