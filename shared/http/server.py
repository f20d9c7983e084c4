"""Serving an application over HTTP: granian inside our own event loop, so that one process has one loop and one set of signal handlers.

What a client can hold is bounded. A connection without a complete request head is closed after HEADERS_S, and so is an idle one; bodies
and slots are limited by ``shared.http.admission``, heads by ``shared.http.screening``.
At most MAX_CONNECTIONS are open, and never more than file descriptors allow; one in
eight of them is reserved for refusing requests without a slot. HTTP/1.1 only: where granian also accepts HTTP/2, it waits for the
first byte, to detect the version, without a time limit.
"""

import asyncio
import contextlib
import socket
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from shared.http.address import reachable
from shared.http.admission import Admission
from shared.http.screening.screen import Screen, Screening
from shared.runtime import descriptors
from shared.runtime.process import CannotStartError

STOPPING_S: Final = 5.0
BACKLOG: Final = 1024
HEADERS_S: Final = 30.0
HEAD_BUFFER_BYTES: Final = 64 * 1024
"""A head that is larger is answered 431 by the server itself; ``Screen`` refuses smaller ones than that."""
MAX_CONNECTIONS: Final = 20_000
MIN_CONNECTIONS: Final = 32


class CannotServeError(CannotStartError):
    """The address is in use or not local, or file descriptors are too few for connections; the message says which, in one line."""


def max_connections() -> int:
    """The maximum number of open connections. Raises CannotServeError where file descriptors allow fewer than MIN_CONNECTIONS."""
    spare = descriptors.available_for_connections()
    if spare < MIN_CONNECTIONS:
        least = MIN_CONNECTIONS + descriptors.RESERVE
        raise CannotServeError(f"this process may open too few files (ulimit -n): it needs {least}")
    return min(MAX_CONNECTIONS, spare)


def require_free_port(host: str, port: int) -> None:
    """Raise CannotServeError if the address is not free: the server itself would silently share the port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        raise CannotServeError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


class HttpServer:
    """Serves an application on an address that was free. ``trouble``: None once it answers a request that it sends to itself."""

    def __init__(
        self, application: Any, host: str, port: int, *, screening: Screening | None = None, websockets: bool = False
    ) -> None:
        """``screening``: default: of a service that listens on ``host`` only for itself. Raises CannotServeError."""
        connections = max_connections()
        require_free_port(host, port)
        self._server = Server(
            Screen(Admission(application, slots=connections - connections // 8), screening or Screening()),
            address=host,
            port=port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=int(HEADERS_S * 1000), max_buffer_size=HEAD_BUFFER_BYTES),
            websockets=websockets,
            backlog=BACKLOG,
            backpressure=connections,
            log_level=LogLevels.error,
        )
        self._own_host = reachable(host)
        self._port = port
        self.address = f"http://{self._own_host}:{port}"
        self.trouble: str | None = "not serving yet"

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping``; current requests then have ``STOPPING_S`` seconds to finish."""
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
