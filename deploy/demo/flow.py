"""One demo run on a running system: sends the year's commands, waits until every store has applied them, compares with the source.

It starts and stops nothing, so it also works on a system whose processes are killed meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from deploy.demo.catching_up import read_by, wait_until_applied
from deploy.demo.comparison import compare
from deploy.demo.display import Display
from deploy.demo.expected_figures import expected_figures
from deploy.demo.read_stores import ReadStores, open_read_stores
from deploy.demo.report import Report
from deploy.demo.source import RetailYear, retail_folder
from deploy.demo.store_figures import store_figures
from deploy.run.resource_usage import resource_usages
from deploy.sending.batches import CommandMessage
from deploy.sending.outcomes import Outcome
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers

CATCH_UP_TIMEOUT_S: Final = 120.0


class OutcomeRecorder:
    """Records when the first order was sent, when the last outcome was received, and which commands were accepted."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._began_at = datetime.now(UTC)
        self.decided_before = 0
        """Number of outcomes that were decided in an earlier run of the same commands."""
        self.first_order_at = 0.0
        self.last_outcome_at = 0.0
        self.versions: dict[str, int] = {}
        """Stream of each accepted command → the stream's version after it, in the order of the outcomes."""

    def recording_start(self, orders: Iterator[CommandMessage]) -> Iterator[CommandMessage]:
        self.first_order_at = time.monotonic()
        yield from orders

    def on_outcome(self, outcome: Outcome) -> None:
        self.last_outcome_at = time.monotonic()
        if outcome.accepted:
            self.versions[outcome.stream] = outcome.version
        if outcome.decided_at is not None and outcome.decided_at < self._began_at:
            self.decided_before += 1
        self._display.advance("outcomes", 1)


async def flow(
    servers: Servers, query_url: str, orders: int | None, display: Display, pids: Callable[[], Mapping[str, int]]
) -> Report:
    """The report of a run with the first ``orders`` baskets (None: all). ``pids``: the processes whose resource usage it includes.

    Raises UnansweredCommandsError, NotCaughtUpError, SourceError.
    """
    display.print_line("reading a year of retail data")
    year = await asyncio.to_thread(RetailYear, orders)
    expected = await asyncio.to_thread(expected_figures, retail_folder(), orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.print_line(
        f"sending {total:,} commands: {year.customer_count:,} customers, {year.product_count:,} products, "
        f"{year.basket_count:,} baskets"
    )
    display.begin("outcomes", total)
    recorder = OutcomeRecorder(display)
    sender = CommandSender(servers.rabbitmq_url, name="demo")
    tally = await sender.send(_commands(year, recorder), recorder.on_outcome)
    async with open_read_stores(servers, query_url) as stores:
        for store in stores.all:
            display.begin(store.name, len(read_by(store.name, recorder.versions)))
        visible = await wait_until_applied(
            stores.all, recorder.versions, display.advance, no_progress_timeout_s=CATCH_UP_TIMEOUT_S
        )
        freshness = (await stores.query.get("/freshness"))["projections"]
        found = await store_figures(stores)
        others = await _streams_of_others(stores, recorder.versions)
    return Report(
        sent=tally.sent,
        resent=tally.resent,
        decided_before=recorder.decided_before,
        accepted=tally.accepted,
        rejected=dict(tally.rejected),
        examples=tally.examples,
        refused_by_source=expected.refused,
        baskets=year.basket_count,
        seconds=max(recorder.last_outcome_at, *visible.values()) - recorder.first_order_at,
        lag_seconds={name: max(0.0, at - recorder.last_outcome_at) for name, at in visible.items()},
        outcome_seconds={"p50": tally.latency(0.5), "p99": tally.latency(0.99)},
        freshness=freshness,
        lines=compare(expected.figures, found),
        streams_of_others=others,
        costs=resource_usages(pids()),
    )


def _commands(year: RetailYear, recorder: OutcomeRecorder) -> Iterator[CommandMessage]:
    """Customers and products before the orders that reference them, for readability only: the result does not depend on the order."""
    yield from year.customers()
    yield from year.products()
    yield from recorder.recording_start(year.baskets())


async def _streams_of_others(stores: ReadStores, ours: Mapping[str, int]) -> dict[str, Any]:
    return {store.name: await store.stream_count() - len(read_by(store.name, ours)) for store in stores.all}
