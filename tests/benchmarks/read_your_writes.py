"""``python -m tests.benchmarks.read_your_writes``: place an order over the bus, and read it at once from each of the three stores.

    order ──▶ outcome ──token, Prefer: wait=5──▶ three queries at the same moment ──▶ right at the first request, or not
                                                 news of each store's commit, heard here as well ──▶ the raw lag

Beside other orders that nobody reads. ``extra`` is from when both the query had been sent and its store's commit was told, to
the answer: what waiting costs beyond the lag itself; a plain query takes ``plain_query`` of that. One JSON document; on
servers of its own; bounded to three minutes.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

from deploy.sending.outcomes import percentile
from shared.messaging import topology
from tests.e2e.bus import encode, envelope
from tests.e2e.system import System, own_servers, running_system
from tests.shop import WITH_ORDERS

DEADLINE_S: Final = 180.0
DAY: Final = "2026-05-05"
NEXT_DAY: Final = "2026-05-06"
WARM_UP: Final = 50
PLAIN: Final = 200


def order(order_id: str) -> dict[str, Any]:
    lines = [
        {"product_id": f"p{number}", "name": f"Product {number}", "quantity": 1, "amount": 100} for number in range(5)
    ]
    return {
        "order_id": order_id,
        "customer_id": order_id,
        "currency": "EUR",
        "lines": lines,
        "placed_at": f"{DAY}T10:00:00Z",
    }


class Told:
    """When each store's commit of each stream was told."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, str], float] = {}

    @asynccontextmanager
    async def listening(self, system: System) -> Any:
        async def take(message: Any) -> None:
            now = time.perf_counter()
            data = json.loads(message.body)["data"]
            for stream, _ in data.get("streams", ()):
                self.at.setdefault((data["projection"], stream), now)

        queues = [await system.bus.listen(topology.CHANGES, topology.advanced_key(store)) for store in WITH_ORDERS]
        tags = [(queue, await queue.consume(take, no_ack=True)) for queue in queues]
        yield
        for queue, tag in tags:
            await queue.cancel(tag)


class Reads:
    """What came of the queries."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[str] = []
        self.asked: dict[tuple[str, str], float] = {}
        self.answered: dict[tuple[str, str], float] = {}

    async def read(self, system: System, order_id: str, outcome: dict[str, Any]) -> None:
        stream = outcome["stream"]
        headers = {"Tidemark-Consistency": f"{stream}@{outcome['version']}", "Prefer": "wait=5"}
        paths = {
            "summary": f"/orders/{order_id}",
            "analytics": f"/analytics/customers?from={DAY}&to={NEXT_DAY}",
            "search": f"/search/orders?q={order_id}",
        }

        async def ask(store: str) -> httpx.Response:
            self.asked[store, stream] = time.perf_counter()
            answer = await system.queries.get(paths[store], headers=headers)
            self.answered[store, stream] = time.perf_counter()
            return answer

        one, figures, found = await asyncio.gather(*map(ask, WITH_ORDERS))
        if [answer.status_code for answer in (one, figures, found)] != [200, 200, 200]:
            self.wrong.append(f"{order_id}: {[answer.text[:200] for answer in (one, figures, found)]}")
        elif one.json()["order_id"] != order_id or found.json()["items"][0]["order_id"] != order_id:
            self.wrong.append(f"{order_id}: another order")
        else:
            self.right += 1


async def load(system: System, rate: float) -> None:
    """Orders that nobody reads, in messages of up to ten, until cancelled."""
    number, began = 0, time.monotonic()
    while True:
        due = int((time.monotonic() - began) * rate) - number
        if due >= 10:
            batch = [envelope("orders.place-order", order(f"load-{number + each}")) for each in range(10)]
            await system.bus.send(encode(batch), content_type="application/cloudevents-batch+json")
            number += 10
        else:
            await asyncio.sleep(0.005)


async def measure(system: System, orders: int, rate: float, load_rate: float) -> dict[str, Any]:
    told, reads = Told(), Reads()

    async def place_and_read(order_id: str, reads: Reads) -> None:
        await reads.read(system, order_id, await system.bus.accepted("orders.place-order", order(order_id)))

    async with told.listening(system):
        loading = asyncio.create_task(load(system, load_rate)) if load_rate else None
        await asyncio.gather(*(place_and_read(f"warm-{number}", Reads()) for number in range(WARM_UP)))
        tasks = []
        began = time.perf_counter()
        for number in range(orders):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(place_and_read(f"own-{number}", reads)))
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - began
        plain = await _plain(system)
        await asyncio.sleep(0.5)
        if loading is not None:
            loading.cancel()
    waits, lags, extras = defaultdict(list), defaultdict(list), defaultdict(list)
    for key, asked in reads.asked.items():
        store = key[0]
        waits[store].append(reads.answered[key] - asked)
        if key in told.at:
            lags[store].append(max(0.0, told.at[key] - asked))
            extras[store].append(reads.answered[key] - max(asked, told.at[key]))
    return {
        "orders": orders,
        "right_at_the_first_request": reads.right,
        "wrong": reads.wrong[:5],
        "orders_per_second": {"read": round(orders / seconds, 1), "beside": load_rate},
        "plain_query_ms": plain,
        "wait_ms": {store: _milliseconds(waits[store]) for store in WITH_ORDERS},
        "lag_ms": {store: _milliseconds(lags[store]) for store in WITH_ORDERS},
        "extra_ms": {store: _milliseconds(extras[store]) for store in WITH_ORDERS},
    }


async def _plain(system: System) -> dict[str, float]:
    """A query without a token, one at a time, beside the same load."""
    times = []
    for number in range(PLAIN):
        began = time.perf_counter()
        await system.get(f"/orders/own-{number}")
        times.append(time.perf_counter() - began)
    return _milliseconds(times)


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    ranked = list(seconds)
    return {
        name: round((percentile(ranked, share) or 0.0) * 1000, 1)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


async def run(orders: int, rate: float, load_rate: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tidemark-") as folder, own_servers() as servers:
        async with asyncio.timeout(DEADLINE_S), running_system(servers, Path(folder) / "output.log") as system:
            return await measure(system, orders, rate, load_rate)


def main() -> int:
    parser = argparse.ArgumentParser(prog="read_your_writes", description=__doc__.partition("\n")[0])
    parser.add_argument("--orders", type=int, default=1000, help="that are placed and read")
    parser.add_argument("--rate", type=float, default=40.0, help="of them a second")
    parser.add_argument("--load", type=float, default=200.0, help="orders a second besides, which nobody reads")
    arguments = parser.parse_args()
    found = uvloop.run(run(arguments.orders, arguments.rate, arguments.load))
    print(json.dumps(found, indent=2))
    return 0 if found["right_at_the_first_request"] == arguments.orders else 1


if __name__ == "__main__":
    sys.exit(main())
