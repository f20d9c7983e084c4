"""``python -m tests.benchmarks.pages``: pages and dashboards beside the joins that they would be in a normalised schema, as JSON.

    normalised.sql ──▶ the same shop in eleven tables ──joins──▶ the yardstick, by SQL over one connection
          └─▶ events ──projectors' fold and write──▶ read stores ──query service──▶ ours, over HTTP

Same data, server and run; on samples, both must give the same figures. A product's page is asked for as often as the product is
bought: a few products have most of the views, and most of the cost. Smaller sizes (``--products``, ``--lines``) give smaller ratios, as
joins grow with the data and pages do not.

``order_latency``: orders at a fixed rate on a system of their own, idle and while ten dashboards are read as fast as they answer, in turns.
The query service and those readers run at a lower priority, since they would run on machines of their own. Servers are its own.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import psutil
import uvloop

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.outcomes import percentile
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers
from tests.benchmarks import normalised
from tests.benchmarks.normalised import Normalised
from tests.benchmarks.order_latency import order_latency
from tests.benchmarks.shop_events import fill
from tests.e2e.system import own_servers

VIEWS: Final = 200
REPEATED: Final = 5
QUESTIONS: Final = 30
CLASSES: Final = (10, 1_000, 100_000)
YARDSTICK_RUNS: Final = 3
ASKED: Final = 200
YEAR: Final = {"from": "2026-01-01", "to": "2027-01-01", "granularity": "day", "currency": "EUR"}
RATED: Final = 4


class Client:
    """One connection, kept open; the answers' bodies as they came."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str, **parameters: object) -> bytes:
        self._connection.request("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        return body

    def timed(self, path: str, **parameters: object) -> float:
        began = time.perf_counter()
        self.get(path, **parameters)
        return time.perf_counter() - began


def summary_of(seconds: Sequence[float]) -> dict[str, float]:
    def milliseconds(value: float | None) -> float:
        return round((value or 0.0) * 1000, 3)

    return {
        "mean_ms": milliseconds(sum(seconds) / len(seconds)),
        **{f"p{share}_ms": milliseconds(percentile(list(seconds), share / 100)) for share in (50, 99)},
        "count": len(seconds),
    }


def compared(joins: Sequence[float], ours: Sequence[float]) -> dict[str, Any]:
    yardstick, mine = summary_of(joins), summary_of(ours)
    ratios = {name: round(yardstick[name] / mine[name], 1) for name in ("mean_ms", "p50_ms", "p99_ms")}
    return {"joins": yardstick, "ours": mine, "ratio": {name.removesuffix("_ms"): one for name, one in ratios.items()}}


async def timed(shop: Normalised, statement: str, *arguments: object) -> tuple[float, list[asyncpg.Record]]:
    began = time.perf_counter()
    rows = await shop.connection.fetch(statement, *arguments)
    return time.perf_counter() - began, rows


async def product_pages(shop: Normalised, kept: Client, unkept: Client) -> dict[str, Any]:
    views = [row[0] for row in await shop.connection.fetch(normalised.POPULAR, VIEWS)]
    joins: list[float] = []
    for product_id in views:
        seconds, rows = await timed(shop, normalised.PRODUCT_PAGE, product_id)
        joins.append(seconds)
        check_page(rows[0], json.loads(kept.get(f"/products/product-{product_id}/page")))
    found: dict[str, Any] = {
        "what": f"{VIEWS} views by popularity, {REPEATED} times each by us",
        **compared(joins, [kept.timed(f"/products/product-{one}/page") for one in views * REPEATED]),
        "ours_with_TIDEMARK_CACHE_off": summary_of([unkept.timed(f"/products/product-{one}/page") for one in views]),
    }
    for orders in CLASSES:
        (row,) = await shop.connection.fetch(normalised.IN_ORDERS, orders)
        path = f"/products/product-{row['product_id']}/page"
        times = [(await timed(shop, normalised.PRODUCT_PAGE, row["product_id"]))[0] for _ in range(YARDSTICK_RUNS)]
        kept.get(path)
        found[f"of_a_product_in_{row['orders']}_orders"] = compared(times, [kept.timed(path) for _ in range(ASKED)]) | {
            "ours_with_TIDEMARK_CACHE_off": summary_of([unkept.timed(path) for _ in range(10)])
        }
    return found


def check_page(row: asyncpg.Record, page: dict[str, Any]) -> None:
    for name in ("name", "description", "category", "brand", "currency", "stock"):
        assert page[name] == row[name], (name, page[name], row[name])
    assert (page["review_count"], page["rating_average"]) == (row["number"], row["average"]), page["product_id"]
    assert [one["sku"] for one in page["variants"]] == sorted(json.loads(row["variants"]), reverse=True)
    assert [one["price"] for one in page["price_history"]] == json.loads(row["prices"])
    related = [[int(one["product_id"].removeprefix("product-")), one["orders"], one["name"]] for one in page["related"]]
    assert related == json.loads(row["related"] or "[]"), page["product_id"]


async def searches(shop: Normalised, client: Client) -> dict[str, Any]:
    """By a rarer word (the noun of a name) and by a commoner one (the adjective), with all filters, the best rated first."""
    found: dict[str, Any] = {}
    for name, place in (("rare_word", 2), ("common_word", 1)):
        words = [row[0] for row in await shop.connection.fetch(normalised.WORDS, QUESTIONS, place)]
        joins, ours, matches = [], [], []
        for number, word in enumerate(words):
            category = f"Category {1 + number}" if number % 3 == 0 else None
            seconds, rows = await timed(shop, normalised.SEARCH, word, category, 1000, 8000, float(RATED))
            joins.append(seconds)
            question: dict[str, object] = {"q": f"{word} ", "min_price": 1000, "max_price": 8000, "sort": "rating"}
            question |= {"min_rating": RATED, "available": "true"} | ({"category": category} if category else {})
            matches.append(check_hits(rows[0], json.loads(client.get("/search/products", **question))))
            ours += [client.timed("/search/products", **question) for _ in range(REPEATED)]
        found[name] = compared(joins, ours) | {"matches": {"least": min(matches), "most": max(matches)}}
    return found


def check_hits(row: asyncpg.Record, body: dict[str, Any]) -> int:
    assert body["matched"] == "words" or not row["total"], body["matched"]
    assert body["total"] == row["total"], (body["total"], row["total"])
    assert [hit["product_id"] for hit in body["items"]] == [f"product-{one}" for one in row["ids"]]
    for facet, column in (("category", "categories"), ("brand", "brands")):
        counts = json.loads(row[column] or "{}")
        assert len(counts) > 100 or {one["value"]: one["count"] for one in body["facets"][facet]} == counts
    return int(row["total"])


async def dashboards(shop: Normalised, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    times = [await timed(shop, normalised.REVENUE) for _ in range(YARDSTICK_RUNS)]
    buckets = json.loads(client.get("/analytics/revenue", **YEAR))["buckets"]
    ours = {one["start"]: (one["orders"], one["items"], one["revenue"]) for one in buckets if one["orders"]}
    assert ours == {day(row["start"]): (row["orders"], row["items"], row["revenue"]) for row in times[0][1]}
    asked = [client.timed("/analytics/revenue", **YEAR) for _ in range(ASKED)]
    found["revenue_by_day"] = compared([seconds for seconds, _ in times], asked)
    times = [await timed(shop, normalised.TOP_PRODUCTS) for _ in range(YARDSTICK_RUNS)]
    items = json.loads(client.get("/analytics/top-products", by="units", limit=10))["items"]
    assert [(one["product_id"], one["name"], one["units"]) for one in items] == [
        (f"product-{row['product_id']}", row["name"], row["units"]) for row in times[0][1]
    ]
    asked = [client.timed("/analytics/top-products", by="units", limit=10) for _ in range(ASKED)]
    found["top_products"] = compared([seconds for seconds, _ in times], asked)
    return found


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
        yield Client(port)


async def vacuum(servers: Servers) -> dict[str, int]:
    """The sizes of the read stores in PostgreSQL, in MiB."""
    sizes = {}
    for name in ("summary", "search"):
        connection = await asyncpg.connect(servers.stores[name], server_settings={"search_path": f"{name}, public"})
        await connection.execute("VACUUM ANALYZE")
        sizes[name] = await connection.fetchval(SCHEMA_SIZE, name) >> 20
        await connection.close()
    return sizes


SCHEMA_SIZE: Final = """
SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r'
"""


async def pages(servers: Servers, products: int, lines: int) -> dict[str, Any]:
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {what}", file=sys.stderr, flush=True)

    await migrate(settings_for(servers))
    shop = await Normalised.filled(servers.stores["summary"], products, lines)
    say("the normalised shop is there")
    await fill(servers, shop)
    sizes = await vacuum(servers)
    say("the read stores are filled")
    async with query_services(servers) as (kept, unkept):
        found = {"product_page": await product_pages(shop, kept, unkept)}
        say("product pages")
        found |= {"search": await searches(shop, kept)}
        say("search")
        found |= {"dashboard": await dashboards(shop, kept)}
        say("dashboards")
    sizes["normalised"] = await shop.value(normalised.SIZE) >> 20
    await shop.connection.close()
    counts = {"products": products, "orders": shop.orders, "lines": lines, "reviews": products * 3}
    return {"data": counts, "mib": sizes, **found}


def main() -> int:
    parser = argparse.ArgumentParser(prog="pages", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--products", type=int, default=20_000, help="default 20,000; promised for 1,000,000")
    parser.add_argument("--lines", type=int, default=200_000, help="default 200,000; promised for 10,000,000")
    parser.add_argument("--only", choices=("pages", "latency"), help="only this part")
    arguments = parser.parse_args()
    os.environ["TIDEMARK_SERVERS"] = "private"
    report: dict[str, Any] = {
        "machine": {"cores": psutil.cpu_count(), "memory_gib": psutil.virtual_memory().total >> 30},
        "load_average_before": [round(load, 2) for load in psutil.getloadavg()],
    }
    if arguments.only != "latency":
        with own_servers() as servers:
            report |= uvloop.run(pages(servers, arguments.products, arguments.lines))
    if arguments.only != "pages":
        with own_servers() as servers:
            report["order_latency"] = uvloop.run(order_latency(servers))
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
