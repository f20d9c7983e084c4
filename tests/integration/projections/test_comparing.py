"""Two generations are equal when they are, different when they are not, and neither is changed by what moves meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from deploy.compare import postgres_comparison, redis_comparison, redis_positions, stores
from deploy.compare.comparison import Findings, Part
from deploy.compare.stores import GenerationGoneError
from projectors.stores.port import Commit, Hold, HoldStatus
from tests import shop
from tests.integration.projections.conftest import Pair, event_by_event, story
from tests.statements import statements


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_comparison, "PAUSE_S", 0.01)
    monkeypatch.setattr(redis_comparison, "PAUSE_S", 0.01)
    monkeypatch.setattr(redis_positions, "PAUSE_S", 0.01)


def unequal(found: Findings) -> dict[str, Part]:
    return {part.name: part for part in found.parts if not part.equal}


async def test_history_in_one_step_and_events_one_by_one_come_to_the_same(pair: Pair) -> None:
    found = await pair.compare()
    assert unequal(found) == {}
    assert found.positions.equal
    assert found.positions.streams == (len(story()), len(story()))
    assert sum(part.undecided for part in found.parts) == found.positions.moving == 0
    assert len(found.parts) >= 3
    for part in found.parts:
        assert part.rows[0] > 0, part
        if part.digests is not None:
            assert part.digests[0] == part.digests[1] != f"{0:016x}"


@pytest.mark.usefixtures("hurried")
async def test_a_stream_that_one_has_not_reached_is_behind_and_what_it_lacks_is_not_called_different(
    summary: Pair, search: Pair
) -> None:
    for pair in (summary, search):
        await pair.live.commit(Commit([shop.run("orders/o-3", shop.paid("o-3"), expected=1)]))
        await pair.live.commit(Commit([shop.run("orders/o-9", shop.placed("o-9"))]))
        found = await pair.compare()
        assert unequal(found) == {}
        assert (found.positions.behind, found.positions.ahead, found.positions.moving) == (2, 0, 0)
        assert [(one.stream, one.applied) for one in found.positions.samples] == [
            ("orders/o-3", (1, 2)),
            ("orders/o-9", (0, 1)),
        ]


@pytest.mark.usefixtures("hurried")
async def test_figures_of_streams_that_one_has_not_reached_differ(analytics: Pair) -> None:
    await analytics.rebuilt.commit(Commit([shop.run("orders/o-9", shop.placed("o-9"))]))
    found = await analytics.compare()
    assert (found.positions.behind, found.positions.ahead) == (0, 1)
    sales_by = {"by-region", "by-category", "region-buyers", "category-buyers"}
    assert {"hour", "day", "units", "sales", "buyers"} | sales_by == set(unequal(found))


@asynccontextmanager
async def orders_arriving(pair: Pair) -> AsyncIterator[None]:
    """Live orders, applied to one generation and then, a moment later, to the other: as a projector does it."""

    stopping = asyncio.Event()

    async def arrive() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            order = shop.placed(f"live-{number}")
            steps = [
                shop.run(f"orders/live-{number}", order),
                shop.run(f"customers/n-{number}", shop.registered(f"n-{number}")),
            ]
            if number % 3 == 0:
                steps.append(shop.run(f"orders/live-{number}", shop.cancelled(order), expected=1))
            for advance in steps:
                await pair.live.commit(Commit([advance]))
                await pair.rebuilt.commit(Commit([advance]))

    arriving = asyncio.create_task(arrive())
    try:
        yield
    finally:
        stopping.set()
        await arriving


async def test_what_moves_is_not_called_different(pair: Pair) -> None:
    async with orders_arriving(pair):
        for _ in range(3):
            found = await pair.compare()
            assert unequal(found) == {}
            assert found.positions.equal, found.positions


async def test_damage_is_found_while_orders_arrive(summary: Pair, analytics: Pair) -> None:
    await summary.hurt("UPDATE orders SET total = total + 1 WHERE order_id = 'o-1'")
    await analytics.inside.hincrby(f"{analytics.names[1]}:day:EUR", "20260331:orders", 1)
    for pair, part in ((summary, "orders"), (analytics, "day")):
        async with orders_arriving(pair):
            found = await pair.compare()
        assert [*unequal(found)] == [part]
        assert found.positions.equal


@pytest.mark.parametrize(
    ("damage", "part", "counts"),
    [
        ("DELETE FROM orders WHERE order_id = 'o-3'", "orders", (1, 0, 0)),
        ("DELETE FROM history WHERE version = 2", "history", (sum(len(one.events) > 1 for one in story()), 0, 0)),
        ("INSERT INTO customers SELECT 'c-9', name, version, doc FROM customers LIMIT 1", "customers", (0, 1, 0)),
        ("UPDATE orders SET total = total + 1 WHERE order_id = 'o-1'", "orders", (0, 0, 1)),
        ("UPDATE orders SET doc = doc::jsonb || '{\"carrier\": null}' WHERE order_id = 'o-1'", "orders", (0, 0, 1)),
        ("UPDATE price_history SET at = at + interval '1 microsecond'", "price_history", (0, 0, 3)),
        ("TRUNCATE history", "history", (sum(len(one.events) for one in story()), 0, 0)),
    ],
)
async def test_a_damaged_table_is_found(summary: Pair, damage: str, part: str, counts: tuple[int, int, int]) -> None:
    await summary.hurt(damage)
    found = unequal(await summary.compare())
    assert [*found] == [part]
    assert (found[part].missing, found[part].extra, found[part].different) == counts
    assert len(found[part].samples) == min(5, sum(counts))


async def test_a_sample_names_the_row_and_what_differs_in_it(summary: Pair) -> None:
    await summary.hurt(
        "UPDATE orders SET status = 'lost', doc = doc::jsonb || '{\"carrier\": \"UPS\"}' WHERE order_id = 'o-1'"
    )
    found = unequal(await summary.compare(sample=1))
    (sample,) = found["orders"].samples
    assert (sample.key, sample.kind) == ("o-1", "different")
    assert {one.column: one.values for one in sample.differences} == {
        "status": ("lost", "shipped"),
        "doc.carrier": ("UPS", "DHL"),
    }


async def test_a_generation_from_before_documents_were_kept_as_they_came_is_equal_and_goes_on(summary: Pair) -> None:
    await summary.hurt("ALTER TABLE orders ALTER doc TYPE jsonb; ALTER TABLE history ALTER data TYPE jsonb")
    await summary.rebuilt.close()  # it connects anew, and learns the types that the columns have now
    assert unequal(await summary.compare()) == {}
    steps = [
        Commit([shop.run("orders/o-9", shop.placed("o-9"))]),
        Commit([shop.run("orders/o-9", shop.paid("o-9"), expected=1)]),
    ]
    many = Commit([shop.run(f"orders/many-{number}", shop.placed(f"many-{number}")) for number in range(30)])
    for step in (*steps, many):
        await summary.live.commit(step)
        await summary.rebuilt.commit(step)
    found = await summary.compare()
    assert unequal(found) == {}
    assert found.positions.equal
    await summary.hurt(
        "UPDATE history SET data = data || '{\"amount\": 1}' WHERE type = 'orders.order-paid' AND stream = 'orders/o-9'"
    )
    (part,) = unequal(await summary.compare()).values()
    assert (part.name, part.different) == ("history", 1)


async def test_words_that_search_goes_by_are_compared(search: Pair) -> None:
    await search.hurt("UPDATE orders SET terms = to_tsvector('x') WHERE order_id = 'o-1'")
    assert [*unequal(await search.compare())] == ["orders"]


@pytest.mark.usefixtures("hurried")
async def test_a_position_that_was_rolled_back_is_behind(pair: Pair) -> None:
    if isinstance(pair.inside, Redis):
        await pair.inside.hset(f"{pair.names[1]}:positions", "orders/o-1", "1")
    else:
        await pair.hurt("UPDATE positions SET applied = 1 WHERE stream = 'orders/o-1'")
    positions = (await pair.compare()).positions
    assert (positions.behind, positions.ahead) == (1, 0)
    assert [(one.stream, one.applied) for one in positions.samples] == [("orders/o-1", (1, 3))]


@pytest.mark.usefixtures("hurried")
async def test_a_generation_far_behind_is_said_to_be_so_and_not_compared(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_comparison, "MAX_DIFFERING", 3)
    monkeypatch.setattr(redis_comparison, "MAX_DIFFERING", 3)
    monkeypatch.setattr(redis_positions, "MAX_DIFFERING", 3)
    for advance in event_by_event([shop.run(f"orders/x-{i}", shop.placed(f"x-{i}")) for i in range(6)]):
        await pair.live.commit(Commit([advance]))
    found = await pair.compare()
    assert found.parts == []
    assert "are at different versions" in (found.note or "")
    assert found.positions.behind > 3
    assert not found.positions.equal


async def test_columns_and_tables_of_only_one_generation_are_named_and_the_common_ones_compared(summary: Pair) -> None:
    await summary.hurt('ALTER TABLE orders ADD COLUMN gift boolean; CREATE TABLE "Odd ""name" (id text PRIMARY KEY)')
    await summary.hurt("ALTER TABLE orders ADD COLUMN old text", generation=1)
    found = await summary.compare()
    assert unequal(found) == {}
    parts = {part.name: part for part in found.parts}
    assert parts["orders"].columns_only == (["gift"], ["old"])
    assert "only" in (parts['Odd "name'].note or "")
    await summary.hurt("UPDATE orders SET status = 'x', gift = true WHERE order_id = 'o-1'")
    (sample,) = unequal(await summary.compare())["orders"].samples
    assert [one.column for one in sample.differences] == ["status"]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("damage", "part", "counts"),
    [
        (("HINCRBY", "hour:EUR", "2026033112:revenue", 1), "hour", (0, 0, 1)),
        (("HDEL", "day:EUR", "20260331:orders"), "day", (0, 0, 1)),
        (("DEL", "day:EUR"), "day", (0, 0, 3)),
        (("ZINCRBY", "units:all", 1, "p-1"), "units", (0, 0, 1)),
        (("ZREM", "sales:EUR:202603", "p-2"), "sales", (1, 0, 0)),
        (("DEL", "buyers:all"), "buyers", (2, 0, 0)),
        (("HSET", "buyers:all", "c-9", "1"), "buyers", (0, 1, 0)),
        (("SADD", "currencies", "XXX"), "currencies", (0, 1, 0)),
        (("ZADD", "days", 20260401, "20260401"), "days", (0, 1, 0)),
        (("HSET", "names", "p-1", "Pear"), "names", (0, 0, 1)),
        (("SET", "stray", "1"), "stray", (0, 1, 0)),
        (("HSET", "units:20990101", "a", "1"), "units", (0, 1, 0)),
    ],
)
async def test_a_damaged_key_is_found(
    analytics: Pair, damage: tuple[str, ...], part: str, counts: tuple[int, int, int]
) -> None:
    command, key, *rest = damage
    await analytics.inside.execute_command(command, f"{analytics.names[1]}:{key}", *rest)
    found = unequal(await analytics.compare())
    assert [*found] == [part]
    assert (found[part].missing, found[part].extra, found[part].different) == counts
    assert len(found[part].samples) == sum(counts)


async def test_a_counter_that_is_not_there_stands_at_zero(analytics: Pair) -> None:
    await analytics.inside.hset(f"{analytics.names[1]}:hour:EUR", "2026010100:orders", "0")
    assert unequal(await analytics.compare()) == {}


async def test_keys_of_many_members_are_walked_through_to_the_end(analytics: Pair) -> None:
    key = f"{analytics.names[0]}:names", f"{analytics.names[1]}:names"
    many = {f"p-{number}": f"name {number}" for number in range(5000)}
    for one in key:
        await analytics.inside.hset(one, mapping=many)
    assert unequal(await analytics.compare()) == {}
    await analytics.inside.hset(key[1], "p-4711", "another")
    await analytics.inside.hdel(key[1], "p-13")
    await analytics.inside.hset(key[1], "p-5001", "more")
    names = unequal(await analytics.compare())["names"]
    assert (names.missing, names.extra, names.different) == (1, 1, 1)


async def test_a_generation_that_is_gone_is_no_outage(summary: Pair) -> None:
    with pytest.raises(GenerationGoneError):
        await summary.store.compare(3, 1, 5)


async def test_of_a_table_that_no_descriptor_describes_what_may_be_moving_is_undecided(summary: Pair) -> None:
    for generation in (1, 2):
        await summary.hurt("CREATE TABLE notes (note text PRIMARY KEY)", generation)
    await summary.hurt("INSERT INTO notes VALUES ('one')")
    await summary.live.commit(Commit([shop.run("orders/o-3", shop.paid("o-3"), expected=1)]))
    parts = {part.name: part for part in (await summary.compare()).parts}
    assert (parts["notes"].equal, parts["notes"].undecided) == (True, 1)
    await summary.rebuilt.commit(Commit([shop.run("orders/o-3", shop.paid("o-3"), expected=1)]))
    assert [*unequal(await summary.compare())] == ["notes"]


@pytest.mark.parametrize("projection", ["summary", "search"])
async def test_every_statement_can_be_prepared(projection: str, summary: Pair, search: Pair) -> None:
    pair = summary if projection == "summary" else search
    async with pair.inside.transaction():
        await pair.inside.execute(stores.SET_SEARCH_PATH, pair.names[0])
        for statement in statements("deploy.compare").values():
            await pair.inside.prepare(statement)


@pytest.mark.usefixtures("hurried")
async def test_a_stream_that_is_held_in_one_is_shown_with_what_holds_it(pair: Pair) -> None:
    await pair.live.commit(Commit([shop.run("orders/o-3", shop.paid("o-3"), expected=1)]))
    hold = Hold(HoldStatus.DEAD, 2, 2, 4, "projection-failed", "boom", "print", shop.NOON, shop.NOON, None)
    await pair.rebuilt.commit(Commit(holds={"orders/o-3": hold}))
    positions = (await pair.compare()).positions
    assert positions.held == (1, 0)
    assert [one.held for one in positions.samples] == [("dead: projection-failed", None)]
    assert not positions.equal


async def test_of_kinds_that_not_both_have_no_positions_are_compared(analytics: Pair, summary: Pair) -> None:
    left = [shop.run(f"customers/left-{number}", shop.registered(f"left-{number}")) for number in range(20)]
    for pair in (analytics, summary):
        await pair.live.commit(Commit(left))
        positions = (await pair.compare()).positions
        assert (positions.equal, positions.behind) == (False, len(left))
        found = await pair.store.compare(2, 1, 5, ["orders", "products"])
        assert (found.positions.equal, found.positions.behind, found.positions.samples) == (True, 0, [])
        assert {part.name for part in found.parts if not part.equal} <= {"customers", "history"}
        assert not any(part.undecided for part in found.parts)
