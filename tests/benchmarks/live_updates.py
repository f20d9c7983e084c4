"""``python -m tests.benchmarks.live_updates``: idle readers of ``/events`` on one query service: memory a reader, latency of an update.

    news ──▶ [changes] ──▶ query service ──▶ 2,000 connections, read here

``to_all``: every reader listens to everything and gets every update; latency from publishing the news to a reader having it, over all
readers. ``to_one``: each listens to a stream of his own. The readers share the machine with the service. One JSON document; on
servers of its own; bounded to two minutes.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import psutil
import uvloop

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.run.topology import declare
from deploy.sending.outcomes import percentile
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.messages.changes import ADVANCED, Advanced, AdvancedMessage
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.runtime import descriptors
from tests.e2e.system import own_servers

DEADLINE_S: Final = 120.0
AT_ONCE: Final = 50
"""Connections that are being made at the same time."""
SETTLE_S: Final = 2.0


class Reader:
    """One connection; notes when it got each stream's update."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.got: dict[str, float] = {}
        self.ready = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, port: int, query: str) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer.write(f"GET /events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._reading = asyncio.create_task(self._read(reader))
        await self.ready.wait()

    def close(self) -> None:
        if self._writer is not None and self._reading is not None:
            self._reading.cancel()
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            if line.startswith(b"event: ready"):
                self.ready.set()
            elif line.startswith(b"data: {") and b'"stream"' in line:
                self.got[json.loads(line[6:])["stream"]] = time.perf_counter()


class Bench:
    def __init__(self, port: int, pid: int, publisher: Publisher) -> None:
        self._port = port
        self._process = psutil.Process(pid)
        self._publisher = publisher

    async def run(self, name: str, count: int, updates: int) -> dict[str, Any]:
        """``updates`` to each of so many readers, one after the other."""
        own = name == "to_one"
        readers = [Reader(f"orders/{name}-{number}") for number in range(count)]
        before = self._rss()
        slots = asyncio.Semaphore(AT_ONCE)

        async def opened(reader: Reader) -> None:
            async with slots:
                await reader.open(self._port, f"?stream={reader.own}" if own else "")

        began = time.perf_counter()
        await asyncio.gather(*map(opened, readers))
        connected = time.perf_counter() - began
        await asyncio.sleep(SETTLE_S)
        idle, cpu = self._rss(), self._cpu()
        await asyncio.sleep(SETTLE_S)
        idle_cpu = (self._cpu() - cpu) / SETTLE_S
        latencies: list[float] = []
        for number in range(updates):
            stream = readers[number].own if own else f"orders/{name}-all-{number}"
            told = readers[number : number + 1] if own else readers
            latencies += await self._told(stream, told)
        for reader in readers:
            reader.close()
        return {
            "readers": count,
            "connected_in_seconds": round(connected, 2),
            "kib_a_reader": round((idle - before) / count / 1024, 1),
            "idle_cpu_percent": round(idle_cpu * 100, 1),
            "updates": updates,
            "received": len(latencies),
            "latency_ms": {
                each: round((percentile(latencies, share) or 0.0) * 1000, 1)
                for each, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
            },
        }

    async def hears(self) -> None:
        """Return when news reach those who listen."""
        reader = Reader("")
        await reader.open(self._port, "")
        while not reader.got:
            await self._publish("orders/warm-up")
            await asyncio.sleep(0.1)
        reader.close()

    async def _told(self, stream: str, readers: Sequence[Reader]) -> list[float]:
        began = time.perf_counter()
        await self._publish(stream)
        while True:
            if all(stream in reader.got for reader in readers):
                return [reader.got[stream] - began for reader in readers]
            await asyncio.sleep(0.002)

    async def _publish(self, stream: str) -> None:
        news = Advanced(projection="summary", streams=((stream, 1),))
        envelope = AdvancedMessage(id="bench", source="tests", type=ADVANCED, time=datetime.now(UTC), data=news)
        body = envelope.model_dump_json().encode()
        key = topology.advanced_key("summary")
        message = Outgoing(topology.CHANGES, key, body, CONTENT_TYPE, mandatory=False, durable=False)
        await self._publisher.publish(message)

    def _rss(self) -> int:
        return int(self._process.memory_info().rss)

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@asynccontextmanager
async def running(servers: Servers) -> AsyncIterator[Bench]:
    await declare(servers.rabbitmq_url, 4)
    port = free_port()
    publisher = Publisher(servers.rabbitmq_url, "bench")
    async with Supervisor(output=None) as supervisor:
        await supervisor.start([program("query", servers, os.environ | {"TIDEMARK_QUERY_PORT": str(port)})])
        try:
            yield Bench(port, supervisor.pid("query"), publisher)
        finally:
            await publisher.close()


async def measure(count: int, updates: int) -> dict[str, Any]:
    with own_servers() as servers:
        async with asyncio.timeout(DEADLINE_S), running(servers) as bench:
            await bench.hears()
            return {name: await bench.run(name, count, updates) for name in ("to_all", "to_one")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="live_updates", description=__doc__.partition("\n")[0])
    parser.add_argument("--readers", type=int, default=2000)
    parser.add_argument("--updates", type=int, default=50)
    arguments = parser.parse_args()
    descriptors.raise_limit()
    print(json.dumps(uvloop.run(measure(arguments.readers, arguments.updates)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
