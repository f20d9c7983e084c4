"""Orders that are sent while read models are rebuilt and switched; each is read back from all three stores immediately.

Every read carries the order's consistency token, so the first response must contain the order. The time from the
outcome to that response is the live lag, as a user experiences it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.drills.rebuild.client import Client, ServiceError

CURRENCY: Final = "CHF"
"""One that the demo's baskets do not have, so that their figures are not changed."""
CUSTOMER: Final = "drill"
PREFER_WAIT_S: Final = 20
MAX_CONCURRENT_ORDERS: Final = 40

HasOrder = Callable[[Any], bool]


@dataclass(frozen=True)
class Failure:
    """A request without the required result."""

    what: str
    why: str


@dataclass(frozen=True)
class Lag:
    at: float
    """``time.monotonic`` when the order's outcome was received."""
    seconds: float


class LiveOrders:
    """Sends orders through ``commands`` (the HTTP ingress) and reads them back through ``queries`` (the query service)."""

    def __init__(self, commands: Client, queries: Client, per_second: float) -> None:
        self._commands = commands
        self._queries = queries
        self._pause = 1 / per_second
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_ORDERS)
        self._day = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        self.accepted = 0
        self.lags: dict[str, list[Lag]] = defaultdict(list)
        """By projection."""
        self.failures: list[Failure] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Send orders until ``stopping`` is set; returns when every order has been read back."""
        number = 0
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                await self._slots.acquire()
                number += 1
                group.create_task(self._order(f"drill-{number}"))
                try:
                    async with asyncio.timeout(self._pause):
                        await stopping.wait()
                except TimeoutError:
                    continue

    async def counted_exactly(self) -> bool:
        """Whether analytics counts exactly the accepted orders. Raises ServiceError."""
        response = await self._queries.get("/analytics/revenue", self._today())
        total = response.json_or_raise()["total"]
        return bool(total["orders"] == self.accepted and total["revenue"] == self.accepted * 250)

    def lags_between(self, projection: str, began: float, ended: float) -> list[float]:
        """The lags, in seconds and ascending, of orders whose outcome was received between ``began`` and ``ended``."""
        return sorted(lag.seconds for lag in self.lags[projection] if began <= lag.at <= ended)

    async def _order(self, order_id: str) -> None:
        try:
            token = await self._place(order_id)
            if token is not None:
                self.accepted += 1
                accepted_at = time.monotonic()
                await asyncio.gather(
                    self._read(
                        "summary", f"/orders/{order_id}", {}, token, accepted_at, lambda found: found["total"] == 250
                    ),
                    self._read(
                        "search",
                        "/search/orders",
                        {"q": order_id},
                        token,
                        accepted_at,
                        lambda found: any(item["order_id"] == order_id for item in found["items"]),
                    ),
                    self._read(
                        "analytics",
                        "/analytics/revenue",
                        self._today(),
                        token,
                        accepted_at,
                        lambda found: found["total"]["orders"] > 0,
                    ),
                )
        finally:
            self._slots.release()

    async def _place(self, order_id: str) -> str | None:
        """The consistency token of the order; None, with a recorded failure, if it was not accepted."""
        data = {
            "order_id": order_id,
            "customer_id": CUSTOMER,
            "currency": CURRENCY,
            "lines": [{"product_id": "drill-product", "name": "Drill", "quantity": 1, "amount": 250}],
            "placed_at": self._day.isoformat(),
        }
        headers = {"Prefer": f"wait={PREFER_WAIT_S}", "Idempotency-Key": f"place-{order_id}"}
        try:
            response = await self._commands.post("/commands/orders.place-order", data, headers)
        except ServiceError as error:
            self.failures.append(Failure(f"place {order_id}", str(error)))
            return None
        if not response.ok:
            self.failures.append(Failure(f"place {order_id}", str(response)))
            return None
        outcome = response.json()["data"]
        return f"{outcome['stream']}@{outcome['version']}"

    async def _read(
        self, projection: str, path: str, parameters: dict[str, str], token: str, accepted_at: float, has_it: HasOrder
    ) -> None:
        headers = {"Tidemark-Consistency": token, "Prefer": f"wait={PREFER_WAIT_S}"}
        try:
            response = await self._queries.get(path, parameters, headers)
            seconds = time.monotonic() - accepted_at
            right = response.ok and has_it(response.json())
        except ServiceError as error:
            self.failures.append(Failure(f"{path} for {token}", str(error)))
            return
        if right:
            self.lags[projection].append(Lag(accepted_at, seconds))
        else:
            self.failures.append(Failure(f"{path} for {token}", str(response)))

    def _today(self) -> dict[str, str]:
        day = self._day.replace(hour=0)
        return {
            "from": day.date().isoformat(),
            "to": (day + timedelta(days=1)).date().isoformat(),
            "granularity": "day",
            "currency": CURRENCY,
        }
