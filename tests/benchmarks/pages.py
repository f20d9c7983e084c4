"""``python -m tests.benchmarks.pages``: pages and dashboards beside the joins that they would be in a normalised schema, as JSON.

    normalised.sql ──▶ the same shop in eleven tables ──joins──▶ the yardstick, by SQL over one connection
          └─▶ events ──projectors' fold and write──▶ read stores ──query service──▶ ours, over HTTP

Same data, server and run; on samples, both must give the same figures. A product's page is asked for as often as the product is
bought: a few products have most of the views, and most of the cost. Smaller sizes (``--products``, ``--lines``) give smaller ratios, as
joins grow with the data and pages do not. Filling takes long where measuring does not, and wants no quiet machine: ``--fill DIR`` and
``--measure DIR`` do one of the two, by servers whose data stay in that folder.

``order_latency``: orders at a fixed rate on a system of their own, idle and while ten dashboards are read as fast as they answer, in turns.
Twice: of a query service at equal priority, and of one at a lower (``TIDEMARK_QUERY_NICE``). The readers stand for other machines, and run
at the lowest priority. Servers are its own.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil
import redis.asyncio as redis
import uvloop

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers import postgres
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers, provide
from tests.benchmarks import normalised
from tests.benchmarks.measuring import server_pids
from tests.benchmarks.normalised import Normalised
from tests.benchmarks.order_latency import order_latency
from tests.benchmarks.shop_events import fill
from tests.benchmarks.side_by_side import Client, Joins, checked, compared, url
from tests.e2e.system import own_servers

VIEWS: Final = 200
REPEATED: Final = 5
QUESTIONS: Final = 30
CLASSES: Final = (10, 1_000, 100_000)
YARDSTICK_RUNS: Final = 3
ASKED: Final = 200
YEAR: Final = {"from": "2026-01-01", "to": "2027-01-01", "granularity": "day", "currency": "EUR"}
RATED: Final = 4
FILLING: Final = {
    **{name: "off" for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")},
    **{"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "16GB", "shared_buffers": "1GB"},
}
"""Settings of PostgreSQL while it is filled."""


def page_of(product_id: int) -> str:
    return f"/products/product-{product_id}/page"


async def product_pages(joins: Joins, kept: Client, unkept: Client) -> dict[str, Any]:
    views = [row[0] for row in await joins.connection.fetch(normalised.POPULAR, VIEWS)]
    theirs, rows = await joins.ask(normalised.PRODUCT_PAGE, [(one,) for one in views])
    paths = list(map(page_of, views[: len(rows)]))
    without, bodies = unkept.ask(paths)
    checked(check_page, rows, bodies)
    checked(check_page, rows, kept.ask(paths)[1])
    found: dict[str, Any] = {
        "what": f"{len(paths)} views by popularity, {REPEATED} times each by us",
        **compared(theirs, kept.ask(paths * REPEATED)[0]),
        "ours_with_TIDEMARK_CACHE_off": without.report(),
    }
    await joins.connection.execute(normalised.COUNT_ORDERS)
    for orders in CLASSES:
        (row,) = await joins.connection.fetch(normalised.IN_ORDERS, orders)
        id_ = row["product_id"]
        theirs, rows = await joins.ask(normalised.PRODUCT_PAGE, [(id_,)] * YARDSTICK_RUNS)
        without, bodies = unkept.ask([page_of(id_)] * len(rows))
        checked(check_page, rows, bodies)
        mine, _ = kept.ask([page_of(id_)] * ASKED)
        name = f"of_a_product_in_{row['orders']}_orders"
        found[name] = compared(theirs, mine) | {"ours_with_TIDEMARK_CACHE_off": without.report()}
    return found


def check_page(row: asyncpg.Record, body: bytes) -> None:
    page = json.loads(body)
    for name in ("name", "description", "category", "brand", "currency", "stock"):
        assert page[name] == row[name], (name, page[name], row[name])
    average = round(row["rated"] / row["number"], 2) if row["number"] else None
    assert (page["review_count"], page["rating_average"]) == (row["number"], average), page["product_id"]
    assert [one["sku"] for one in page["variants"]] == sorted(json.loads(row["variants"]), reverse=True)
    assert [one["price"] for one in page["price_history"]] == json.loads(row["prices"])
    related = [[int(one["product_id"].removeprefix("product-")), one["orders"], one["name"]] for one in page["related"]]
    assert related == json.loads(row["related"] or "[]"), page["product_id"]


async def searches(joins: Joins, client: Client) -> dict[str, Any]:
    """By a rarer word (the noun of a name) and by a commoner one (the adjective), with all filters, the cheapest first."""
    found: dict[str, Any] = {}
    filters = {"min_price": 1000, "max_price": 8000, "min_rating": RATED, "available": "true", "sort": "price"}
    for name, place in (("rare_word", 2), ("common_word", 1)):
        words = [row[0] for row in await joins.connection.fetch(normalised.WORDS, QUESTIONS, place)]
        categories = [f"Category {1 + number}" if number % 3 == 0 else None for number in range(len(words))]
        asked = list(zip(words, categories, strict=True))
        theirs, rows = await joins.ask(normalised.SEARCH, [(*one, 1000, 8000, RATED) for one in asked])
        paths = [
            url("/search/products", q=f"{word} ", **filters, **({"category": category} if category else {}))
            for word, category in asked[: len(rows)]
        ]
        checked(check_hits, rows, client.ask(paths)[1])
        totals = [row["total"] for (row,) in rows]
        found[name] = compared(theirs, client.ask(paths * REPEATED)[0]) | {"matches": [min(totals), max(totals)]}
    return found


def check_hits(row: asyncpg.Record, body: bytes) -> None:
    found = json.loads(body)
    assert found["total"] == row["total"], (found["total"], row["total"])
    assert [hit["product_id"] for hit in found["items"]] == [f"product-{one}" for one in row["ids"]]
    for facet, column in (("category", "categories"), ("brand", "brands")):
        counts = json.loads(row[column] or "{}")
        assert len(counts) > 100 or {one["value"]: one["count"] for one in found["facets"][facet]} == counts


async def dashboards(joins: Joins, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    month = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    asked: list[tuple[str, str, tuple[object, ...], str, Callable[[Sequence[asyncpg.Record], dict[str, Any]], None]]]
    asked = [
        ("revenue_by_day", normalised.REVENUE, (), url("/analytics/revenue", **YEAR), check_revenue),
        ("top_products", normalised.TOP_PRODUCTS, (), url("/analytics/top-products", by="units", limit=10), check_top),
        *(
            (
                f"report_by_{by}",
                normalised.REPORT,
                (*month, by),
                url("/analytics/report", month="2026-03", by=by),
                check_report,
            )
            for by in ("region", "category")
        ),
    ]
    for name, statement, arguments, path, check in asked:
        theirs, rows = await joins.ask(statement, [arguments] * YARDSTICK_RUNS)
        mine, bodies = client.ask([path] * ASKED)
        check(rows[0], json.loads(bodies[0]))
        found[name] = compared(theirs, mine)
    return found


def check_revenue(rows: Sequence[asyncpg.Record], body: dict[str, Any]) -> None:
    ours = {one["start"]: (one["orders"], one["items"], one["revenue"]) for one in body["buckets"] if one["orders"]}
    assert ours == {day(row["start"]): (row["orders"], row["items"], row["revenue"]) for row in rows}


def check_top(rows: Sequence[asyncpg.Record], body: dict[str, Any]) -> None:
    assert [(one["product_id"], one["name"], one["units"]) for one in body["items"]] == [
        (f"product-{row['product_id']}", row["name"], row["units"]) for row in rows
    ]


def check_report(rows: Sequence[asyncpg.Record], body: dict[str, Any]) -> None:
    names = ("key", "orders", "items", "revenue", "customers")
    assert [[one[name] for name in names] for one in body["rows"]] == [[row[name] for name in names] for row in rows]


def day(start: datetime) -> str:
    return start.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")


@asynccontextmanager
async def query_services(servers: Servers) -> AsyncIterator[tuple[Client, Client]]:
    """One that keeps answers, and one that does not."""
    async with query_service(servers, "on") as kept, query_service(servers, "off") as unkept:
        yield kept, unkept


@asynccontextmanager
async def query_service(servers: Servers, cache: str) -> AsyncIterator[Client]:
    port = free_port()
    environment = {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_CACHE": cache, "TIDEMARK_LOG_LEVEL": "ERROR"}
    async with Supervisor(output=None) as supervisor:
        await supervisor.start([program("query", servers, os.environ | environment)])
        yield Client(port, [supervisor.pid("query"), *stores(servers)])


def stores(servers: Servers) -> list[int]:
    """The processes of PostgreSQL and Redis."""
    pids = server_pids(servers)
    return [pids["postgres"], pids["redis"]]


async def vacuum(servers: Servers) -> None:
    for name in ("summary", "search"):
        connection = await asyncpg.connect(servers.stores[name])
        await connection.execute("VACUUM ANALYZE")
        await connection.close()


async def sizes_of(servers: Servers) -> dict[str, int]:
    """The read stores, in MiB."""
    sizes = {}
    for name in ("summary", "search"):
        connection = await asyncpg.connect(servers.stores[name])
        sizes[name] = await connection.fetchval(SCHEMA_SIZE, name) >> 20
        await connection.close()
    server = redis.from_url(servers.stores["analytics"])
    sizes["analytics"] = (await server.info("memory"))["used_memory"] >> 20
    await server.aclose()
    return sizes


SCHEMA_SIZE: Final = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r'
"""


