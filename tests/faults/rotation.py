"""Clients with credentials that are rotated: orders and queries at a steady rate over HTTP and AMQP, and every error that they see."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import httpx

from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher

PLACE = "orders.place-order"
ONE_S = 1.0
CUSTOMERS = 50
REVENUE = "/analytics/revenue?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&granularity=hour"


@dataclass
class Clients:
    """``key`` and ``token`` are the valid credentials now; ``publisher`` is the service ``name`` on the bus."""

    commands: httpx.AsyncClient
    queries: httpx.AsyncClient
    key: str
    token: Callable[[], str]
    publisher: Publisher
    name: str
    sent: list[str] = field(default_factory=list)
    """The ids of all orders; each is its command's id, too."""
    errors: list[str] = field(default_factory=list)
    open: set[asyncio.Future[None]] = field(default_factory=set)
    """What was begun and has not ended."""
    took: list[float] = field(default_factory=list)
    """Seconds that each request, or confirmed message, since the last ``rest`` took."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """50 orders a second, and 10 queries, until the end of the block; then all that were begun are finished."""
        loads = [
            (20, lambda: self._place(self.key)),
            (20, lambda: self._place(self.token())),
            (10, self._publish),
            (5, lambda: self._read(self.key)),
            (5, lambda: self._read(self.token())),
        ]
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(self._at_rate(rate, step, stopping)) for rate, step in loads]
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)

    async def settled(self) -> None:
        """Return when everything that was begun until now has ended: what it was sent with is used no more."""
        if before := set(self.open):
            await asyncio.wait(before)

    def rest(self) -> tuple[int, float]:
        """How many requests there have been since the last call, and the seconds that the slowest took."""
        took, self.took = self.took, []
        return len(took), max(took, default=0.0)

    async def ask(self, client: httpx.AsyncClient, method: str, path: str, credential: str, **more: Any) -> Any:
        """The response; a failure, 5xx, 401 and 403 are errors."""
        headers = {"Authorization": f"Bearer {credential}"} | more.pop("headers", {})
        began = time.monotonic()
        try:
            response = await client.request(method, path, headers=headers, **more)
        except httpx.HTTPError as error:
            self.errors.append(f"{method} {path}: {error!r}")
            return None
        finally:
            self.took.append(time.monotonic() - began)
        if response.status_code >= 500 or response.status_code in (401, 403):
            self.errors.append(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response

    async def place(self, credential: str) -> str:
        order = self._order()
        headers = {"Idempotency-Key": order["order_id"], "Prefer": "wait=10"}
        response = await self.ask(self.commands, "POST", f"/commands/{PLACE}", credential, json=order, headers=headers)
        if response is not None and response.status_code not in (200, 202):
            self.errors.append(f"an order: {response.status_code} {response.text[:300]}")
        return str(order["order_id"])

    async def _place(self, credential: str) -> None:
        await self.place(credential)

    async def _read(self, credential: str) -> None:
        if self.sent:
            paths = (f"/orders/{self.sent[len(self.sent) // 2]}", "/search/orders?q=rotated", REVENUE)
            response = await self.ask(self.queries, "GET", paths[len(self.took) % len(paths)], credential)
            if response is not None and response.status_code not in (200, 404):
                self.errors.append(f"a query: {response.status_code} {response.text[:300]}")

    async def _publish(self) -> None:
        """Until it is confirmed: over a connection that the broker has closed nothing is, and it is published again."""
        order = self._order()
        id_ = order["order_id"]
        body = json.dumps({"specversion": "1.0", "id": id_, "source": self.name, "type": PLACE, "data": order}).encode()
        began = time.monotonic()
        try:
            async with asyncio.timeout(60):
                message = Outgoing(topology.COMMANDS, PLACE, body, CONTENT_TYPE, correlation_id=id_)
                await self.publisher.publish_all([message], sleep=asyncio.sleep)
        except Exception as error:
            self.errors.append(f"a message: {error!r}")
        self.took.append(time.monotonic() - began)

    def _order(self) -> dict[str, Any]:
        id_ = uuid4().hex
        self.sent.append(id_)
        line = {"product_id": "p-rotated", "name": "rotated", "quantity": 1, "amount": 100}
        return {"order_id": id_, "customer_id": f"c-{len(self.sent) % CUSTOMERS}", "currency": "EUR", "lines": [line]}

    async def _at_rate(self, rate: int, step: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
        """``rate`` steps a second, whether or not those before have ended; returns when all have."""
        began = time.monotonic()
        for number in count():
            await asyncio.sleep(max(0.0, began + number * ONE_S / rate - time.monotonic()))
            if stopping.is_set():
                break
            task = asyncio.ensure_future(step())
            self.open.add(task)
            task.add_done_callback(self.open.discard)
        await self.settled()
