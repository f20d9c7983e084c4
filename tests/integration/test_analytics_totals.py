"""Totals that a generation puts off while history goes into it: made one by one, with live events in between, they come to the same."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.servers.provide import Servers
from projectors.models.analytics.generation_registry import AnalyticsRegistry
from projectors.models.analytics.store import AnalyticsStore
from projectors.stores.port import Advance, Commit, Position, StalePositionError, StoreUnavailableError
from shared.contracts.orders import Line
from shared.contracts.registry import KINDS
from shared.runtime.failpoints import Failpoint
from shared.views.analytics import ALL, Keys
from shared.views.generations import generation_name, registry_key
from tests import shop

PREFIX = "totals"
PLAIN, BUILT = Keys(PREFIX), Keys(generation_name(PREFIX, 2))
FIRST_DAY = datetime(2026, 1, 20, 12, tzinfo=UTC)


class Died(Exception):
    """The process is gone, as by SIGKILL."""


class Both:
    """One store that keeps all up, and one of a generation that is being built: the same commits go to both."""

    def __init__(self, url: str, redis: Any) -> None:
        self.redis = redis
        self.plain = AnalyticsStore(url, PLAIN.prefix)
        self.built = AnalyticsStore(url, BUILT.prefix, entry=(registry_key(PREFIX), "2"))

    async def commit(self, *advances: Advance) -> None:
        for store in (self.plain, self.built):
            while True:
                await store.positions([advance.stream for advance in advances])
                with suppress(StalePositionError):
                    await store.commit(Commit(advances))
                    break

    async def figures(self, layout: Keys) -> dict[str, Any]:
        found: dict[str, Any] = {}
        async for key in self.redis.scan_iter(f"{layout.prefix}:*", count=1000):
            read = {
                "hash": self.redis.hgetall,
                "set": self.redis.smembers,
                "zset": lambda name: self.redis.zrange(name, 0, -1, withscores=True),
            }[await self.redis.type(key)]
            found[key.removeprefix(layout.prefix)] = await read(key)
        return found


@pytest.fixture
async def both(servers: Servers) -> AsyncIterator[Both]:
    url = servers.stores["analytics"]
    redis: Any = Redis.from_url(url, decode_responses=True, socket_timeout=5)
    registry = AnalyticsRegistry(url, PREFIX)
    await registry.begin(2, kinds=KINDS, rate=None, by="an order")
    found = Both(url, redis)
    yield found
    for port in (found.plain, found.built, registry):
        await port.close()
    async for key in redis.scan_iter(f"{PREFIX}*", count=1000):
        await redis.unlink(key)
    await redis.aclose()


def line(product: str, quantity: int = 1) -> Line:
    return Line(product_id=product, quantity=quantity, amount=100)


def order(number: int, currency: str = "EUR", lines: Sequence[Line] = ()) -> Advance:
    """Of a day of its own, unless others have its number; some products are everybody's, some only a few days'."""
    at = FIRST_DAY + timedelta(days=number)
    chosen = lines or [line("p-1", number + 1), line(f"p-{number % 7}")]
    return shop.run(f"orders/o-{number}", shop.placed(f"o-{number}", currency=currency, lines=chosen, at=at))


def refund(number: int, lines: Sequence[Line]) -> Advance:
    """The cancellation of an order whose placing was discarded: its day has sold less than nothing."""
    stream = f"orders/r-{number}"
    data = shop.placed(f"r-{number}", lines=lines, at=FIRST_DAY + timedelta(days=number))
    return Advance(stream, 0, [shop.event(shop.cancelled(data), stream, 2)], skipped=1)


async def test_while_history_goes_in_only_days_are_written(both: Both) -> None:
    await both.commit(order(0), order(30))
    await both.commit(order(1))
    assert await both.redis.exists(BUILT.units(ALL), BUILT.units("202601"), BUILT.sales("EUR", "202602")) == 0
    built, plain = await both.figures(BUILT), await both.figures(PLAIN)
    assert built.pop(":totalled") == {"days"}
    assert built == {key: plain[key] for key in built}


async def test_made_of_their_days_they_are_what_they_would_have_been_and_are_kept_up(both: Both) -> None:
    await both.commit(*(order(number) for number in range(50)), order(300, lines=[line("p-back"), line("p-kept")]))
    await both.commit(refund(301, [line("p-back")]), refund(20, [line("p-1")]))
    await both.built.complete(shop.at_once)
    assert await both.figures(BUILT) == await both.figures(PLAIN)
    await both.commit(order(50), order(51, "USD"), order(200))
    assert await both.figures(BUILT) == await both.figures(PLAIN)
    await both.built.complete(shop.at_once)
    assert await both.figures(BUILT) == await both.figures(PLAIN)


async def test_nothing_at_all_is_complete_as_well(both: Both) -> None:
    await both.built.complete(shop.at_once)
    assert await both.figures(BUILT) == {}


async def test_events_that_come_between_two_totals_are_counted_once(both: Both) -> None:
    """Some of days that are totalled already, some of a month or a currency that nobody had heard of."""
    await both.commit(*(order(number) for number in range(0, 120, 2)))
    completing = asyncio.create_task(both.built.complete(shop.at_once))
    for number in range(1, 200, 2):
        await both.commit(order(number, "EUR" if number < 150 else "USD"))
    await completing
    assert await both.figures(BUILT) == await both.figures(PLAIN)


async def test_whoever_left_totals_out_reads_again_when_one_is_kept_up_by_then(both: Both) -> None:
    await both.commit(order(0))
    late = order(1)
    await both.built.positions([late.stream])
    await both.built.complete(shop.at_once)
    with pytest.raises(StalePositionError):
        await both.built.commit(Commit([late]))
    assert await both.built.positions([late.stream]) == {late.stream: Position()}
    await both.commit(late)
    assert await both.figures(BUILT) == await both.figures(PLAIN)


async def test_live_events_have_their_turn_before_each_total(both: Both) -> None:
    """Units and sales of four months and of all time: ten totals. The first look knew nothing of the fourth month."""
    await both.commit(*(order(number) for number in range(60)))
    made: list[int] = []

    async def turn() -> None:
        made.append(await both.redis.scard(BUILT.totalled) - 1)
        live = shop.placed(f"live-{len(made)}", at=FIRST_DAY + timedelta(days=100))
        await both.commit(shop.run(f"orders/live-{len(made)}", live))

    await both.built.complete(turn)
    assert made == [0, *range(11)]
    assert await both.figures(BUILT) == await both.figures(PLAIN)


@pytest.mark.parametrize("made", range(1, 9, 2))
async def test_called_off_in_the_middle_it_is_taken_up_where_it_was(
    both: Both, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both.commit(*(order(number) for number in range(60)))
    left = made

    def dies(_: Failpoint) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Died

    monkeypatch.setattr("projectors.models.analytics.store.reached", dies)
    with pytest.raises(Died):
        await both.built.complete(shop.at_once)
    monkeypatch.undo()
    assert await both.redis.scard(BUILT.totalled) == 1 + made
    await both.commit(order(60), order(100))
    await both.built.complete(shop.at_once)
    assert await both.figures(BUILT) == await both.figures(PLAIN)


async def test_of_a_generation_that_is_no_more_nothing_is_made(both: Both) -> None:
    await both.commit(order(0), order(30))
    await both.redis.hdel(registry_key(PREFIX), "2")
    before = await both.figures(BUILT)
    with pytest.raises(StoreUnavailableError):
        await both.built.complete(shop.at_once)
    assert await both.figures(BUILT) == before
