"""Orders that go on arriving while read models are rebuilt and switched: each sent, and read back from all three stores at once.

Every read carries the order's consistency token: what comes back must have the order in it, at the first request. The time from the
outcome to that answer is the live lag, as a user feels it.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from deploy.drills.rebuild.client import Client, ServiceError

CURRENCY: Final = "XTS"
"""ISO 4217's code for tests: nobody else's figures are touched."""
CUSTOMER: Final = "drill"
WAIT_S: Final = 20
AT_ONCE: Final = 40

HasIt = Callable[[Any], bool]


@dataclass(frozen=True)
class Trouble:
    """A request that did not come to what it must."""

    what: str
    why: str


@dataclass(frozen=True)
class Lag:
    at: float
    """``time.monotonic`` when the order's outcome came."""
    seconds: float


class LiveOrders:
    """``commands`` and ``queries`` are clients of the command service's ingress and of the query service."""

    def __init__(self, commands: Client, queries: Client, per_second: float) -> None:
        self._commands = commands
        self._queries = queries
        self._pause = 1 / per_second
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._day = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
        self.accepted = 0
        self.lags: dict[str, list[Lag]] = defaultdict(list)
        """By projection."""
        self.troubles: list[Trouble] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop; returns when every order has been read back."""
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

    async def all_counted(self) -> bool:
        """Whether analytics has exactly the orders that were accepted. Raises ServiceError."""
        answer = await self._queries.get("/analytics/revenue", self._today())
        total = answer.needed()["total"]
        return bool(total["orders"] == self.accepted and total["revenue"] == self.accepted * 250)

    def between(self, projection: str, began: float, ended: float) -> list[float]:
        """The lags of orders whose outcome came in this time, in seconds, the smallest first."""
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
        """The token of the accepted order."""
        data = {
            "order_id": order_id,
            "customer_id": CUSTOMER,
            "currency": CURRENCY,
            "lines": [{"product_id": "drill-product", "name": "Drill", "quantity": 1, "amount": 250}],
            "placed_at": self._day.isoformat(),
        }
        headers = {"Prefer": f"wait={WAIT_S}", "Idempotency-Key": f"place-{order_id}"}
        try:
            answer = await self._commands.post("/commands/orders.place-order", data, headers)
        except ServiceError as error:
            self.troubles.append(Trouble(f"place {order_id}", str(error)))
            return None
        if not answer.ok:
            self.troubles.append(Trouble(f"place {order_id}", str(answer)))
            return None
        outcome = answer.json()["data"]
        return f"{outcome['stream']}@{outcome['version']}"

    async def _read(
        self, projection: str, path: str, parameters: dict[str, str], token: str, accepted_at: float, has_it: HasIt
    ) -> None:
        headers = {"Tidemark-Consistency": token, "Prefer": f"wait={WAIT_S}"}
        try:
            answer = await self._queries.get(path, parameters, headers)
            seconds = time.monotonic() - accepted_at
            right = answer.ok and has_it(answer.json())
        except ServiceError as error:
            self.troubles.append(Trouble(f"{path} for {token}", str(error)))
            return
        if right:
            self.lags[projection].append(Lag(accepted_at, seconds))
        else:
            self.troubles.append(Trouble(f"{path} for {token}", str(answer)))

    def _today(self) -> dict[str, str]:
        day = self._day.replace(hour=0)
        return {
            "from": day.date().isoformat(),
            "to": (day + timedelta(days=1)).date().isoformat(),
            "granularity": "day",
            "currency": CURRENCY,
        }
