"""No secret is told anywhere: a service with every secret set, and all that it says."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kafka
import pytest
from kafka.net.sasl.oauth import AbstractTokenProvider

import losswatch
from consumers.kafka import KafkaBroker
from consumers.source import Slot
from losswatch.kafka_transport import KafkaTransport
from losswatch.transport import Unavailable
from service.settings import Settings
from tests.integration.process import ROOT, ServiceProcess, wait_for

SECRETS = {
    "http_token": "SECRET-page-0123456789",
    "metrics_token": "SECRET-metrics-0123456789",
    "kafka_password": "SECRET-kafka-0123456789",
    "alertmanager_token": "SECRET-alerts-0123456789",
    "kafka": json.dumps({"ssl_password": "SECRET-key-0123456789", "sasl_plain_username": "me"}),
}
HEADERS = {"Authorization": f"Bearer {SECRETS['http_token']}"}


def ask(url: str, **headers: str) -> str:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return str(answer.headers) + str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.headers}{error.read().decode()}"


def test_a_service_with_every_secret_set_tells_none_of_them(tansu: str, tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    settings = SECRETS | {"log_level": "debug", "session_seconds": "3", "alertmanager_urls": "http://127.0.0.1:1"}
    with ServiceProcess(tansu, log, **settings) as service:
        wait_for(lambda: "losswatch_records_total" in ask(service.url + "/metrics", **metrics()), "metrics", 20)
        told = [
            ask(service.url + path, **headers)
            for path in ("/", "/metrics", "/api/runs", "/api/findings", "/readyz", "/healthz", "/nothing", "/login")
            for headers in ({}, HEADERS, metrics(), {"Accept": "text/html"}, HEADERS | {"Accept": "text/html"})
        ]
    told.append(log.read_text())
    assert "losswatch_ready 1" in "".join(told)
    assert not [text for text in told if "SECRET" in text]


def metrics() -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS['metrics_token']}"}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["serve", "--help"], {}),
        (["topics"], {}),
        (["topics"], {"http_token_file": "SECRET", "http_port": "SECRET"}),
        (["topics"], {"kafka": '{"ssl_password": "SECRET'}),
    ],
)
def test_the_command_line_tells_none_of_them(arguments: list[str], wrong: dict[str, str]) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "publisher")])
    named = {f"LOSSWATCH_{name.upper()}": value for name, value in (SECRETS | wrong).items()}
    command = [sys.executable, "-m", "service.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": path} | named
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert "SECRET" not in done.stdout + done.stderr


def test_settings_that_are_printed_hide_them() -> None:
    settings = Settings(**{name: json.loads(v) if name == "kafka" else v for name, v in SECRETS.items()})  # type: ignore[arg-type]  # texts become secrets
    assert "SECRET" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_a_misspelt_password_is_not_told_by_the_hook(tansu: str, caplog: pytest.LogCaptureFixture) -> None:
    transport = KafkaTransport(tansu, {"sasl_plain_pasword": "SECRET"})
    with pytest.raises(Unavailable, match=r"has no setting sasl_plain_pasword$"):
        transport.connect([])
    with caplog.at_level(logging.DEBUG):
        run = losswatch.start("misspelt", bootstrap_servers=tansu, kafka={"sasl_plain_pasword": "SECRET"})
        run.log(0, total=1.0)
        wait_for(lambda: "no setting" in caplog.text, "the warning", 20)
        run.finish(timeout=0.1)
    assert "SECRET" not in caplog.text


def test_a_misspelt_password_is_not_told_by_the_service(tansu: str) -> None:
    broker = KafkaBroker(tansu, security={"sasl_plain_pasword": "SECRET"})
    with pytest.raises(ValueError, match="sasl_plain_pasword") as refused:
        broker.partitions("losswatch.steps")
    assert "SECRET" not in str(refused.value)


class Given(Exception):
    """Carries what a client of kafka-python was given."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes every client of kafka-python raise what it is given: no broker with SASL is to be had here."""

    def refuse(self: object, *unused: object, **options: Any) -> None:
        raise Given(options)

    for client in (kafka.KafkaConsumer, kafka.KafkaProducer, kafka.KafkaAdminClient):
        monkeypatch.setattr(client, "__init__", refuse)
        monkeypatch.setattr(client, "__del__", lambda self: None, raising=False)
    yield
    gc.collect()


SASL = {
    "PLAIN": {"sasl_plain_username": "me", "sasl_plain_password": "p"},
    "SCRAM-SHA-256": {"sasl_plain_username": "me", "sasl_plain_password": "p"},
    "SCRAM-SHA-512": {"sasl_plain_username": "me", "sasl_plain_password": "p"},
}


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("mechanism", SASL)
def test_sasl_settings_reach_every_client_of_the_service(mechanism: str) -> None:
    options = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_plain_username": "me"}
    security = Settings(kafka=options, kafka_password="p").kafka_arguments()
    broker = KafkaBroker("kafka:9092", security=security)
    slot = Slot("x", 0)
    clients = (
        lambda: broker.partitions("x"),
        lambda: broker.sink().send(slot, b"", b""),
        lambda: broker.source("group", ["x"]).poll(0, 1),
        lambda: list(broker.read(slot)),
    )
    for client in clients:
        with pytest.raises(Given) as caught:
            client()
        assert caught.value.args[0].items() >= {**options, "sasl_plain_password": "p"}.items()


@pytest.mark.usefixtures("given")
def test_an_oauth_token_is_read_from_its_file_for_every_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    options = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
    broker = KafkaBroker("kafka:9092", security=Settings(kafka=options, kafka_token_file=file).kafka_arguments())
    with pytest.raises(Given) as caught:
        broker.partitions("x")
    provider = caught.value.args[0]["sasl_oauth_token_provider"]
    assert isinstance(provider, AbstractTokenProvider)
    assert provider.token() == "first"
    file.write_text("second")
    assert provider.token() == "second"


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("mechanism", SASL)
def test_sasl_settings_reach_the_producer_of_the_hook(tansu: str, mechanism: str) -> None:
    options = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism} | SASL[mechanism]
    transport = KafkaTransport(tansu, options)
    with pytest.raises(Unavailable) as refused:
        transport.connect([])
    caught = refused.value.__cause__
    assert isinstance(caught, Given)
    assert caught.args[0].items() >= options.items()
