"""Serving an application over HTTP: granian inside our own event loop, so that one process has one loop and one set of signals."""

import asyncio
import contextlib
import socket
from typing import Any, Final

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from shared.process import CannotStartError

STOPPING_S: Final = 5.0
BACKLOG: Final = 1024


class CannotServeError(CannotStartError):
    """The address is taken, or not ours; the message says so in one line."""


def claim_port(host: str, port: int) -> None:
    """Raise CannotServeError if the address is not free: the server itself would share the port without a word."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise CannotServeError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


class HttpServer:
    """An application on an address that was free. ``trouble``: None once it answers a request of our own."""

    def __init__(
        self, application: Any, host: str, port: int, *, at_once: int = BACKLOG, websockets: bool = False
    ) -> None:
        """``at_once``: the most connections that are served at the same time; others wait. Raises CannotServeError."""
        claim_port(host, port)
        self._server = Server(
            application,
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            websockets=websockets,
            backlog=BACKLOG,
            backpressure=at_once,
            log_level=LogLevels.error,
        )
        self._own_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        self._port = port
        self.address = f"http://{self._own_host}:{port}"
        self.trouble: str | None = "not serving yet"

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping``; requests at hand have ``STOPPING_S`` seconds to finish."""
        serving = asyncio.create_task(self._server.serve())
        stop = asyncio.create_task(_until(stopping))
        try:
            while not serving.done() and self.trouble is not None and not stopping.is_set():
                if await self._answers():
                    self.trouble = None
                else:
                    await asyncio.sleep(0.02)
            await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if serving.done():
            serving.result()
            raise CannotServeError("the HTTP server ended by itself")
        self._server.stop()  # type: ignore[no-untyped-call]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(serving, STOPPING_S)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(self._own_host, self._port)
                writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
        except (OSError, TimeoutError):
            return False
        writer.close()
        return status.split(b" ")[1:2] == [b"200"]


async def _until(event: asyncio.Event) -> None:
    await event.wait()
