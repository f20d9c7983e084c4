"""``python -m query_service``: serve until SIGTERM or SIGINT; exit code 1, and one line why, when it cannot."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from typing import Final

import httpx
import pydantic
import uvloop
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from query_service.app import create_app, open_stores
from shared.settings import MissingSettingError, Settings

STOPPING_S: Final = 5.0
STARTING_S: Final = 10.0
BACKLOG: Final = 1024


class CannotServeError(Exception):
    """Nothing can be served; the message says why in one line."""


def main() -> int:
    try:
        settings = Settings()
        logging.basicConfig(level=settings.log_level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        uvloop.run(serve(settings))
    except (CannotServeError, MissingSettingError, pydantic.ValidationError, ValueError) as error:
        print(f"query service: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """One process, one event loop: a signal sent to it reaches the server, and nothing outlives it."""
    claim_port(settings.host, settings.query_port)
    server = Server(
        create_app(open_stores(settings)),
        address=settings.host,
        port=settings.query_port,
        interface=Interfaces.ASGI,
        websockets=False,
        backlog=BACKLOG,
        log_level=LogLevels.error,
    )
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    announcing = asyncio.create_task(_announce(settings))
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    announcing.cancel()
    stopping.cancel()
    if serving.done():
        serving.result()
        raise CannotServeError("the HTTP server ended by itself")
    server.stop()  # type: ignore[no-untyped-call]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(serving, STOPPING_S)


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


async def _announce(settings: Settings) -> None:
    """Say that we serve once we do: when a request gets its answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://{host}:{settings.query_port}"
    async with httpx.AsyncClient(trust_env=False, timeout=1) as client:
        async with asyncio.timeout(STARTING_S):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{url}/health/live")).is_success:
                        break
                await asyncio.sleep(0.02)
    print(f"tidemark ready: query {url}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
