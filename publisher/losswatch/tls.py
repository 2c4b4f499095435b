"""Whether a broker can be reached, and why TLS with it does not come about: kafka-python says neither."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

from losswatch.transport import Unavailable

PROBE_SECONDS: Final = 3.0
ALERT_SECONDS: Final = 1.0
"""A server that wants a certificate of ours says so only after the handshake."""
PLAINTEXT: Final = "; is it the port for plaintext?"
CERTIFICATE: Final = "; if it asks for a client certificate, ssl_certfile and ssl_keyfile must hold one it trusts"


def probe(servers: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raise Unavailable unless one of the servers accepts a connection, and TLS where that is asked for.

    kafka-python would try for seconds, or for ever where TLS is not answered, and log every attempt in the job's log.
    """
    failures = []
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS):
                problem = tls_problem([server], options, PROBE_SECONDS, listen=0.0)
                if problem is None:
                    return
                failures.append(problem)
        except ValueError:
            failures.append(f"{server}: expected HOST:PORT")
        except OSError as error:
            failures.append(f"{server}: {error.strerror or error}")
    raise Unavailable("; ".join(failures) or "no servers given")


def tls_problem(
    servers: Sequence[str], options: Mapping[str, Any], timeout: float = 3.0, listen: float = ALERT_SECONDS
) -> str | None:
    """What is wrong with the ``ssl_*`` settings of kafka-python for the first server that can be reached.

    Nothing where no fault is found, or TLS is not asked for. After the handshake it listens for so many
    seconds for a server that refuses us; with 0 it does not.

    >>> tls_problem(["localhost:9093"], {"security_protocol": "SSL", "ssl_cafile": "/no/such/file"})
    'ssl_cafile cannot be used: No such file or directory: /no/such/file'
    """
    if options.get("security_protocol") not in {"SSL", "SASL_SSL"}:
        return None
    context = options.get("ssl_context")
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = options.get("ssl_check_hostname", True)
        problem = _load(context, options)
        if problem:
            return problem
    for server in servers:
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), timeout) as plain:
                return _handshake(context, plain, host, server, listen)
        except (OSError, ValueError):
            continue
    return None


def _load(context: ssl.SSLContext, options: Mapping[str, Any]) -> str | None:
    authorities, certificate, key = (options.get(f"ssl_{name}") for name in ("cafile", "certfile", "keyfile"))
    name = "ssl_cafile"
    try:
        if authorities:
            context.load_verify_locations(authorities)
        else:
            context.load_default_certs()
        if certificate:
            name = "ssl_certfile with ssl_keyfile"
            context.load_cert_chain(certificate, key, options.get("ssl_password") or "")
    except FileNotFoundError as error:
        missing = next((path for path in (authorities, certificate, key) if path and not _there(path)), "")
        return f"{name} cannot be used: {error.strerror}: {missing}"
    except OSError as error:
        return f"{name} cannot be used: {error.strerror or error}"
    return None


def _there(path: str) -> bool:
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _handshake(context: ssl.SSLContext, plain: socket.socket, host: str, server: str, listen: float) -> str | None:
    try:
        with context.wrap_socket(plain, server_hostname=host) as connection:
            if listen <= 0:
                return None
            connection.settimeout(listen)
            connection.recv(1)
    except TimeoutError as error:
        return None if "handshake" not in str(error) else f"{server} does not answer the TLS handshake{PLAINTEXT}"
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of {server} is not accepted ({error.verify_message}); ssl_cafile says whom to trust"
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if "wrong version" in reason or "record layer" in reason:
            return f"{server} does not speak TLS ({reason}){PLAINTEXT}"
        return f"{server} ends the TLS handshake ({reason}){CERTIFICATE}"
    except OSError as error:
        return f"{server} ends the TLS handshake ({error.strerror or error}){CERTIFICATE}"
    return f"{server} closes the connection right after the TLS handshake{CERTIFICATE}"
