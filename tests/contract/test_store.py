"""What every read store promises the consumer runtime; see ``projectors.stores.port``."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from projectors.stores.port import (
    Advance,
    Commit,
    Hold,
    HoldStatus,
    LaneProgress,
    Position,
    ProjectionError,
    StalePositionError,
    Store,
    StoreUnavailableError,
)
from tests import payments, shop
from tests.contract.read_stores import REFUSED_DATA, ReadStore
from tests.proxy import Proxy

HELD = Hold(
    status=HoldStatus.RETRYING,
    version=1,
    seen=3,
    attempts=2,
    reason="projection-failed",
    exception="KeyError: 'x'",
    fingerprint="f00",
    first_failed_at=shop.NOON,
    last_failed_at=shop.NOON + timedelta(seconds=6.123456),
    due_at=shop.NOON + timedelta(seconds=11.654321),
)
LATE = shop.NOON + timedelta(hours=1)


def held(stream: str, **changes: object) -> Commit:
    return Commit(holds={stream: replace(HELD, **changes)})  # type: ignore[arg-type]


async def test_a_stream_never_seen_is_at_the_beginning(store: Store) -> None:
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position()}
    assert await store.positions([]) == {}


async def test_events_and_positions_arrive_together(store: Store, read_store: ReadStore) -> None:
    await store.commit(Commit([shop.run(f"orders/o-{i}", shop.placed(f"o-{i}")) for i in range(500)]))
    assert await store.positions(["orders/o-0", "orders/o-499"]) == {
        "orders/o-0": Position(1),
        "orders/o-499": Position(1),
    }
    assert await read_store.orders() == (500, 0)


async def test_every_kind_of_event_is_applied(store: Store) -> None:
    order, stream = shop.placed(), "orders/o-1"
    product = [shop.created(), shop.repriced(), shop.updated(), shop.received(), shop.reviewed()]
    product += [shop.reserved(), shop.released(), shop.consumed()]
    paying = [payments.requested(), payments.captured(), payments.refunded(400)]
    first = Commit(
        [
            shop.run(stream, order, shop.paid()),
            shop.run("products/p-1", *product),
            shop.run("customers/c-1", shop.registered()),
            shop.run("clinics/k-1", shop.SomethingNew()),
            shop.run("orders/o-2", shop.placed("o-2", fulfilment="managed"), shop.confirmed("o-2")),
            shop.run("payments/y-1", *paying[:1]),
            shop.run("payments/y-2", payments.requested("y-2"), payments.failed("y-2")),
        ]
    )
    later = Commit(
        [
            shop.run(stream, shop.shipped(), shop.delivered(), expected=2),
            shop.run("products/p-1", *product[1:], expected=8),
            shop.run("payments/y-1", *paying[1:], expected=1),
            shop.run("customers/c-1", shop.renamed(), shop.new_email(), shop.moved(), expected=1),
        ]
    )
    await store.commit(first)
    await store.commit(later)
    streams = [stream, "products/p-1", "customers/c-1", "clinics/k-1", "orders/o-2", "payments/y-1"]
    found = await store.positions(streams)
    assert [position.applied for position in found.values()] == [4, 15, 4, 1, 2, 3]


async def test_several_events_of_one_stream_fold_within_one_commit(store: Store, read_store: ReadStore) -> None:
    order = shop.placed()
    await store.commit(Commit([shop.run("orders/o-1", order, shop.paid(), shop.shipped(), shop.cancelled(order))]))
    assert (await store.positions(["orders/o-1"]))["orders/o-1"].applied == 4
    assert await read_store.orders() == (0, 1)


async def test_one_commit_begins_some_streams_and_goes_on_with_others(store: Store, read_store: ReadStore) -> None:
    order = shop.placed()
    await store.commit(Commit([shop.run("orders/o-1", order)]))
    await store.commit(
        Commit(
            [
                shop.run("orders/o-2", shop.placed("o-2")),
                shop.run("orders/o-1", shop.cancelled(order), expected=1),
            ]
        )
    )
    assert await read_store.orders() == (1, 1)


@pytest.mark.parametrize("expected", [0, 1, 3])
async def test_a_stale_position_is_refused_and_nothing_is_written(
    store: Store, read_store: ReadStore, expected: int
) -> None:
    order = shop.placed()
    await store.commit(Commit([shop.run("orders/o-1", order, shop.paid())]))
    stale = Commit(
        [
            shop.run("orders/o-2", shop.placed("o-2")),
            shop.run("orders/o-1", shop.cancelled(order), expected=expected),
        ],
        holds={"orders/o-3": HELD},
        progress={0: LaneProgress(shop.NOON, 2)},
    )
    with pytest.raises(StalePositionError):
        await store.commit(stale)
    assert await store.positions(["orders/o-1", "orders/o-2", "orders/o-3"]) == {
        "orders/o-1": Position(2),
        "orders/o-2": Position(),
        "orders/o-3": Position(),
    }
    assert await read_store.orders() == (1, 0)
    assert await read_store.progress() == {}


async def test_a_stream_that_was_never_begun_cannot_be_gone_on_with(store: Store) -> None:
    with pytest.raises(StalePositionError):
        await store.commit(Commit([shop.run("orders/o-1", shop.paid(), expected=1)]))


async def test_an_event_that_the_projection_cannot_read_is_named_and_nothing_is_written(
    store: Store, read_store: ReadStore
) -> None:
    poisoned = shop.run("orders/o-2", shop.poison("o-2"))
    with pytest.raises(ProjectionError) as caught:
        await store.commit(Commit([shop.run("orders/o-1", shop.placed()), poisoned]))
    assert caught.value.event is poisoned.events[0]
    assert isinstance(caught.value.__cause__, AttributeError | TypeError)
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position()}
    assert await read_store.orders() == (0, 0)


async def test_data_that_cannot_be_stored_leaves_the_positions_where_they_were(
    store: Store, read_store: ReadStore
) -> None:
    with pytest.raises(REFUSED_DATA):
        await store.commit(
            Commit(
                [shop.run("orders/o-1", shop.placed()), shop.run("orders/o-2", shop.unstorable("o-2"))],
                progress={0: LaneProgress(shop.NOON, 2)},
            )
        )
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position()}
    assert await read_store.orders() == (0, 0)
    assert await read_store.progress() == {}


async def test_a_hold_is_kept_whole_and_changed_by_the_next(store: Store) -> None:
    await store.commit(held("orders/o-1"))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(0, HELD)}
    dead = replace(HELD, status=HoldStatus.DEAD, seen=9, attempts=4, due_at=None)
    await store.commit(Commit(holds={"orders/o-1": dead}))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(0, dead)}


async def test_a_hold_can_tell_of_text_that_no_store_can_keep(store: Store) -> None:
    await store.commit(held("orders/o-1", exception="ValueError: a\x00b \ud800", fingerprint="\x00"))
    hold = (await store.positions(["orders/o-1"]))["orders/o-1"].hold
    assert hold is not None
    assert (hold.exception, hold.fingerprint) == ("ValueError: a\ufffdb ?", "\ufffd")


async def test_a_held_stream_is_free_once_it_advances(store: Store) -> None:
    await store.commit(held("orders/o-1"))
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())], released=["orders/o-1"]))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(1)}
    assert await store.overdue(LATE, 10) == []


@pytest.mark.parametrize("applied", [0, 1])
async def test_an_event_that_was_discarded_is_stepped_over_and_its_stream_is_free(store: Store, applied: int) -> None:
    if applied:
        await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.commit(held("orders/o-1", version=applied + 1))
    await store.commit(Commit([Advance("orders/o-1", applied, [], skipped=1)], released=["orders/o-1"]))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(applied + 1)}


async def test_a_stream_that_advances_up_to_its_next_failure_stays_held(store: Store) -> None:
    await store.commit(held("orders/o-1"))
    again = replace(HELD, version=2)
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())], holds={"orders/o-1": again}))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(1, again)}


@pytest.mark.parametrize("version", [1, 3])
async def test_a_hold_on_a_stream_that_has_gone_on_is_refused(store: Store, version: int) -> None:
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    with pytest.raises(StalePositionError):
        await store.commit(held("orders/o-1", version=version))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(1)}


async def test_overdue_holds_come_oldest_first_and_again_only_after_half_a_minute(store: Store) -> None:
    await store.commit(Commit([shop.run("orders/o-2", shop.placed("o-2"))]))
    await store.commit(
        Commit(
            holds={
                "orders/o-1": replace(HELD, due_at=shop.NOON),
                "orders/o-2": replace(HELD, version=2, due_at=shop.NOON - timedelta(seconds=1)),
                "orders/o-3": replace(HELD, due_at=LATE + timedelta(seconds=1)),
                "orders/o-4": replace(HELD, status=HoldStatus.DEAD, due_at=None),
                "orders/o-5": replace(HELD, due_at=shop.NOON + timedelta(seconds=1)),
            }
        )
    )
    assert await store.overdue(LATE, 2) == [("orders/o-2", 1), ("orders/o-1", 0)]
    assert await store.overdue(LATE, 10) == [("orders/o-5", 0)]
    assert await store.overdue(LATE, 10) == []
    position = (await store.positions(["orders/o-5"]))["orders/o-5"]
    assert position.hold is not None
    assert position.hold.due_at == LATE + timedelta(seconds=30)
    assert len(await store.overdue(LATE + timedelta(seconds=30), 10)) == 4


async def test_a_hold_that_a_clock_a_day_ahead_has_put_off_is_overdue_at_once(store: Store) -> None:
    tomorrow = LATE + timedelta(days=1)
    await store.commit(Commit(holds={"orders/o-1": replace(HELD, due_at=tomorrow)}))
    assert await store.overdue(LATE, 10) == [("orders/o-1", 0)]
    assert await store.overdue(LATE, 10) == []
    assert await store.unreported(LATE, 10) == []


async def test_whoever_has_been_told_of_is_due_no_more_and_stays_held(store: Store) -> None:
    dead = replace(HELD, status=HoldStatus.DEAD)
    names = ["orders/o-1", "orders/o-2"]
    await store.commit(Commit(holds=dict.fromkeys(names, dead)))
    later = replace(dead, seen=7)
    await store.commit(Commit(holds={"orders/o-1": later}))
    await store.commit(Commit(confirmed=dict.fromkeys(names, dead)))
    found = await store.positions(names)
    assert [position.hold for position in found.values()] == [replace(later, due_at=None), replace(dead, due_at=None)]
    assert await store.overdue(LATE, 10) == []


@pytest.mark.parametrize(
    "now",
    [replace(HELD, status=HoldStatus.DEAD, attempts=3), replace(HELD, status=HoldStatus.RETRYING), None],
    ids=["failed once more", "tried again", "free"],
)
async def test_who_has_moved_on_is_not_touched_by_the_news_that_an_earlier_letter_is_out(
    store: Store, now: Hold | None
) -> None:
    await store.commit(held("orders/o-1", status=HoldStatus.DEAD))
    if now is None:
        await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    else:
        await store.commit(Commit(holds={"orders/o-1": now}))
    before = await store.positions(["orders/o-1"])
    await store.commit(Commit(confirmed={"orders/o-1": replace(HELD, status=HoldStatus.DEAD)}))
    assert await store.positions(["orders/o-1"]) == before
    assert len(await store.overdue(LATE, 10)) == (now is not None)


async def test_who_waits_for_a_later_event_is_not_touched_by_the_news_of_an_earlier_one(store: Store) -> None:
    dead = replace(HELD, status=HoldStatus.DEAD)
    await store.commit(held("orders/o-1", status=HoldStatus.DEAD))
    again = replace(dead, version=2)
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())], holds={"orders/o-1": again}))
    await store.commit(Commit(confirmed={"orders/o-1": dead}))
    assert await store.positions(["orders/o-1"]) == {"orders/o-1": Position(1, again)}


async def test_progress_adds_up_and_time_never_goes_back(store: Store, read_store: ReadStore) -> None:
    steps = [
        {0: LaneProgress(None, 3), 1: LaneProgress(shop.NOON, 1)},
        {0: LaneProgress(LATE, 2), 1: LaneProgress(None, 1)},
        {0: LaneProgress(shop.NOON, 1)},
    ]
    for step in steps:
        await store.commit(Commit(progress=step))
    assert await read_store.progress() == {
        0: ("2026-03-31T13:00:00.000000+00:00", 6),
        1: ("2026-03-31T12:00:00.000000+00:00", 2),
    }


async def test_what_was_committed_is_there_after_a_restart(store: Store, read_store: ReadStore) -> None:
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())], holds={"orders/o-2": HELD}))
    await store.close()
    again = read_store.connect()
    await again.open()
    try:
        assert await again.positions(["orders/o-1", "orders/o-2"]) == {
            "orders/o-1": Position(1),
            "orders/o-2": Position(0, HELD),
        }
    finally:
        await again.close()


@pytest.mark.parametrize("expected", [0, 1])
async def test_of_two_writers_exactly_one_wins_each_stream(store: Store, read_store: ReadStore, expected: int) -> None:
    names = [f"o-{i}" for i in range(40)]
    if expected:
        await store.commit(Commit([shop.run(f"orders/{name}", shop.placed(name)) for name in names]))
    fact = [shop.cancelled(shop.placed(name)) if expected else shop.placed(name) for name in names]
    runs = [shop.run(f"orders/{name}", data, expected=expected) for name, data in zip(names, fact, strict=True)]
    other = read_store.connect()
    await other.open()
    try:
        for one in range(0, 40, 4):
            commits = [Commit(runs[one : one + 4]), Commit(runs[one : one + 4][::-1])]
            outcomes = await asyncio.gather(store.commit(commits[0]), other.commit(commits[1]), return_exceptions=True)
            assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "StalePositionError"]
    finally:
        await other.close()
    assert await read_store.orders() == ((0, 40) if expected else (40, 0))


async def test_a_server_that_is_not_there_is_an_outage(read_store: ReadStore) -> None:
    async with Proxy(read_store.url).running() as proxy:
        nowhere = proxy.url
    store = read_store.connect(nowhere)
    with pytest.raises(StoreUnavailableError):
        await store.open()
    await store.close()


async def test_a_connection_lost_during_a_commit_is_an_outage_and_the_commit_can_be_repeated(
    read_store: ReadStore,
) -> None:
    commit = Commit([shop.run("orders/o-1", shop.placed())], progress={0: LaneProgress(None, 1)})
    async with Proxy(read_store.url).running() as proxy:
        store = read_store.connect(proxy.url)
        await store.open()
        proxy.withhold_answers()
        committing = asyncio.create_task(store.commit(commit))
        await asyncio.wait_for(proxy.asked.wait(), 10)
        proxy.cut()
        with pytest.raises(StoreUnavailableError):
            await committing
        applied = (await store.positions(["orders/o-1"]))["orders/o-1"].applied
        assert await read_store.orders() == (applied, 0)
        if not applied:
            await store.commit(commit)
        with pytest.raises(StalePositionError):
            await store.commit(commit)
        await store.close()
    assert await read_store.orders() == (1, 0)
    assert await read_store.progress() == {0: (None, 1)}


async def test_a_store_in_which_nothing_was_put_off_is_complete(store: Store, read_store: ReadStore) -> None:
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.complete(shop.at_once)
    await store.commit(Commit([shop.run("orders/o-2", shop.placed("o-2"))]))
    await store.complete(shop.at_once)
    assert await read_store.orders() == (2, 0)


async def test_all_positions_can_be_read_portion_by_portion(store: Store) -> None:
    await store.commit(Commit([shop.run(f"orders/o-{n}", shop.placed(f"o-{n}")) for n in range(25)]))
    found: dict[str, int] = {}
    cursor, first = "", True
    while cursor or first:
        cursor, portion = await store.positions_page(cursor, 10)
        found |= dict(portion)
        first = False
    assert found == {f"orders/o-{n}": 1 for n in range(25)}


async def test_of_streams_that_are_behind_only_those_are_news_whose_failed_event_has_not_seen_so_far(
    store: Store,
) -> None:
    await store.commit(Commit([shop.run("orders/o-level", shop.placed("o-level"))]))
    dead, gap = HoldStatus.DEAD, HoldStatus.GAP
    for name, status, seen in (
        ("known", dead, 3),
        ("more", dead, 2),
        ("retried", HoldStatus.RETRYING, 3),
        ("gap", gap, 3),
    ):
        await store.commit(held(f"orders/o-{name}", status=status, seen=seen))
    heads = {f"orders/o-{name}": 3 for name in ("known", "more", "retried", "gap", "new")} | {"orders/o-level": 1}
    found = await store.behind(heads)
    assert found == await store.positions(["orders/o-more", "orders/o-gap", "orders/o-new"])
    assert await store.behind({}) == {}


async def test_what_holds_streams_of_other_kinds_is_released(store: Store) -> None:
    await store.commit(Commit([shop.run("orders/o-1", shop.placed())]))
    await store.commit(held("orders/o-1", version=2))
    await store.commit(held("customers/c-1", status=HoldStatus.DEAD, due_at=None))
    await store.commit(held("customers/c-2", status=HoldStatus.GAP))
    assert await store.held_by_status() == dict.fromkeys(HoldStatus, 1)
    await store.release_others(["orders", "products"])
    found = await store.positions(["orders/o-1", "customers/c-1", "customers/c-2"])
    assert {stream: position.hold is not None for stream, position in found.items()} == {
        "orders/o-1": True,
        "customers/c-1": False,
        "customers/c-2": False,
    }
    assert await store.held_by_status() == {HoldStatus.GAP: 0, HoldStatus.RETRYING: 1, HoldStatus.DEAD: 0}
    assert await store.overdue(LATE, 10) == [("orders/o-1", 1)]
    await store.release_others(["orders", "products"])
