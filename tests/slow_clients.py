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

from shared.runtime import descriptors

AT_ONCE: Final = 50
"""Connections that are being made at the same time."""
BYTE_EVERY_S: Final = 1.0
LISTEN: Final = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"


class SlowClients:
    """Whoever is refused, or cut, comes again at once, so that there are always as many."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []
        self._there: list[asyncio.Event] = []
        self.answers: Counter[int] = Counter()
        """By status; 0: the connection ended without one."""

    async def hold(self, *, bodies: int, request: str, listeners: int) -> None:
        """Return when each has been there. ``request``: a head, without the length of its body."""
        slow = f"{request}\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        for text, count, trickles in ((slow, bodies, True), (LISTEN, listeners, False)):
            there = [asyncio.Event() for _ in range(count)]
            self._there += there
            self._tasks += [asyncio.create_task(self._stay(text, trickles, each)) for each in there]
        await asyncio.gather(*(there.wait() for there in self._there))

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stay(self, text: str, trickles: bool, there: asyncio.Event) -> None:
        while True:
            async with self._slots:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(text.encode())
                if not trickles:
                    self.answers[await _status(reader)] += 1
            there.set()
            try:
                await (self._trickle(reader, writer) if trickles else _until_closed(reader))
            finally:
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
