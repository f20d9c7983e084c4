"""The time of an order to its outcome, and until the summary has it: idle, and while ten dashboards are read as fast as they answer."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.sending.outcomes import percentile
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from shared.runtime.priority import lower
from tests.benchmarks.measuring import Costs, server_pids
from tests.e2e.system import System, running_system

RATE: Final = 20.0
SECONDS: Final = 10.0
ROUNDS: Final = 4
WARM_UP: Final = 400
NICE: Final = {"while_read": 0, "while_read_at_lower_priority": 10}
"""Values of ``TIDEMARK_QUERY_NICE`` of the query service that is read."""
READERS_NICE: Final = 19
READERS_DEADLINE_S: Final = 240.0
"""On a machine that is busy with other things, such readers, and a service of low priority that starts, hardly get on."""
ON_THE_WAY: Final = ("worker", "relay", "summary", "analytics", "search", "telemetry", "processes", "query")
POLL_S: Final = 0.002
SEEN: Final = "SELECT EXISTS (SELECT FROM positions WHERE stream = $1)"
DAYS: Final = 360
TODAY: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
YEAR: Final = f"from={TODAY - timedelta(days=DAYS):%Y-%m-%d}&to={TODAY + timedelta(days=2):%Y-%m-%d}"
DASHBOARDS: Final = (
    *(f"/analytics/revenue?{YEAR}&granularity={size}" for size in ("day", "day&currency=EUR")),
    *(f"/analytics/top-products?{YEAR}&by={measure}&limit=100" for measure in ("units", "revenue")),
    f"/analytics/customers?{YEAR}",
    *(f"/products/product-{number}/page" for number in range(3)),
    *("/search/products?category=Goods&sort=rating", "/orders?limit=50"),
)


async def order_latency(servers: Servers) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {"idle": [], **{state: [] for state in NICE}}
    answers, spent = dict.fromkeys(NICE, 0), {state: Counter[str]() for state in times}
    with tempfile.TemporaryDirectory() as folder:
        async with running_system(servers, Path(folder) / "output.log") as system, query_services(servers) as urls:
            await prepare(system)
            for _ in range(ROUNDS):
                for state in times:
                    costs = Costs(system.supervisor, ON_THE_WAY, server_pids(servers))
                    if state == "idle":
                        times[state] += await placed(system)
                    else:
                        async with readers(urls[state]) as counts:
                            times[state] += await placed(system)
                        answers[state] += counts["answers"]
                    spent[state].update({name: one.cpu_s for name, one in costs.spent().items()})
    seconds = SECONDS * ROUNDS
    report: dict[str, Any] = {
        "orders_a_second": RATE,
        "readers": f"{len(DASHBOARDS)} clients in a process and a session of their own, nice {READERS_NICE}: other machines",
        "TIDEMARK_QUERY_NICE": NICE,
        "answers_a_second": {state: round(count / seconds) for state, count in answers.items()},
        "cpu_a_second": {
            state: {name: round(one / seconds, 3) for name, one in found.items()} for state, found in spent.items()
        },
    }
    for place, name in enumerate(("to_outcome", "to_visible")):
        by_state = {state: [pair[place] for pair in pairs] for state, pairs in times.items()}
        figures = {state: {f"p{s}_ms": at(found, s) for s in (50, 99)} for state, found in by_state.items()}
        ratios = {
            state: {f"p{s}": round(figures[state][f"p{s}_ms"] / figures["idle"][f"p{s}_ms"], 2) for s in (50, 99)}
            for state in NICE
        }
        report[name] = figures | {"ratio": ratios}
    return report


@asynccontextmanager
async def query_services(servers: Servers) -> AsyncIterator[Mapping[str, str]]:
    """One for each priority; their URLs."""
    ports = {state: str(free_port()) for state in NICE}
    async with AsyncExitStack() as stack:
        for state, nice in NICE.items():
            supervisor = await stack.enter_async_context(Supervisor(output=None))
            chosen = {"TIDEMARK_QUERY_PORT": ports[state], "TIDEMARK_QUERY_NICE": str(nice)}
            programs = [program("query", servers, os.environ | chosen)]
            await supervisor.start(programs, ready_within=READERS_DEADLINE_S)
        yield {state: f"http://127.0.0.1:{port}" for state, port in ports.items()}


def at(seconds: Sequence[float], share: int) -> float:
    return round((percentile(list(seconds), share / 100) or 0.0) * 1000, 2)


async def prepare(system: System) -> None:
    """Some products and a year's orders, so that dashboards have something to show."""
    for number in range(10):
        fields = {"name": f"Product {number}", "category": "Goods", "price": 100 + number, "currency": "EUR"}
        await system.bus.accepted("catalog.create-product", {"product_id": f"product-{number}", **fields})
    for number in range(WARM_UP):
        await place(system, TODAY - timedelta(days=number % DAYS))
    await system.visible("/analytics/revenue", lambda found: found["total"]["orders"] == WARM_UP)
    await system.visible("/products/product-1/page", lambda page: page["related"])


async def place(system: System, placed_at: datetime) -> str:
    """The order's stream, once it has been accepted."""
    order_id = uuid4().hex
    lines = [{"product_id": f"product-{number}", "quantity": 1, "amount": 100 + number} for number in range(10)]
    order = {"order_id": order_id, "customer_id": f"customer-{order_id[:2]}", "currency": "EUR", "lines": lines}
    found = await system.bus.accepted("orders.place-order", order | {"placed_at": placed_at.isoformat()})
    return str(found["stream"])


async def placed(system: System) -> list[tuple[float, float]]:
    """Orders at RATE for SECONDS: the time of each to its outcome, and to being in the summary."""
    pool = await asyncpg.create_pool(
        system.servers.stores["summary"], server_settings={"search_path": "summary"}, min_size=8, max_size=8
    )

    async def one(delay: float) -> tuple[float, float]:
        await asyncio.sleep(delay)
        began = time.perf_counter()
        stream = await place(system, TODAY)
        outcome = time.perf_counter() - began
        async with asyncio.timeout(30), pool.acquire() as connection:
            while not await connection.fetchval(SEEN, stream):  # noqa: ASYNC110 (another process commits it)
                await asyncio.sleep(POLL_S)
        return outcome, time.perf_counter() - began

    try:
        return await asyncio.gather(*(one(number / RATE) for number in range(int(RATE * SECONDS))))
    finally:
        await pool.close()


@asynccontextmanager
async def readers(url: str) -> AsyncIterator[dict[str, Any]]:
    """Ten clients in a process of their own while inside; what they have read, afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.order_latency",
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    counts: dict[str, Any] = {}
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"reading\n"
        yield counts
        process.stdin.close()
        async with asyncio.timeout(READERS_DEADLINE_S):
            counts |= json.loads(await process.stdout.read())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def read_until_told(host: str, port: int) -> int:
    """Each dashboard by one client, again as soon as it has answered, until stdin is closed; the number of answers."""
    answers = 0
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)

    async def client(path: str) -> None:
        nonlocal answers
        reader, writer = await asyncio.open_connection(host, port)
        while not closed.done():
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            answers += 1
        writer.close()

    await asyncio.gather(*map(client, DASHBOARDS))
    return answers


def main() -> None:
    """The readers' process."""
    lower(READERS_NICE)
    host, port = sys.argv[1].removeprefix("http://").rstrip("/").split(":")
    print("reading", flush=True)
    print(json.dumps({"answers": asyncio.run(read_until_told(host, int(port)))}))


if __name__ == "__main__":
    main()
