"""The log of what happens and its readers: everything once and in order, or a reset; and never more than so much in memory."""

import json
from collections.abc import Sequence

import pytest

from query_service.live import broadcast as live_module
from query_service.live.broadcast import Broadcast, Reader, Received
from query_service.live.stream_session import JsonMessages, ServerSentEvents
from query_service.live.updates import Filter

ALL = Filter()


@pytest.fixture
def live() -> Broadcast:
    live = Broadcast(log_size=10)
    live.set_connected(True)
    return live


def advance(live: Broadcast, *pairs: tuple[str, int], projection: str = "summary") -> None:
    live.advanced(projection, 1, pairs, ())


async def taken(reader: Reader) -> Received:
    found = await reader.take(0.01)
    assert found is not None
    return found


def seen(taken: Received) -> Sequence[tuple[str | None, int]]:
    return [(update.stream, update.data.get("version")) for update in taken.updates]


async def test_a_reader_gets_what_happens_from_his_coming_on_in_order(live: Broadcast) -> None:
    advance(live, ("orders/before", 1))
    reader = live.subscribe(ALL, None)
    assert await taken(reader) == Received()
    advance(live, ("orders/a", 1), ("orders/b", 1))
    live.advanced("search", 1, [("orders/a", 1)], [("orders/c", 4)])
    found = await taken(reader)
    assert seen(found) == [("orders/a", 1), ("orders/b", 1), ("orders/a", 1), ("orders/c", 4)]
    assert [update.event for update in found.updates] == ["advanced"] * 3 + ["held"]
    assert await taken(reader) == Received()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(streams=frozenset({"orders/a"})), [("orders/a", 1), ("orders/a", 2)]),
        (
            Filter(streams=frozenset({"orders/a", "customers/c"})),
            [("orders/a", 1), ("customers/c", 1), ("orders/a", 2)],
        ),
        (Filter(kinds=frozenset({"customers"})), [("customers/c", 1)]),
        (Filter(projections=frozenset({"search"})), [("orders/a", 2)]),
        (Filter(frozenset({"orders/a"}), frozenset({"orders"}), frozenset({"summary"})), [("orders/a", 1)]),
        (Filter(frozenset({"orders/a"}), frozenset({"customers"})), []),
    ],
)
async def test_filters_let_through_what_fits_all_of_them_live_and_from_the_log(
    live: Broadcast, wanted: Filter, expected: list[tuple[str, int]]
) -> None:
    before, reader = live.head, live.subscribe(wanted, None)
    advance(live, ("orders/a", 1), ("customers/c", 1), ("products/p", 1))
    advance(live, ("orders/a", 2), projection="search")
    assert seen(await taken(reader)) == expected
    assert seen(await taken(live.subscribe(wanted, before))) == expected


async def test_another_generation_is_told_to_all_who_read_of_that_projection(live: Broadcast) -> None:
    mine = live.subscribe(Filter(frozenset({"orders/a"}), projections=frozenset({"summary"})), None)
    other = live.subscribe(Filter(projections=frozenset({"search"})), None)
    live.activated("summary", 2)
    (update,) = (await taken(mine)).updates
    assert (update.event, update.data) == ("activated", {"projection": "summary", "generation": 2})
    assert await taken(other) == Received()


async def test_whoever_comes_back_goes_on_where_he_was(live: Broadcast) -> None:
    reader = live.subscribe(ALL, None)
    advance(live, ("orders/a", 1), ("orders/b", 1), ("orders/c", 1))
    ids = [update.id for update in (await taken(reader)).updates]
    live.unsubscribe(ALL, reader)
    assert live.readers == 0
    assert seen(await taken(live.subscribe(ALL, ids[0]))) == [("orders/b", 1), ("orders/c", 1)]
    assert await taken(live.subscribe(ALL, ids[2])) == Received()


@pytest.mark.parametrize(
    "last_id", ["", "x", "x-1", "-", "{run}-", "{run}-x", "{run}-99", "{run}--1", "{run}-1", "{run}-²"]
)
async def test_who_cannot_go_on_is_told_to_read_again(live: Broadcast, last_id: str) -> None:
    advance(live, *((f"orders/{number}", 1) for number in range(20)))
    reader = live.subscribe(ALL, last_id.format(run=live.run))
    assert await taken(reader) == Received(reset_id=live.head)
    advance(live, ("orders/new", 1))
    assert seen(await taken(reader)) == [("orders/new", 1)]


async def test_who_is_too_slow_keeps_nothing_is_told_to_read_again_and_gets_what_follows(
    live: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "MAX_QUEUED", 5)
    slow, quick = live.subscribe(ALL, None), live.subscribe(ALL, None)
    for number in range(12):
        advance(live, (f"orders/{number}", 1))
        assert len((await taken(quick)).updates) == 1
    assert await taken(slow) == Received(reset_id=live.head)
    advance(live, ("orders/new", 1))
    assert seen(await taken(slow)) == [("orders/new", 1)]


async def test_after_a_time_without_news_nobody_goes_on_from_before(live: Broadcast) -> None:
    reader = live.subscribe(ALL, None)
    advance(live, ("orders/a", 1))
    (update,) = (await taken(reader)).updates
    live.set_connected(False)
    assert await taken(reader) == Received(connected=False)
    live.set_connected(True)
    assert await taken(reader) == Received(reset_id=live.head, connected=True)
    assert await taken(live.subscribe(ALL, update.id)) == Received(reset_id=live.head)


async def test_at_the_end_all_readers_leave(live: Broadcast) -> None:
    readers = [live.subscribe(ALL, None), live.subscribe(Filter(kinds=frozenset({"orders"})), None)]
    for reader, wanted in zip(readers, (ALL, Filter(kinds=frozenset({"orders"}))), strict=True):
        reader.end()
        assert await reader.take(1) is None
        live.unsubscribe(wanted, reader)
    await live.end()
    assert await live.subscribe(ALL, None).take(1) is None


async def test_an_update_is_encoded_once_and_each_form_is_well_made(live: Broadcast) -> None:
    one, other = live.subscribe(ALL, None), live.subscribe(ALL, None)
    advance(live, ("orders/é", 3))
    first, second = (await taken(one)).updates[0], (await taken(other)).updates[0]
    assert first is second
    text = ServerSentEvents().update(first)
    assert text is ServerSentEvents().update(second)
    lines = text.decode().split("\n")
    assert lines[:2] == [f"id: {live.head}", "event: advanced"]
    data = {"projection": "summary", "generation": 1, "stream": "orders/é", "version": 3}
    assert json.loads(lines[2].removeprefix("data: ")) == data
    assert lines[3:] == ["", ""]
    assert json.loads(JsonMessages().update(first)) == {"id": live.head, "event": "advanced", "data": data}
