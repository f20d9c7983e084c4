"""One demo run on a running system: sends the year's commands, waits until every store has applied them, compares with the source.

It starts and stops nothing, so it also works on a system whose processes are killed meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from deploy.demo.catching_up import CATCH_UP_TIMEOUT_S, read_by, wait_until_applied
from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.read_stores import ReadStores, open_read_stores
from deploy.demo.shop.comparison import compare
from deploy.demo.shop.expected_figures import expected_figures
from deploy.demo.shop.report import Report
from deploy.demo.shop.source import RetailYear, retail_folder
from deploy.demo.shop.store_figures import store_figures
from deploy.run.resource_usage import resource_usages
from deploy.sending.sender import CommandSender
from deploy.servers.provide import Servers


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
    # An order records its customer's region and its products' categories: they have to be there first, even if something is sent again.
    await sender.send(chain(year.customers(), year.products()), recorder.on_outcome)
    tally = await sender.send(recorder.recording_start(year.baskets()), recorder.on_outcome)
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


async def _streams_of_others(stores: ReadStores, ours: Mapping[str, int]) -> dict[str, Any]:
    return {store.name: await store.stream_count() - len(read_by(store.name, ours)) for store in stores.all}
