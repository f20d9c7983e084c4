"""The sender over HTTP: a process of its own that posts commands from a file, one a request, over a few open connections.

``python -m tests.benchmarks.posting URL FILE FIRST COUNT`` takes an API key from POSTING_API_KEY in the environment, if there is one. Each
connection has one request on its way at a time. Prints when each was sent, as JSON, like ``tests.benchmarks.sending``.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import uvloop

CONNECTIONS: Final = 32
DEADLINE_S: Final = 60.0
API_KEY: Final = "POSTING_API_KEY"


class RefusedError(RuntimeError):
    """A command was not taken."""


def request_of(body: bytes, host: str, key: str) -> bytes:
    """The HTTP request for a command that the file has as an envelope."""
    command: dict[str, Any] = json.loads(body)
    data = json.dumps(command["data"]).encode()
    head = [
        f"POST /commands/{command['type']} HTTP/1.1",
        f"Host: {host}",
        f"Idempotency-Key: {command['id']}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *([f"Authorization: Bearer {key}"] if key else []),
    ]
    return "\r\n".join((*head, "", "")).encode() + data


async def post_all(host: str, port: int, requests: Iterator[bytes], published: list[float]) -> None:
    """Post until there is nothing left, over one connection. Raises RefusedError."""
    reader, writer = await asyncio.open_connection(host, port)
    for request in requests:
        published.append(time.monotonic())
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        answer = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        if not head.startswith(b"HTTP/1.1 202 "):
            raise RefusedError(f"{head!r} {answer!r}")
    writer.close()


async def main(url: str, file: Path, first: int, count: int) -> None:
    parts = urlsplit(url)
    host, port, key = str(parts.hostname), int(parts.port or 80), os.environ.get(API_KEY, "")
    with file.open("rb") as lines:
        requests = [request_of(line, parts.netloc, key) for line in itertools.islice(lines, first, first + count)]
    published: list[float] = []
    waiting, cpu = iter(requests), time.process_time()
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as posting:
        for _ in range(CONNECTIONS):
            posting.create_task(post_all(host, port, waiting, published))
    cpu = time.process_time() - cpu
    print(json.dumps({"published": published, "confirmed": time.monotonic(), "cpu_s": round(cpu, 2)}))


if __name__ == "__main__":
    address, path, begin, number = sys.argv[1:]
    uvloop.run(main(address, Path(path), int(begin), int(number)))