def say(what: str) -> None:
    print(f"{time.strftime('%X')}  {what}", file=sys.stderr, flush=True)


async def fill_servers(servers: Servers, products: int, lines: int) -> dict[str, Any]:
    """How long it took, in seconds."""
    began = time.monotonic()
    await migrate(settings_for(servers))
    shop = await Normalised.filled(servers.stores["summary"], products, lines)
    await shop.connection.close()
    normalised_s = time.monotonic() - began
    say("the normalised shop is there")
    await fill(servers)
    await vacuum(servers)
    say("the read stores are filled")
    return {"normalised_s": round(normalised_s), "all_s": round(time.monotonic() - began)}


async def pages(servers: Servers) -> dict[str, Any]:
    """Of servers that are filled."""
    shop = await Normalised.opened(servers.stores["summary"])
    joins = Joins(shop.connection, stores(servers))
    async with query_services(servers) as (kept, unkept):
        found = {"product_page": await product_pages(joins, kept, unkept)}
        say(f"product pages: {json.dumps(found['product_page'])}")
        found["search"] = await searches(joins, kept)
        say(f"search: {json.dumps(found['search'])}")
        found["dashboard"] = await dashboards(joins, kept)
        say(f"dashboards: {json.dumps(found['dashboard'])}")
    sizes = {"normalised": await shop.value(normalised.SIZE) >> 20, **await sizes_of(servers)}
    lines = await shop.value("SELECT count(*) FROM order_lines")
    await shop.connection.close()
    counts = {"products": shop.products, "orders": shop.orders, "lines": lines, "reviews": shop.products * 3}
    return {"data": counts, "mib": sizes, **found}


