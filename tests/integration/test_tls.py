"""Kafka over TLS and mutual TLS for real: a TLS listener in front of the broker, hook and service through it."""

from __future__ import annotations

import json
import logging
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import losswatch
from consumers.kafka import KafkaBroker
from consumers.source import BrokerUnavailable
from losswatch.topics import STEPS
from tests.brokers import Tansu, free_port
from tests.certificates import Authority, Certificate
from tests.integration.process import ServiceProcess, wait_for
from tests.integration.tls_proxy import TlsProxy


@dataclass(frozen=True, slots=True)
class Cluster:
    """A broker behind mutual TLS, and who is who."""

    proxy: TlsProxy
    ours: Authority
    theirs: Authority
    """Another authority, which issued nothing here."""
    client: Certificate

    @property
    def security(self) -> dict[str, str]:
        """What kafka-python needs to get in."""
        certificate = {"ssl_certfile": str(self.client.chain), "ssl_keyfile": str(self.client.key)}
        return {"security_protocol": "SSL", "ssl_cafile": str(self.ours.file)} | certificate

    @property
    def wrongly(self) -> dict[str, tuple[dict[str, str], str]]:
        """Settings that do not work, and what is to be said about them."""
        good = self.security
        anonymous = {name: value for name, value in good.items() if name in {"security_protocol", "ssl_cafile"}}
        stranger = self.theirs.certificate("stranger")
        strange = {"ssl_certfile": str(stranger.chain), "ssl_keyfile": str(stranger.key)}
        return {
            "wrong CA": (good | {"ssl_cafile": str(self.theirs.file)}, "is not accepted.*ssl_cafile"),
            "no certificate": (anonymous, "client certificate, ssl_certfile"),
            "certificate of another CA": (good | strange, "client certificate, ssl_certfile"),
            "missing file": (good | {"ssl_cafile": "/no/such/ca.pem"}, "ssl_cafile cannot be used.*/no/such/ca.pem"),
            "missing key": (good | {"ssl_keyfile": "/no/such/key"}, "ssl_keyfile cannot be used.*/no/such/key"),
        }


CASES = ["wrong CA", "no certificate", "certificate of another CA", "missing file", "missing key"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    server = ours.certificate("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.chain, server.key)
    context.load_verify_locations(ours.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with TlsProxy(context, port := free_port()) as proxy:
        broker = Tansu(port, advertised=proxy.port)
        broker.start()
        yield Cluster(proxy, ours, theirs, ours.certificate("losswatch-client"))
        broker.stop()


@pytest.mark.timeout(100)
def test_hook_and_service_meet_through_mutual_tls(cluster: Cluster, tmp_path: Path) -> None:
    settings = {"kafka": json.dumps(cluster.security), "partitions": "2", "view_seconds": "0.1", "session_seconds": "3"}
    with ServiceProcess(cluster.proxy.address, tmp_path / "service.log", **settings) as service:
        run = losswatch.start("over-tls", bootstrap_servers=cluster.proxy.address, kafka=cluster.security)
        for step in range(20):
            run.log(step, total=1.0 / (step + 1))
        assert run.finish(timeout=20)
        wait_for(lambda: (service.get("/api/runs/over-tls") or {}).get("status") == "finished", "the run's end", 30)
        assert service.get("/api/runs/over-tls")["steps_seen"] == 20
    assert "losswatch-client" in cluster.proxy.subjects


@pytest.mark.parametrize("case", CASES)
def test_the_service_says_why_tls_does_not_come_about(cluster: Cluster, case: str) -> None:
    security, complaint = cluster.wrongly[case]
    broker = KafkaBroker(cluster.proxy.address, security=security, answer_timeout=0.5)
    with pytest.raises(BrokerUnavailable, match=f"no TLS with the Kafka broker.*{complaint}"):
        broker.partitions(STEPS)


@pytest.mark.parametrize("case", ["wrong CA", "no certificate"])
def test_a_job_goes_on_without_tls_and_is_told_why(
    cluster: Cluster, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    security, complaint = cluster.wrongly[case]
    with caplog.at_level(logging.WARNING, "losswatch"):
        run = losswatch.start(f"job-{case}", bootstrap_servers=cluster.proxy.address, kafka=security)
        run.log(0, total=1.0)
        wait_for(lambda: "cannot publish" in caplog.text, "the warning", 20)
        assert not run.finish(timeout=0.1)
    told = " ".join(record.getMessage() for record in caplog.records)
    assert re.search(complaint, told)
    assert run.stats().published == 0


def test_a_plaintext_port_is_recognised(tansu: str) -> None:
    broker = KafkaBroker(tansu, security={"security_protocol": "SSL"}, answer_timeout=0.5)
    with pytest.raises(BrokerUnavailable, match="TLS"):
        broker.partitions(STEPS)
