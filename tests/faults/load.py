"""Load for fault tests: the demo's year as commands, every outcome recorded, and points in the middle at which to inject faults.

Completeness is not assumed here: ``audit`` compares what was acknowledged with what the stores contain.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from deploy.demo.shop.expected_figures import ExpectedFigures, expected_figures
from deploy.demo.shop.source import RetailYear, retail_folder
from deploy.sending.batches import CommandMessage, command_message
from deploy.sending.outcomes import Outcome, Tally
from deploy.sending.sender import CommandSender
from tests.faults.cluster import Cluster

STEPS: Final = ("place", "pay", "ship", "deliver")


@cache
def year(orders: int) -> RetailYear:
    return RetailYear(orders)


@cache
def expected_of(orders: int) -> ExpectedFigures:
    return expected_figures(retail_folder(), orders)


@dataclass
class Load:
    """The outcomes received so far. ``sending`` ends when every command has its outcome."""

    total: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    sending: asyncio.Task[Tally] = field(init=False)

    @property
    def versions(self) -> dict[str, int]:
        """Stream of each accepted command → its latest version."""
        found: dict[str, int] = {}
        for outcome in self.outcomes.values():
            if outcome.accepted:
                found[outcome.stream] = max(outcome.version, found.get(outcome.stream, 0))
        return found

    def on_outcome(self, outcome: Outcome) -> None:
        if outcome.command_id in self.outcomes:
            self.repeated.append(outcome.command_id)
        self.outcomes[outcome.command_id] = outcome
        self._moved.set()

    async def reaches(self, share: float) -> None:
        """Return when this share of the commands has outcomes; fails if the load ends in an error before."""
        while len(self.outcomes) < share * self.total:
            if self.sending.done():
                self.sending.result()
            self._moved.clear()
            await asyncio.wait_for(self._moved.wait(), 120)

    async def finished(self) -> Tally:
        return await self.sending


def demo_commands(orders: int) -> Iterator[CommandMessage]:
    """Customers, products and baskets in turns, so that orders come before, among and after the entities that they reference."""
    chosen = year(orders)
    sources: list[Iterator[CommandMessage]] = [chosen.customers(), chosen.products(), chosen.baskets()]
    while sources:
        for each in list(sources):
            for _ in range(100):
                command = next(each, None)
                if command is None:
                    sources.remove(each)
                    break
                yield command


def demo_size(orders: int) -> int:
    chosen = year(orders)
    return chosen.customer_count + chosen.product_count + chosen.basket_count


def order_lifecycles(count: int) -> Iterator[CommandMessage]:
    """Orders that are placed, then all paid, then all shipped, then all delivered."""
    for each in STEPS:
        for number in range(count):
            yield step(each, f"life-{number}")


def step(what: str, order_id: str) -> CommandMessage:
    line = {"product_id": "p", "quantity": 1, "amount": 5}
    placing: dict[str, Any] = {"order_id": order_id, "customer_id": "c", "currency": "EUR", "lines": [line]}
    data: dict[str, Any] = {"place": placing, "pay": {"amount": 5}}.get(what, {})
    return command_message(f"orders.{what}-order", f"{what}-{order_id}", data, source="tests", subject=order_id)


@asynccontextmanager
async def loading(
    cluster: Cluster, commands: Iterable[CommandMessage], total: int, *, window: int = 400
) -> AsyncIterator[Load]:
    """The running load. A small window makes it last, so that faults can be injected in the middle."""
    load = Load(total)
    sender = CommandSender(
        cluster.servers.rabbitmq_url, window=window, resend_after_s=3, silence_timeout_s=90, name="faults"
    )
    load.sending = asyncio.create_task(sender.send(commands, load.on_outcome))
    try:
        yield load
    finally:
        load.sending.cancel()
        await asyncio.gather(load.sending, return_exceptions=True)