@contextmanager
def folder_for_servers(given: Path | None) -> Iterator[Path]:
    """A temporary one, if none is given."""
    folder = given or Path(tempfile.mkdtemp(prefix="pages-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user has to get through it
    try:
        yield folder
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def filling_servers(folder: Path) -> Iterator[Servers]:
    """They write nothing safely; what they have written when they end, they have."""
    usual = dict(postgres.SETTINGS)
    postgres.SETTINGS.update(FILLING)
    try:
        with provide(folder) as servers:
            yield servers
    finally:
        postgres.SETTINGS.clear()
        postgres.SETTINGS.update(usual)


def main() -> int:
    parser = argparse.ArgumentParser(prog="pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--products", type=int, default=20_000, help="default 20,000; promised for 1,000,000")
    parser.add_argument("--lines", type=int, default=200_000, help="default 200,000; promised for 10,000,000")
    parser.add_argument("--only", choices=("pages", "latency"), help="only this part")
    parser.add_argument("--fill", type=Path, metavar="DIR", help="only fill servers, whose data stay in this folder")
    parser.add_argument(
        "--measure", type=Path, metavar="DIR", help="only measure pages, of servers that --fill has filled"
    )
    arguments = parser.parse_args()
    os.environ["TIDEMARK_SERVERS"] = "private"
    report: dict[str, Any] = {
        "machine": {"cores": psutil.cpu_count(), "memory_gib": psutil.virtual_memory().total >> 30},
        "load_average_before": [round(load, 2) for load in psutil.getloadavg()],
    }
    if arguments.only != "latency":
        with folder_for_servers(arguments.fill or arguments.measure) as folder:
            if not arguments.measure:
                with filling_servers(folder) as servers:
                    sizes = arguments.products, arguments.lines
                    report["filling"] = uvloop.run(fill_servers(servers, *sizes))
            if not arguments.fill:
                with provide(folder) as servers:
                    report |= uvloop.run(pages(servers))
    if arguments.only != "pages" and not arguments.fill and not arguments.measure:
        with own_servers() as servers:
            report["order_latency"] = uvloop.run(order_latency(servers))
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
