"""All damage done by hand is found, with its kind and place, and nothing else is reported."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from deploy.verify import event_store
from deploy.verify.findings import Kind
from projectors.stores.port import Commit, Hold, HoldStatus
from shared.contracts.orders import Line
from shared.contracts.values import MAX_AMOUNT
from tests import shop
from tests.integration.verify.dataset import QUICK, STREAMS, Dataset

Found = set[tuple[str, Kind, str]]
Damage = Callable[[Dataset], Awaitable[Any]]

K = "analytics_77"


async def found(dataset: Dataset, *projections: str) -> Found:
    report = await dataset.verify(*projections)
    assert report.equal == (not report.findings)
    return {(one.projection, one.kind, one.place) for one in report.findings}


async def test_an_undamaged_dataset_is_equal(dataset: Dataset) -> None:
    report = await dataset.verify()
    assert report.equal, report.findings
    assert (report.tally.streams, report.tally.compared) == (STREAMS, STREAMS)


SUMMARY: dict[str, tuple[str, Kind, str]] = {
    "an order's row": ("DELETE FROM orders WHERE order_id = 'o-4'", Kind.DIFFERENT, "orders/o-4"),
    "an indexed column": ("UPDATE orders SET total = total + 1 WHERE order_id = 'o-5'", Kind.DIFFERENT, "orders/o-5"),
    "a document": (
        "UPDATE orders SET doc = jsonb_set(doc::jsonb, '{lines,0,amount}', '1') WHERE order_id = 'o-6'",
        Kind.DIFFERENT,
        "orders/o-6",
    ),
    "a field too many": (
        "UPDATE customers SET doc = doc || '{\"note\": null}' WHERE customer_id = 'c-1'",
        Kind.DIFFERENT,
        "customers/c-1",
    ),
    "a product": ("UPDATE products SET category = 'Veg' WHERE product_id = 'p-1'", Kind.DIFFERENT, "products/p-1"),
    "a price": ("UPDATE price_history SET price = 1 WHERE product_id = 'p-2'", Kind.DIFFERENT, "products/p-2"),
    "a line of history": ("UPDATE history SET data = '{}' WHERE stream = 'orders/o-7'", Kind.DIFFERENT, "orders/o-7"),
    "an actor": ("UPDATE history SET actor = 'x' WHERE stream = 'orders/o-7'", Kind.DIFFERENT, "orders/o-7"),
    "an actor in the audit": (
        "UPDATE user_audit SET actor = NULL WHERE actor IS NOT NULL",
        Kind.DIFFERENT,
        "users/u-1",
    ),
    "what was before": (
        "UPDATE user_audit SET before = '{}' WHERE user_id = 'u-2' AND version = 2",
        Kind.DIFFERENT,
        "users/u-2",
    ),
    "a role": ("UPDATE users SET role = 'x' WHERE user_id = 'u-1'", Kind.DIFFERENT, "users/u-1"),
    "history forgotten": ("DELETE FROM history WHERE stream = 'orders/o-8'", Kind.DIFFERENT, "orders/o-8"),
    "history invented": (
        "INSERT INTO history VALUES ('orders/o-9', 2, 'x', now(), '{}')",
        Kind.DIFFERENT,
        "orders/o-9",
    ),
    "a position forgotten": ("DELETE FROM positions WHERE stream = 'orders/o-10'", Kind.MISSING, "orders/o-10"),
    "a position set back": ("UPDATE positions SET applied = 2 WHERE stream = 'orders/o-1'", Kind.BEHIND, "orders/o-1"),
    "a position ahead": ("UPDATE positions SET applied = 9 WHERE stream = 'orders/o-11'", Kind.AHEAD, "orders/o-11"),
    "a stray row": ("INSERT INTO customers VALUES ('ghost', 'Ghost', 1, '{}')", Kind.STRAY, "customers/ghost"),
    "stray history": ("INSERT INTO history VALUES ('orders/ghost', 1, 'x', now(), '{}')", Kind.STRAY, "orders/ghost"),
    "a stray price": ("INSERT INTO price_history VALUES ('ghost', 1, 1, 'EUR', now())", Kind.STRAY, "products/ghost"),
    "a stray position": ("INSERT INTO positions VALUES ('orders/lost', 3)", Kind.STRAY, "orders/lost"),
}
SEARCH: dict[str, tuple[str, Kind, str]] = {
    "terms": (
        "UPDATE orders SET terms = to_tsvector('simple', 'x') WHERE order_id = 'o-4'",
        Kind.DIFFERENT,
        "orders/o-4",
    ),
    "unnamed products": ("UPDATE orders SET unnamed = '{}' WHERE order_id = 'o-5'", Kind.DIFFERENT, "orders/o-5"),
    "a status": ("UPDATE orders SET status = 'paid' WHERE order_id = 'o-6'", Kind.DIFFERENT, "orders/o-6"),
    "a name": ("UPDATE customers SET name = 'Eve' WHERE customer_id = 'c-1'", Kind.DIFFERENT, "customers/c-1"),
    "a product": ("DELETE FROM products WHERE product_id = 'p-2'", Kind.DIFFERENT, "products/p-2"),
    "a stray": (
        "INSERT INTO products (product_id, name, category, price, currency, version) VALUES ('g', 'g', 'g', 1, 'EUR', 1)",
        Kind.STRAY,
        "products/g",
    ),
    "a stray position": ("INSERT INTO positions VALUES ('orders/lost', 3)", Kind.STRAY, "orders/lost"),
}


async def test_every_damage_to_the_tables_is_found(dataset: Dataset) -> None:
    for connection, damages in ((dataset.summary, SUMMARY), (dataset.search, SEARCH)):
        for statement, _, _ in damages.values():
            assert (await connection.execute(statement)).endswith(" 1")
    expected = {("summary", kind, place) for _, kind, place in SUMMARY.values()}
    expected |= {("search", kind, place) for _, kind, place in SEARCH.values()}
    # The content of these two does not match their positions.
    expected |= {("summary", Kind.DIFFERENT, "orders/o-10"), ("summary", Kind.DIFFERENT, "orders/o-1")}
    assert await found(dataset, "summary", "search") == expected


async def test_in_rows_older_than_terms_all_other_columns_are_compared(dataset: Dataset) -> None:
    await dataset.search.execute("UPDATE orders SET terms = NULL, words = to_tsvector('simple', 'banana')")
    await dataset.search.execute("UPDATE products SET terms = NULL")
    await dataset.search.execute("UPDATE customers SET terms = NULL")
    assert await found(dataset, "search") == set()
    await dataset.search.execute("UPDATE orders SET total = total + 1 WHERE order_id = 'o-5'")
    await dataset.search.execute("UPDATE products SET name = 'x' WHERE product_id = 'p-1'")
    assert await found(dataset, "search") == {
        ("search", Kind.DIFFERENT, "orders/o-5"),
        ("search", Kind.DIFFERENT, "products/p-1"),
    }


async def test_a_difference_names_its_columns_and_fields(dataset: Dataset) -> None:
    await dataset.summary.execute(
        "UPDATE orders SET doc = doc::jsonb || '{\"total\": 1}', total = 2 WHERE order_id = 'o-4'"
    )
    report = await dataset.verify("summary")
    (finding,) = report.findings
    assert finding.detail["columns"] == {
        "total": {"expected": 500, "found": 2},
        "doc.total": {"expected": 500, "found": 1},
    }


ANALYTICS: dict[str, tuple[list[Any], Kind, str]] = {
    "a counter by one": (
        ["HINCRBY", f"{K}:hour:EUR", "2026033112:orders", 1],
        Kind.DIFFERENT,
        f"{K}:hour:EUR 2026033112:orders",
    ),
    "a day's counter": (
        ["HDEL", f"{K}:day:USD", "20260330:cancelled"],
        Kind.DIFFERENT,
        f"{K}:day:USD 20260330:cancelled",
    ),
    "a field too many": (["HSET", f"{K}:day:EUR", "19990101:orders", 0], Kind.STRAY, f"{K}:day:EUR 19990101:orders"),
    "units of a day": (["ZINCRBY", f"{K}:units:20260331", 1, "p-1"], Kind.DIFFERENT, f"{K}:units:20260331 p-1"),
    "units of a month": (["ZREM", f"{K}:units:202602", "p-1"], Kind.DIFFERENT, f"{K}:units:202602 p-1"),
    "sales of all time": (["ZADD", f"{K}:sales:EUR:all", 5, "p-2"], Kind.DIFFERENT, f"{K}:sales:EUR:all p-2"),
    "a member too many": (["ZADD", f"{K}:sales:EUR:all", 5, "ghost"], Kind.STRAY, f"{K}:sales:EUR:all ghost"),
    "a member at zero": (["ZADD", f"{K}:units:202603", 0, "ghost"], Kind.STRAY, f"{K}:units:202603 ghost"),
    "a buyer": (["HINCRBY", f"{K}:buyers:all", "c-2", 1], Kind.DIFFERENT, f"{K}:buyers:all c-2"),
    "a stray buyer": (["HSET", f"{K}:buyers:202603", "ghost", 1], Kind.STRAY, f"{K}:buyers:202603 ghost"),
    "a currency": (["SREM", f"{K}:currencies", "USD"], Kind.DIFFERENT, f"{K}:currencies USD"),
    "a day": (["ZREM", f"{K}:days", "20260330"], Kind.DIFFERENT, f"{K}:days 20260330"),
    "a name": (["HSET", f"{K}:names", "p-1", "Apple"], Kind.DIFFERENT, f"{K}:names p-1"),
    "a line's name": (["HSET", f"{K}:line-names", "p-1", "Banana"], Kind.DIFFERENT, f"{K}:line-names p-1"),
    "a stray line's name": (["HSET", f"{K}:line-names", "p-9", "X"], Kind.STRAY, f"{K}:line-names p-9"),
    "a key too many": (["SET", f"{K}:units:20200101:x", "1"], Kind.STRAY, f"{K}:units:20200101:x"),
    "sales in a region": (
        ["HINCRBY", f"{K}:by-region:EUR:202603", "revenue:R1", 1],
        Kind.DIFFERENT,
        f"{K}:by-region:EUR:202603 revenue:R1",
    ),
    "orders in a category": (
        ["HDEL", f"{K}:by-category:EUR:20260331", "orders:Fruit 1"],
        Kind.DIFFERENT,
        f"{K}:by-category:EUR:20260331 orders:Fruit 1",
    ),
    "a category that sold nothing": (
        ["HSET", f"{K}:by-category:EUR:202603", "orders:Soap", 1],
        Kind.STRAY,
        f"{K}:by-category:EUR:202603 orders:Soap",
    ),
    "a buyer in a region": (
        ["HDEL", f"{K}:region-buyers:EUR:202603", "c-1 R1"],
        Kind.DIFFERENT,
        f"{K}:region-buyers:EUR:202603 c-1 R1",
    ),
    "a position ahead": (["HSET", f"{K}:positions", "orders/o-4", 3], Kind.AHEAD, "orders/o-4"),
    "a stray position": (["HSET", f"{K}:positions", "orders/ghost", 1], Kind.STRAY, "orders/ghost"),
    "due and not held": (["ZADD", f"{K}:due", 1, "orders/o-4"], Kind.STRAY, f"{K}:due orders/o-4"),
    "due and unknown": (["ZADD", f"{K}:due", 1, "orders/unknown"], Kind.STRAY, f"{K}:due orders/unknown"),
}


async def test_every_damage_to_the_figures_is_found(dataset: Dataset) -> None:
    for command, _, _ in ANALYTICS.values():
        await dataset.redis.execute_command(*command)
    assert await found(dataset, "analytics") == {("analytics", kind, place) for _, kind, place in ANALYTICS.values()}


async def test_a_due_stream_is_a_stray_only_if_it_is_not_held(dataset: Dataset) -> None:
    await dataset.append_events({"orders/o-40": [shop.placed("o-40")]})
    hold = Hold(HoldStatus.RETRYING, 1, 1, 1, "projection-failed", "", "", shop.NOON, shop.NOON, due_at=shop.NOON)
    await dataset.stores["analytics"].commit(Commit([], holds={"orders/o-40": hold}))
    await dataset.redis.zadd(dataset.keys.due, {"orders/o-5": 1})
    for options in (QUICK, replace(QUICK, content=False)):
        report = await dataset.verify("analytics", options=options)
        found = {(one.kind, one.place): one.detail for one in report.findings}
        assert set(found) == {(Kind.HELD, "orders/o-40"), (Kind.STRAY, f"{K}:due orders/o-5")}
        assert found[Kind.STRAY, f"{K}:due orders/o-5"] == {"key": f"{K}:due", "member": "orders/o-5", "found": 1.0}


async def test_missing_keys_and_keys_of_another_type_are_found(dataset: Dataset) -> None:
    layout = dataset.keys
    await dataset.redis.delete(layout.units("20260330"), layout.buyers("all"), layout.units("all"), layout.line_names)
    await dataset.redis.set(layout.units("all"), "17")
    assert await found(dataset, "analytics") == {
        ("analytics", Kind.DIFFERENT, f"{K}:units:20260330 p-1"),
        ("analytics", Kind.DIFFERENT, f"{K}:units:20260330 p-2"),
        ("analytics", Kind.DIFFERENT, f"{K}:buyers:all c-1"),
        ("analytics", Kind.DIFFERENT, f"{K}:buyers:all c-2"),
        ("analytics", Kind.DIFFERENT, f"{K}:units:all"),
        ("analytics", Kind.DIFFERENT, f"{K}:line-names p-1"),
    }


async def test_a_figure_position_set_back_makes_the_figures_wrong_too(dataset: Dataset) -> None:
    await dataset.redis.hset(dataset.keys.positions, "orders/o-2", 1)
    kinds = {(kind, place) for _, kind, place in await found(dataset, "analytics")}
    assert (Kind.BEHIND, "orders/o-2") in kinds
    assert (Kind.DIFFERENT, f"{K}:day:USD 20260330:cancelled") in kinds


async def test_an_emptied_store_misses_every_stream_that_it_reads(dataset: Dataset) -> None:
    async for key in dataset.redis.scan_iter(f"{K}:*"):
        await dataset.redis.delete(key)
    report = await dataset.verify("analytics", limit=5)
    assert report.counts == {("analytics", Kind.MISSING): 31}
    assert len(report.findings) == 5


async def test_a_hole_in_the_event_store_itself_is_found(dataset: Dataset) -> None:
    await dataset.write.execute("DELETE FROM events WHERE stream = 'orders/o-1' AND version = 2")
    found_ = await found(dataset, "analytics")
    assert ("event store", Kind.DIFFERENT, "orders/o-1") in found_
    await dataset.write.execute("DELETE FROM streams WHERE stream = 'orders/o-4'")
    assert ("event store", Kind.STRAY, "orders/o-4") in await found(dataset, "summary")


async def test_a_figure_that_a_score_cannot_keep_is_verified_to_the_unit(dataset: Dataset) -> None:
    line = Line(product_id="p-9", quantity=1, amount=MAX_AMOUNT)
    streams = {f"orders/o-{n}": [shop.placed(f"o-{n}", lines=[line])] for n in range(50, 1080)}
    await dataset.append_events(streams)
    await dataset.apply(streams)
    assert await found(dataset, "analytics") == set()
    key, product = dataset.keys.sales("EUR", "all"), "p-9"
    exact = dataset.keys.exact_field(key, product)
    assert await dataset.redis.hget(dataset.keys.exact, exact) == str(1030 * MAX_AMOUNT)
    await dataset.redis.hset(dataset.keys.exact, exact, 1030 * MAX_AMOUNT + 1)
    assert await found(dataset, "analytics") == {("analytics", Kind.DIFFERENT, f"{key} {product}")}
    await dataset.redis.hdel(dataset.keys.exact, exact)
    assert await found(dataset, "analytics") == {("analytics", Kind.DIFFERENT, f"{key} {product}")}


async def test_rows_of_kinds_that_are_no_longer_read_are_ignored(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dataset's figures already contain positions of customers, as if analytics had read them once."""
    monkeypatch.setattr(event_store, "CHUNK_STREAMS", 1)
    hold = Hold(HoldStatus.DEAD, 1, 1, 4, "projection-failed", "", "", shop.NOON, shop.NOON, due_at=None)
    await dataset.append_events({"customers/c-9": [shop.registered("c-9")], "customers/c-8": [shop.registered("c-8")]})
    await dataset.apply({"customers/c-9": [shop.registered("c-9")]}, to="summary")
    await dataset.apply({"customers/c-8": [shop.registered("c-8")]}, to="summary")
    await dataset.stores["analytics"].commit(Commit([], holds={"customers/c-9": hold}))
    await dataset.redis.hset(dataset.keys.positions, mapping={"customers/ghost": 4, "customers/c-1": 9})
    assert await found(dataset, "summary", "analytics") == set()
    assert await found(dataset, "search") == {("search", Kind.MISSING, f"customers/c-{n}") for n in (8, 9)}


async def test_figures_by_region_that_older_code_did_not_keep_are_one_finding_that_says_what_to_do(
    dataset: Dataset,
) -> None:
    """Older code applies events without them: before an update, or beside it."""
    await dataset.redis.hincrby(dataset.keys.progress, "0:events_applied", 1)
    report = await dataset.verify("analytics")
    assert [(one.kind, one.place) for one in report.findings] == [(Kind.MISSING, "sales by region and category")]
    assert "tidemark projections rebuild analytics" in report.findings[0].detail["reason"]
    await dataset.redis.hincrby(dataset.keys.counted, "sales", 1)
    assert (await dataset.verify("analytics")).equal
