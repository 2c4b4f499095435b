"""An HTTP server on a thread of its own."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

DEADLINE: Final = 10.0
"""Seconds within which the server must have started, and within which it must have stopped."""


class AddressInUse(Exception):
    """Something else listens there already."""


class Server:
    """Serves ``app`` from construction until `close`. Port 0 takes a free one; `url` tells which.

    Raises AddressInUse (or OSError) where it cannot listen.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
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
        self.url = f"http://{f'[{shown}]' if ':' in shown else shown}:{at[1]}"
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
        )
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
