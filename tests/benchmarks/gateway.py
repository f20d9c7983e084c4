"""``python -m tests.benchmarks.gateway``: what the gateway adds to a GET, beside the same GET asked of the query service directly.

    one order ◀── query service ◀──────────────────── direct   ┐
                        ▲                                       ├ in turns, over keep-alive connections, at a fixed rate
                        └── HAProxy ◀── gateway, gateway_tls   ┘

Milliseconds from writing a request to having its whole answer; authentication is on. One JSON document; on servers of its own.
"""

import argparse
import asyncio
import gc
import json
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import psutil
import uvloop

from deploy.sending.outcomes import percentile
from tests.e2e.authenticated.secured import Secured, secured_system, subject
from tests.front_door import HOST, certificates, running_gateway

CONNECTIONS: Final = 8
"""Of each way; no more than that many requests of it at a time."""
WARM_UP: Final = 200
DEADLINE_S: Final = 300.0


class Way:
    """Keep-alive connections to one port."""

    def __init__(self, port: int, head: str, trusted: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._request = head.encode()
        self._trusted = trusted
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.seconds: list[float] = []

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trusted))

    async def ask(self) -> None:
        """Raises RuntimeError unless the answer is 200."""
        reader, writer = await self._free.get()
        began = time.perf_counter()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(length.partition(b":")[2]))
        self.seconds.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        self._free.put_nowait((reader, writer))


async def in_turns(ways: Sequence[Way], rate: float, count: int) -> float:
    """``count`` requests of each way, ``rate`` a second of all together; the seconds that this took."""
    began = time.perf_counter()
    async with asyncio.TaskGroup() as asking:
        for number in range(count * len(ways)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            asking.create_task(ways[number % len(ways)].ask())
    return time.perf_counter() - began


async def place_order(system: Secured, key: dict[str, str]) -> str:
    """The path of an order that the query service has."""
    order = uuid4().hex
    line = {"product_id": "p", "quantity": 1, "amount": 500}
    body = {"order_id": order, "customer_id": "c", "currency": "EUR", "lines": [line]}
    waiting = key | {"Prefer": "wait=30"}
    placed = await system.commands.post("/commands/orders.place-order", json=body, headers=waiting)
    own_write = {"Tidemark-Consistency": placed.headers["tidemark-consistency"]}
    found = await system.queries.get(f"/orders/{order}", headers=waiting | own_write)
    found.raise_for_status()
    return f"/orders/{order}"


async def measure(rate: float, seconds: float) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        system = await stack.enter_async_context(secured_system(folder))
        key = await system.headers(subject("bench"), "commands:orders.*", "queries:orders")
        path = await place_order(system, key)
        head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {key['Authorization']}\r\n\r\n"
        queries, commands = (client.base_url.netloc.decode() for client in (system.queries, system.commands))
        ways = {"direct": Way(system.queries.base_url.port or 0, head)}
        for name, tls in (("gateway", None), ("gateway_tls", certificates(folder))):
            log = folder / f"{name}.log"
            running = running_gateway(log, queries=queries, commands=commands, tls=tls, requests_per_key=1_000_000)
            gateway = await stack.enter_async_context(running)
            ways[name] = Way(gateway.port, head, gateway.trusted)
        for way in ways.values():
            await way.open()
        await in_turns(list(ways.values()), rate, WARM_UP)
        for way in ways.values():
            way.seconds.clear()
        gc.collect()
        gc.disable()
        before = psutil.cpu_times()
        count = round(rate * seconds / len(ways))
        took = await in_turns(list(ways.values()), rate, count)
        gc.enable()
        return report({name: way.seconds for name, way in ways.items()}, count * len(ways) / took, before)


def report(seconds: dict[str, list[float]], rate: float, before: Any) -> dict[str, Any]:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {
        name: {f"{share}_ms": round((percentile(each, at) or 0.0) * 1000, 3) for share, at in shares.items()}
        for name, each in seconds.items()
    }
    now = psutil.cpu_times()
    return {
        "gets_per_second": round(rate, 1),
        "gets_of_each": len(seconds["direct"]),
        **found,
        "added_ms": {
            name: {share: round(each[f"{share}_ms"] - found["direct"][f"{share}_ms"], 3) for share in ("p50", "p99")}
            for name, each in found.items()
            if name != "direct"
        },
        "machine": {
            "busy_cpu_s": round(now.user + now.system - before.user - before.system, 1),
            "idle_cpu_s": round(now.idle - before.idle, 1),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200, help="GETs a second of all ways together")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()

    async def bounded() -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_S + given.seconds):
            return await measure(given.rate, given.seconds)

    json.dump(uvloop.run(bounded()), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
