"""A TCP proxy between a client and its server, for tests: a bad network, in one or both directions, and the same again for one seed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit


@dataclass(slots=True)
class Weather:
    """What happens on the way; the defaults are a perfect network. May be changed at any time."""

    random: Random = field(default_factory=lambda: Random(0))
    delay_s: float = 0.0
    """Every piece waits up to this long."""
    slice_bytes: int = 0
    """Pieces have 1 to this many bytes; 0: as they come."""
    reset_after_bytes: int = 0
    """A connection is reset after 1 to this many bytes, whatever frame that is in the middle of; 0: never."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self.random.randint(1, self.slice_bytes) if self.slice_bytes else len(data)
            yield data[:size]
            data = data[size:]


class Proxy:
    """``url`` leads through the proxy to the server of the url it was made for."""

    def __init__(self, url: str, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self.resets = 0
        """How many connections the weather has reset."""
        self._parts = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_down = False
        self._requests_pass, self._answers_pass = asyncio.Event(), asyncio.Event()
        self.release()
        self.asked = asyncio.Event()
        """Set when a request has been passed on while answers are withheld."""

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{user}{at}127.0.0.1:{port}").geturl()

    def withhold_answers(self) -> None:
        """Requests go through and nothing comes back."""
        self._answers_pass.clear()
        self.asked.clear()

    def withhold_requests(self) -> None:
        """The server's words come through, the client's do not."""
        self._requests_pass.clear()

    def black_hole(self) -> None:
        """Connections stay open and nothing passes either way."""
        self.withhold_requests()
        self.withhold_answers()

    def release(self) -> None:
        """What was withheld passes, late, as it would after a partition."""
        self._requests_pass.set()
        self._answers_pass.set()

    def cut(self) -> None:
        """Break every connection; what was withheld is lost. New connections work again."""
        for writer in self._writers:
            writer.transport.abort()
        self.release()

    def down(self) -> None:
        """Break every connection, and refuse new ones until it is ``up`` again."""
        self._is_down = True
        self.cut()

    def up(self) -> None:
        self._is_down = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.cut()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        if self._is_down:
            client_writer.transport.abort()
            return
        try:
            reader, writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            client_writer.transport.abort()
            return
        self._writers |= {client_writer, writer}
        requests = asyncio.create_task(self._pump(client_reader, writer, self._requests_pass))
        answers = asyncio.create_task(self._pump(reader, client_writer, self._answers_pass))
        try:
            await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (client_writer, writer):
                each.transport.abort()
                self._writers.discard(each)
            for task in (requests, answers):
                task.cancel()
            await asyncio.gather(requests, answers, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        """Until either side is gone, or the weather resets the connection."""
        weather = self.weather
        passed = 0
        limit = weather.random.randint(1, weather.reset_after_bytes) if weather.reset_after_bytes else 0
        while data := await reader.read(65536):
            for piece in weather.pieces(data):
                await passes.wait()
                if weather.delay_s:
                    await asyncio.sleep(weather.random.uniform(0, weather.delay_s))
                if weather.reset_after_bytes and limit and passed + len(piece) >= limit:
                    writer.write(piece[: limit - passed])
                    self.resets += 1
                    await asyncio.sleep(0)
                    return
                writer.write(piece)
                await writer.drain()
                passed += len(piece)
                if passes is self._requests_pass and not self._answers_pass.is_set():
                    self.asked.set()
