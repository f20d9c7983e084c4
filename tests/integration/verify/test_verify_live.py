"""States that are not damage: events in transit, held streams, discards; samples; and figures that change during the comparison."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from deploy.verify.findings import Kind
from projectors.stores.port import Commit, Hold, HoldStatus
from tests import shop
from tests.integration.verify.dataset import QUICK, STREAMS, Dataset


def hold(version: int) -> Hold:
    return Hold(HoldStatus.DEAD, version, version, 4, "projection-failed", "it failed", "f", shop.NOON, shop.NOON, None)


async def test_a_held_stream_is_reported_as_held(dataset: Dataset) -> None:
    more = {"orders/o-4": [shop.paid("o-4")]}
    await dataset.append_events(more, after=1)
    for store in dataset.stores.values():
        await store.commit(Commit(holds={"orders/o-4": hold(2)}))
    report = await dataset.verify()
    assert {(one.projection, one.kind, one.place) for one in report.findings} == {
        (name, Kind.HELD, "orders/o-4") for name in dataset.stores
    }
    assert {(one.detail["held_at"], one.detail["reason"], one.detail["letter"]) for one in report.findings} == {
        (2, "projection-failed", None)
    }
    assert not report.equal


async def test_a_discarded_event_is_reported_and_not_wrong(dataset: Dataset) -> None:
    order = shop.placed("o-4")
    await dataset.append_events({"orders/o-4": [shop.paid("o-4"), shop.cancelled(order)]}, after=1)
    await dataset.discard("orders/o-4", 2)
    await dataset.apply({"orders/o-4": [shop.cancelled(order)]}, after=2)
    report = await dataset.verify()
    assert report.equal, report.findings
    assert {(one.kind, one.place, one.detail["version"]) for one in report.findings} == {
        (Kind.DISCARDED, "orders/o-4", 2)
    }
    assert {one.detail["audit"]["actor"] for one in report.findings} == {"ada"}


async def test_events_that_are_applied_during_the_wait_are_not_behind(dataset: Dataset) -> None:
    new, more = {"orders/new": [shop.placed("new")]}, {"orders/o-5": [shop.paid("o-5")]}
    await dataset.append_events(new)
    await dataset.append_events(more, after=1)
    verifying = asyncio.create_task(dataset.verify(options=replace(QUICK, stalled_s=30, max_wait_s=30)))
    await asyncio.sleep(0.3)  # it has read the streams by now, or reads them later: they must be equal either way
    await dataset.apply(new)
    await dataset.apply(more, after=1)
    report = await verifying
    assert report.equal, report.findings


async def test_figures_that_change_all_the_time_are_compared_exactly(dataset: Dataset) -> None:
    """The same hour, products and customer repeatedly, so that the hottest cells never stop changing; and one cell is wrong."""
    stop = asyncio.Event()
    count = 0

    async def shopping() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            order = {f"orders/live-{count}": [shop.placed(f"live-{count}")]}
            await dataset.append_events(order)
            await dataset.apply(order, to="analytics")
            if count % 3 == 0:
                cancelled = {f"orders/live-{count}": [shop.cancelled(shop.placed(f"live-{count}"))]}
                await dataset.append_events(cancelled, after=1)
                await dataset.apply(cancelled, after=1, to="analytics")

    buying = asyncio.create_task(shopping())
    try:
        for _ in range(3):
            report = await dataset.verify("analytics", options=replace(QUICK, stalled_s=30, max_wait_s=30))
            assert report.equal, report.findings
            assert not report.tally.unsettled
        wrong = f"{dataset.keys.hours_in('EUR')} 2026033112:revenue"
        await dataset.redis.hincrby(dataset.keys.hours_in("EUR"), "2026033112:revenue", 1)
        report = await dataset.verify("analytics", options=replace(QUICK, stalled_s=30, max_wait_s=30))
        assert [(one.kind, one.place) for one in report.findings] == [(Kind.DIFFERENT, wrong)]
    finally:
        stop.set()
        await buying
    assert count > 30


async def test_a_sample_compares_as_many_streams_and_all_versions(dataset: Dataset) -> None:
    await dataset.summary.execute("UPDATE orders SET total = total + 1")
    await dataset.summary.execute("UPDATE positions SET applied = 9 WHERE stream = 'orders/o-29'")
    report = await dataset.verify("summary", options=replace(QUICK, sample=12, seed=5))
    again = await dataset.verify("summary", options=replace(QUICK, sample=12, seed=5))
    assert report.findings == again.findings
    assert (report.tally.streams, report.tally.compared) == (STREAMS, 12)
    assert ("summary", Kind.AHEAD) in report.counts
    assert 1 <= report.counts["summary", Kind.DIFFERENT] <= 12 + 1, "and the stream that is ahead"
    versions = await dataset.verify("summary", options=replace(QUICK, content=False))
    assert versions.counts == {("summary", Kind.AHEAD): 1}


@pytest.mark.parametrize("days", [0, 400])
async def test_orders_placed_and_cancelled_in_one_batch_leave_nothing_behind(dataset: Dataset, days: int) -> None:
    order = shop.placed("brief", at=shop.NOON - timedelta(days=days))
    brief = {"orders/brief": [order, shop.cancelled(order)]}
    await dataset.append_events(brief)
    await dataset.apply(brief)
    report = await dataset.verify()
    assert report.equal, report.findings
