"""A TLS listener in front of a broker that has none, as a mesh or a load balancer would be."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.brokers import free_port


class TlsProxy:
    """Takes TLS connections on a free port of the loopback interface and hands what is in them to ``target``."""

    def __init__(self, context: ssl.SSLContext, target: int) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.subjects: set[str] = set()
        """Names in the certificates that clients showed."""
        self._context, self._target = context, target
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda loop, context: None)  # handshakes that fail are what some tests want
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self._listening = threading.Event()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._context)
        self._listening.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.1)  # transports close in the next turns of the loop

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("peercert") or {}
        self.subjects |= {name for _, name in shown.get("subjectAltName", ())}
        inside, outside = await asyncio.open_connection("127.0.0.1", self._target)
        pumps = [asyncio.ensure_future(pump) for pump in (_pump(reader, outside), _pump(inside, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (writer, outside):
                end.transport.abort()
            for pump in pumps:
                pump.cancel()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
