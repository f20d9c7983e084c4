"""What is not damage: events on their way, held streams, discards; samples; and figures that move while they are compared."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from deploy.verify.findings import Kind
from projectors.stores.port import Commit, Hold, HoldStatus
from tests import shop
from tests.integration.verify.town import QUICK, Town


def hold(version: int) -> Hold:
    return Hold(HoldStatus.DEAD, version, version, 4, "projection-failed", "it failed", "f", shop.NOON, shop.NOON, None)


async def test_a_held_stream_is_reported_as_held(town: Town) -> None:
    more = {"orders/o-4": [shop.paid("o-4")]}
    await town.happen(more, after=1)
    for store in town.stores.values():
        await store.commit(Commit(holds={"orders/o-4": hold(2)}))
    report = await town.verify()
    assert {(one.projection, one.kind, one.place) for one in report.findings} == {
        (name, Kind.HELD, "orders/o-4") for name in town.stores
    }
    assert {(one.detail["held_at"], one.detail["reason"], one.detail["letter"]) for one in report.findings} == {
        (2, "projection-failed", None)
    }
    assert not report.equal


async def test_a_discarded_event_is_said_and_nothing_wrong(town: Town) -> None:
    order = shop.placed("o-4")
    await town.happen({"orders/o-4": [shop.paid("o-4"), shop.cancelled(order)]}, after=1)
    await town.discard("orders/o-4", 2)
    await town.apply({"orders/o-4": [shop.cancelled(order)]}, after=2)
    report = await town.verify()
    assert report.equal, report.findings
    assert {(one.kind, one.place, one.detail["version"]) for one in report.findings} == {
        (Kind.DISCARDED, "orders/o-4", 2)
    }
    assert {one.detail["audit"]["actor"] for one in report.findings} == {"ada"}


async def test_what_comes_while_it_is_waited_for_is_not_behind(town: Town) -> None:
    new, more = {"orders/new": [shop.placed("new")]}, {"orders/o-5": [shop.paid("o-5")]}
    await town.happen(new)
    await town.happen(more, after=1)
    verifying = asyncio.create_task(town.verify(options=replace(QUICK, stalled_s=30, patience_s=30)))
    await asyncio.sleep(0.3)  # it has looked by now, or it looks later: it must be equal either way
    await town.apply(new)
    await town.apply(more, after=1)
    report = await verifying
    assert report.equal, report.findings


async def test_figures_that_move_all_the_time_are_compared_exactly(town: Town) -> None:
    """The same hour, products and customer again and again, so that the hottest cells never stand still; and one cell is wrong."""
    stop = asyncio.Event()
    count = 0

    async def shopping() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            order = {f"orders/live-{count}": [shop.placed(f"live-{count}")]}
            await town.happen(order)
            await town.apply(order, to="analytics")
            if count % 3 == 0:
                gone = {f"orders/live-{count}": [shop.cancelled(shop.placed(f"live-{count}"))]}
                await town.happen(gone, after=1)
                await town.apply(gone, after=1, to="analytics")

    buying = asyncio.create_task(shopping())
    try:
        for _ in range(3):
            report = await town.verify("analytics", options=replace(QUICK, stalled_s=30, patience_s=30))
            assert report.equal, report.findings
            assert not report.tally.unsettled
        wrong = f"{town.keys.hours_in('EUR')} 2026033112:revenue"
        await town.redis.hincrby(town.keys.hours_in("EUR"), "2026033112:revenue", 1)
        report = await town.verify("analytics", options=replace(QUICK, stalled_s=30, patience_s=30))
        assert [(one.kind, one.place) for one in report.findings] == [(Kind.DIFFERENT, wrong)]
    finally:
        stop.set()
        await buying
    assert count > 30


async def test_a_sample_compares_as_many_streams_and_all_versions(town: Town) -> None:
    await town.summary.execute("UPDATE orders SET total = total + 1")
    await town.summary.execute("UPDATE positions SET applied = 9 WHERE stream = 'orders/o-29'")
    report = await town.verify("summary", options=replace(QUICK, sample=12, seed=5))
    again = await town.verify("summary", options=replace(QUICK, sample=12, seed=5))
    assert report.findings == again.findings
    assert (report.tally.streams, report.tally.compared) == (33, 12)
    assert ("summary", Kind.AHEAD) in report.counts
    assert 1 <= report.counts["summary", Kind.DIFFERENT] <= 12 + 1, "and what was suspect anyhow"
    versions = await town.verify("summary", options=replace(QUICK, content=False))
    assert versions.counts == {("summary", Kind.AHEAD): 1}


@pytest.mark.parametrize("days", [0, 400])
async def test_orders_placed_and_cancelled_in_one_batch_leave_nothing_behind(town: Town, days: int) -> None:
    order = shop.placed("brief", at=shop.NOON - timedelta(days=days))
    brief = {"orders/brief": [order, shop.cancelled(order)]}
    await town.happen(brief)
    await town.apply(brief)
    report = await town.verify()
    assert report.equal, report.findings
