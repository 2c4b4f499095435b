"""The listener over TLS and mutual TLS, with real connections."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.serve import CannotServe, serve
from service.server import Server, Tls, TlsUnusable
from service.settings import Settings
from tests.certificates import Authority, Certificate
from tests.service.test_http import web


@dataclass(frozen=True, slots=True)
class Parties:
    ours: Authority
    theirs: Authority
    server: Certificate
    prometheus: Certificate
    stranger: Certificate


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Parties:
    folder = tmp_path_factory.mktemp("https")
    ours, theirs = Authority(folder / "ours"), Authority(folder / "theirs")
    server, prometheus = ours.certificate("127.0.0.1"), ours.certificate("prometheus")
    return Parties(ours, theirs, server, prometheus, theirs.certificate("stranger"))


@pytest.fixture(scope="module")
def mutual(parties: Parties) -> Iterator[str]:
    """The address of a service that wants client certificates."""
    context = Tls(parties.server.chain, parties.server.key, parties.ours.file).context()
    with Server(web().application(), "127.0.0.1", 0, context) as server:
        yield server.url


def fetch(url: str, trusted: Authority, shown: Certificate | None = None, **options: Any) -> bytes:
    context = ssl.create_default_context(cafile=str(trusted.file))
    if shown is not None:
        context.load_cert_chain(shown.chain, shown.key)
    for name, value in options.items():
        setattr(context, name, value)
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        body: bytes = answer.read()
    return body


def test_a_certificate_makes_it_https_only(parties: Parties) -> None:
    with Server(web().application(), "127.0.0.1", 0, Tls(parties.server.chain, parties.server.key).context()) as server:
        assert server.url.startswith("https://")
        assert b"losswatch_runs" in fetch(f"{server.url}/metrics", parties.ours)
        with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
            fetch(server.url, parties.theirs)
        with pytest.raises(OSError, match=r"reset|closed|remote"):
            urllib.request.urlopen(server.url.replace("https", "http"), timeout=10)


def test_tls_older_than_1_2_is_refused(parties: Parties) -> None:
    assert Tls(parties.server.chain, parties.server.key).context().minimum_version == ssl.TLSVersion.TLSv1_2


def test_with_client_authorities_their_clients_are_answered(parties: Parties, mutual: str) -> None:
    assert b"losswatch_runs" in fetch(f"{mutual}/metrics", parties.ours, parties.prometheus)


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz"])
def test_with_client_authorities_nobody_else_is_answered(parties: Parties, mutual: str, path: str) -> None:
    for shown in (None, parties.stranger):
        with pytest.raises(OSError, match=r"(?i)certificate|alert|reset|closed|EOF"):
            fetch(mutual + path, parties.ours, shown)


def test_files_that_cannot_be_used_are_named(parties: Parties, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for tls in (
        Tls(Path("/no/such/cert.pem"), parties.server.key),
        Tls(rubbish, parties.server.key),
        Tls(parties.server.chain, parties.prometheus.key),
        Tls(parties.server.chain, parties.server.key, rubbish),
    ):
        with pytest.raises(TlsUnusable, match=r"TLS cannot use .*\.(pem|key)"):
            tls.context()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"http_tls_cert": "/x.pem"}, "both LOSSWATCH_HTTP_TLS_CERT and LOSSWATCH_HTTP_TLS_KEY"),
        ({"http_tls_client_ca": "/x.pem"}, "both LOSSWATCH_HTTP_TLS_CERT and LOSSWATCH_HTTP_TLS_KEY"),
        ({"http_tls_cert": "/x.pem", "http_tls_key": "/x.key"}, "TLS cannot use /x.pem and /x.key"),
        ({"metrics_token": "0123456789abcdef"}, "Set both"),
    ],
)
def test_the_service_does_not_start_less_protected_than_told(settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(CannotServe, match=complaint):
        serve(Settings(bootstrap_servers="127.0.0.1:1", http_port=0, **settings))  # type: ignore[arg-type]  # paths
