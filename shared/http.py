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


async def serve(application: Any, host: str, port: int, stopping: asyncio.Event) -> None:
    """Serve until ``stopping``; requests at hand have ``STOPPING_S`` seconds to finish."""
    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.error,
    )
    serving = asyncio.create_task(server.serve())
    stop = asyncio.create_task(_until(stopping))
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if serving.done():
        serving.result()
        raise CannotServeError("the HTTP server ended by itself")
    server.stop()  # type: ignore[no-untyped-call]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(serving, STOPPING_S)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
