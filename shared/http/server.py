"""Serving an application over HTTP: granian inside our own event loop, so that one process has one loop and one set of signals.

What a client can hold is bounded. A connection on which no complete head of a request comes is closed after HEADERS_S, an idle one too;
bodies and places are ``shared.http.admission``'s. At most MOST_CONNECTIONS are open, and never more than the file descriptors allow; one in
eight of them is for those who find no place, to be told so. HTTP/1.1 only: where granian may speak HTTP/2 as well, it waits without end for
the first byte, to know which.
"""

import asyncio
import contextlib
import socket
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from shared.http.admission import Admission
from shared.runtime import descriptors
from shared.runtime.process import CannotStartError

STOPPING_S: Final = 5.0
BACKLOG: Final = 1024
HEADERS_S: Final = 30.0
MOST_CONNECTIONS: Final = 20_000
LEAST_CONNECTIONS: Final = 32


class CannotServeError(CannotStartError):
    """The address is taken, or not ours, or connections find no file descriptors; the message says so in one line."""


def most_connections() -> int:
    """As many as may be open at once. Raises CannotServeError where that is hardly any."""
    spare = descriptors.available_for_connections()
    if spare < LEAST_CONNECTIONS:
        least = LEAST_CONNECTIONS + descriptors.RESERVE
        raise CannotServeError(f"this process may open too few files (ulimit -n): it needs {least}")
    return min(MOST_CONNECTIONS, spare)


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

    def __init__(self, application: Any, host: str, port: int, *, websockets: bool = False) -> None:
        """Raises CannotServeError."""
        connections = most_connections()
        claim_port(host, port)
        self._server = Server(
            Admission(application, places=connections - connections // 8),
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=int(HEADERS_S * 1000)),
            websockets=websockets,
            backlog=BACKLOG,
            backpressure=connections,
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
