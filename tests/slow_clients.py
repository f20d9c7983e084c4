"""Clients that hold connections and hardly use them: bodies a byte a second, and listeners to whom nothing is sent.

``python -m tests.slow_clients`` holds as many as it is told to until its stdin ends, then prints what they were answered.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from contextlib import suppress
from typing import Final

import uvloop

from shared import descriptors

AT_ONCE: Final = 50
"""Connections that are being made at the same time."""
BYTE_EVERY_S: Final = 1.0
LISTEN: Final = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowClients:
    """Whoever is refused, or cut, comes again at once, so that there are always as many."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._held = 0
        self.answers: Counter[int] = Counter()
        """By status; 0: the connection ended without one."""

    async def hold(self, *, bodies: int, request: str, listeners: int) -> None:
        """Return when all are there. ``request``: a head, without the length of its body."""
        slow = f"{request}\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        for text, count, trickles in ((slow, bodies, True), (LISTEN, listeners, False)):
            self._tasks += [asyncio.create_task(self._stay(text, trickles)) for _ in range(count)]
        while self._held < bodies + listeners:  # noqa: ASYNC110 - one byte after the other
            await asyncio.sleep(0.05)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stay(self, text: str, trickles: bool) -> None:
        while True:
            async with self._slots:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(text.encode())
                if not trickles:
                    self.answers[await _status(reader)] += 1
            self._held += 1
            try:
                await (self._trickle(reader, writer) if trickles else _until_closed(reader))
            finally:
                self._held -= 1
                writer.transport.abort()

    async def _trickle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered = asyncio.create_task(_status(reader))
        try:
            while not answered.done():
                writer.write(b" ")
                await asyncio.wait({answered}, timeout=BYTE_EVERY_S)
            self.answers[answered.result()] += 1
        finally:
            answered.cancel()


async def _status(reader: asyncio.StreamReader) -> int:
    with suppress(ConnectionError):
        words = (await reader.readline()).split()
        return int(words[1]) if words else 0
    return 0


async def _until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(4096):
            pass


async def main(arguments: argparse.Namespace) -> None:
    clients = SlowClients(arguments.port)
    await clients.hold(bodies=arguments.bodies, request=arguments.request, listeners=arguments.listeners)
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(clients.answers))
    await clients.leave()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--bodies", type=int, default=0)
    parser.add_argument("--request", default="")
    parser.add_argument("--listeners", type=int, default=0)
    descriptors.raise_limit()
    uvloop.run(main(parser.parse_args()))
