"""A TCP proxy between a client and its server, for tests: it can withhold answers and break every connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Proxy:
    """``url`` leads through the proxy to the server of the url it was made for."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self.asked = asyncio.Event()
        """Set when a request has been passed on while answers are withheld."""

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    def withhold_answers(self) -> None:
        self._answers.clear()
        self.asked.clear()

    def cut(self) -> None:
        """Break every connection; what was withheld is lost. New connections work again."""
        for writer in self._writers:
            writer.transport.abort()
        self._answers.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.cut()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._writers |= {client_writer, writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._requests(client_reader, writer), self._replies(reader, client_writer))
        for each in (client_writer, writer):
            each.transport.abort()
            self._writers.discard(each)

    async def _requests(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while request := await client.read(65536):
            server.write(request)
            await server.drain()
            if not self._answers.is_set():
                self.asked.set()
        server.transport.abort()

    async def _replies(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while reply := await server.read(65536):
            await self._answers.wait()
            client.write(reply)
            await client.drain()
        client.transport.abort()
