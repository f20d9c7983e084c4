"""``python -m tests.benchmarks.segments``: what customer segments and the report by segment cost over a million orders, as JSON.

The yardstick, in the same run: the server counts the rows of the same index. The summary's own tables and indexes, filled by the server.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import psutil

from deploy.servers.provide import Servers, provide
from projectors.stores.migrations import migrate
from query_service.routes.shop.sales_report import BY_SEGMENT
from query_service.routes.shop.segments import SEGMENTS

DEADLINE_S: Final = 400.0
YEAR: Final = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
MONTH: Final = (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC))
QUARTER: Final = (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC))

FILL: Final = """
INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc)
SELECT 'order-' || n, 'customer-' || (n::bigint * 7919 % $2), CASE WHEN n % 20 = 0 THEN 'cancelled' ELSE 'delivered' END, 'EUR',
       n % 20, n::bigint * 31 % 20000, at, at, 4, json_build_object('lines', repeat(md5(n::text), 30))
FROM generate_series(1, $1) AS n, LATERAL (SELECT timestamptz '2026-01-01Z' + n * (interval '365 days' / $1) AS at) placed
"""
COUNT: Final = "SELECT count(*) FROM orders WHERE status <> 'cancelled'"
SIZES: Final = """
SELECT pg_size_pretty(pg_relation_size('orders')) AS orders, pg_size_pretty(pg_relation_size('orders_by_buyer')) AS orders_by_buyer
"""


async def measure(servers: Servers, orders: int, customers: int, rounds: int) -> dict[str, Any]:
    url = servers.stores["summary"]
    await migrate("summary", url)
    connection = await asyncpg.connect(url, server_settings={"search_path": "summary, public", "work_mem": "32MB"})
    await connection.execute("TRUNCATE orders")
    await connection.execute(FILL, orders, customers, timeout=300)
    await connection.execute("VACUUM ANALYZE orders", timeout=300)
    backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    questions: dict[str, tuple[Any, ...]] = {
        "count_of_the_index": (COUNT,),
        "segments_of_a_month": (SEGMENTS, *MONTH, "EUR"),
        "segments_of_a_quarter": (SEGMENTS, *QUARTER, "EUR"),
        "segments_of_the_year": (SEGMENTS, *YEAR, "EUR"),
        "report_of_a_month_by_segment": (BY_SEGMENT, *MONTH, "EUR"),
    }
    found: dict[str, Any] = {}
    for name, (statement, *arguments) in questions.items():
        seconds, before = [], backend.cpu_times()
        for _ in range(rounds):
            began = time.monotonic()
            await connection.fetch(statement, *arguments, timeout=60)
            seconds.append(time.monotonic() - began)
        after = backend.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) / rounds
        found[name] = {"ms": round(statistics.median(seconds) * 1000), "cpu_ms": round(cpu * 1000)}
    sizes = dict(await connection.fetchrow(SIZES) or {})
    await connection.close()
    return {"sizes": sizes, **found}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with provide() as servers:
        if servers.origin == "environment":
            print("this benchmark empties the stores it runs on: unset TIDEMARK_*_URL", file=sys.stderr)
            return 2

        async def bounded() -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE_S):
                return await measure(servers, options.orders, options.customers, options.rounds)

        given = {"orders": options.orders, "customers": options.customers}
        print(json.dumps(given | asyncio.run(bounded()), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
