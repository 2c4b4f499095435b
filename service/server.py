"""An HTTP server on a thread of its own."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

DEADLINE: Final = 10.0
"""Seconds within which the server must have started, and within which it must have stopped."""


class AddressInUse(Exception):
    """Something else listens there already."""


class TlsUnusable(Exception):
    """The certificate, its key or the clients' authorities cannot be used; the message says which."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The PEM files of a listener."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    """Whoever issued the certificates that clients must show; without it they need none."""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises TlsUnusable."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        using = f"{self.certificate} and {self.key}"
        try:
            context.load_cert_chain(self.certificate, self.key, password="")
            if self.client_ca is not None:
                using = f"{self.client_ca}"
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise TlsUnusable(f"TLS cannot use {using}: {error}") from error
        return context


class Server:
    """Serves ``app`` from construction until `close`. Port 0 takes a free one; `url` tells which.

    Raises AddressInUse (or OSError) where it cannot listen.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise AddressInUse(
                f"Cannot listen on {host}:{port}: {error.strerror or error}. Choose another with --http-port "
                "or LOSSWATCH_HTTP_PORT; 0 takes a free port."
            ) from error
        at = listener.getsockname()
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(at[0], at[0])
        self.url = f"http{'s' if context else ''}://{f'[{shown}]' if ':' in shown else shown}:{at[1]}"
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
        )
        config.load()
        config.ssl = context
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="losswatch-http", daemon=True)
        self._thread.start()
        until = time.monotonic() + DEADLINE
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.005)
        if not self._server.started:
            raise OSError(f"the HTTP server on {self.url} did not start")

    def close(self) -> None:
        """Stop listening and wait for it."""
        self._server.should_exit = True
        self._thread.join(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
