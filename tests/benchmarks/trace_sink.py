"""A receiver of traces that keeps nothing: it takes what OTLP over HTTP sends, and counts the requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@dataclass(slots=True)
class Sink:
    url: str
    requests: int = 0
    size: int = 0
    """Bytes of all their bodies."""


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    found = Sink("")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                found.size += len(await reader.readexactly(int(fields[b"content-length"])))
                found.requests += 1
                writer.write(ANSWER)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    found.url = f"http://{host}:{port}"
    try:
        yield found
    finally:
        server.close()
