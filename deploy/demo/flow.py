"""One demo run over a system that is up: send the year, wait until it is everywhere, hold it against the source.

Starts and stops nothing, so that it runs as well over a system that somebody kills in pieces meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from deploy.demo.catching_up import wait_until_applied
from deploy.demo.comparison import compare
from deploy.demo.display import Display
from deploy.demo.read_stores import ReadStores, open_read_stores
from deploy.demo.report import Report
from deploy.demo.source import RetailYear, retail_folder
from deploy.demo.store_figures import store_figures
from deploy.demo.truth import truth
from deploy.run.resource_usage import resource_usages
from deploy.sending.batches import CommandMessage
from deploy.sending.outcomes import Outcome
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers

CATCH_UP_PATIENCE_S: Final = 120.0


class Sending:
    """Remembers when the first order went out, when the last outcome came, and what was accepted."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._began = datetime.now(UTC)
        self.decided_before = 0
        """Outcomes of an earlier run: the same commands, the same answers."""
        self.first_order_at = 0.0
        self.last_outcome_at = 0.0
        self.versions: dict[str, int] = {}
        """Each accepted command's stream and the version it left it at, in the order of the outcomes."""

    def watched(self, orders: Iterator[CommandMessage]) -> Iterator[CommandMessage]:
        self.first_order_at = time.monotonic()
        yield from orders

    def on_outcome(self, outcome: Outcome) -> None:
        self.last_outcome_at = time.monotonic()
        if outcome.accepted:
            self.versions[outcome.stream] = outcome.version
        if outcome.decided_at is not None and outcome.decided_at < self._began:
            self.decided_before += 1
        self._display.advance("outcomes", 1)


async def flow(
    servers: Servers, query_url: str, orders: int | None, display: Display, pids: Callable[[], Mapping[str, int]]
) -> Report:
    """The report of a run over the first ``orders`` baskets (all with None); ``pids`` says whose costs it shows.

    Raises UnansweredCommandsError, NotCaughtUpError, SourceError.
    """
    display.say("reading a year of retail data")
    year = await asyncio.to_thread(RetailYear, orders)
    expected = await asyncio.to_thread(truth, retail_folder(), orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.say(
        f"sending {total:,} commands: {year.customer_count:,} customers, {year.product_count:,} products, "
        f"{year.basket_count:,} baskets"
    )
    display.begin("outcomes", total)
    sending = Sending(display)
    sender = CommandSender(servers.rabbitmq_url, name="demo")
    tally = await sender.send(_commands(year, sending), sending.on_outcome)
    async with open_read_stores(servers, query_url) as stores:
        for store in stores.all:
            display.begin(store.name, len(sending.versions))
        visible = await wait_until_applied(
            stores.all, sending.versions, display.advance, patience_s=CATCH_UP_PATIENCE_S
        )
        freshness = (await stores.query.get("/freshness"))["projections"]
        found = await store_figures(stores)
        others = await _streams_of_others(stores, len(sending.versions))
    return Report(
        sent=tally.sent,
        resent=tally.resent,
        decided_before=sending.decided_before,
        accepted=tally.accepted,
        rejected=dict(tally.rejected),
        examples=tally.examples,
        refused_by_source=expected.refused,
        baskets=year.basket_count,
        seconds=max(sending.last_outcome_at, *visible.values()) - sending.first_order_at,
        lag_seconds={name: max(0.0, at - sending.last_outcome_at) for name, at in visible.items()},
        outcome_seconds={"p50": tally.latency(0.5), "p99": tally.latency(0.99)},
        freshness=freshness,
        lines=compare(expected.figures, found),
        streams_of_others=others,
        costs=resource_usages(pids()),
    )


def _commands(year: RetailYear, sending: Sending) -> Iterator[CommandMessage]:
    """What orders refer to goes first, because it makes the nicer reading; it would come out the same in any order."""
    yield from year.customers()
    yield from year.products()
    yield from sending.watched(year.baskets())


async def _streams_of_others(stores: ReadStores, ours: int) -> dict[str, Any]:
    counts = [await store.stream_count() for store in stores.all]
    return {store.name: count - ours for store, count in zip(stores.all, counts, strict=True)}
