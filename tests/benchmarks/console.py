"""``python -m tests.benchmarks.console``: what the console asks for, with 100,000 letters in 500 groups and 1,000,000 streams, as JSON.

    set-based SQL ──▶ letters with payloads and failures, causes with notes, audit, orders with their positions ──▶ a query service ──▶ p95

The tables are filled directly, as their writers would have left them; what is measured is each route over HTTP, one request after the
other, as a page that polls does. Runs on servers of its own.
"""

import argparse
import json
import os
import statistics
import time
from typing import Any, Final

import asyncpg
import httpx
import psutil
import uvloop

from deploy.demo.system import settings_for
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers, provide

ROUNDS: Final = 40
LIMIT_MS: Final = 300.0
GROUPS: Final = 500
AUDIT_ENTRIES: Final = 20_000

LETTERS: Final = """
INSERT INTO letters (origin, identity, stream, version, type, reason, exception, fingerprint, attempts, first_failed_at, last_failed_at,
    seen, routing_key, content_type, size)
SELECT 'summary', sha256(n::text::bytea), 'orders/o-' || n, 1, 'orders.order-placed', 'projection-failed', 'ValueError: cause ' || n % $2,
    'ValueError|projection.py:fold|cause ' || n % $2, 4, current_timestamp - n * interval '2 seconds',
    current_timestamp - n * interval '1 second', 1 + n % 3, 'lane.0', 'application/cloudevents+json', 900
FROM generate_series(1, $1) AS n
"""
PAYLOADS: Final = """
INSERT INTO payloads (letter_id, body, headers, trace)
SELECT id, convert_to(repeat('x', 900), 'UTF8'), '{"tidemark-origin": "summary"}', repeat('File "projection.py", line 7' || chr(10), 30)
FROM letters
"""
FAILURES: Final = """
INSERT INTO letter_failures SELECT id, last_failed_at, attempts, reason, exception, fingerprint FROM letters
"""
NOTES: Final = """
INSERT INTO group_notes (origin, fingerprint, owner, note, updated_by)
SELECT DISTINCT origin, fingerprint, 'ann', 'known', 'ann' FROM letters
"""
AUDIT: Final = """
INSERT INTO audit (actor, act, reason, projection, details)
SELECT 'ann', (ARRAY['replay', 'denied', 'rebuild', 'pause'])[1 + n % 4], 'because', CASE n % 4 WHEN 2 THEN 'summary' END, '{}'
FROM generate_series(1, $1) AS n
"""
DEPLOYED: Final = (
    "INSERT INTO audit (actor, act, reason, details) VALUES ('tidemark', 'deployed', 'search runs 2', '{}')"
)
ORDERS: Final = """
INSERT INTO orders (order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc)
SELECT 'o-' || n, 'c-' || n % 10000, 'placed', 'EUR', 1, 5, at, at, 1, jsonb_build_object('order_id', 'o-' || n, 'customer_id',
    'c-' || n % 10000, 'status', 'placed', 'currency', 'EUR', 'item_count', 1, 'total', 5, 'lines', '[]'::jsonb, 'version', 1,
    'placed_at', at, 'updated_at', at)
FROM generate_series(1, $1) AS n, LATERAL (SELECT current_timestamp - n * interval '1 second' AS at) AS placed
"""
POSITIONS: Final = "INSERT INTO positions (stream, applied) SELECT 'orders/o-' || n, 1 FROM generate_series(1, $1) AS n"
HELD: Final = """
INSERT INTO held (stream, status, version, seen, attempts, reason, exception, fingerprint, first_failed_at, last_failed_at)
SELECT 'orders/o-' || n, 'dead', 2, 3, 4, 'projection-failed', 'ValueError', 'ValueError', current_timestamp, current_timestamp
FROM generate_series(1, $1) AS n
"""

ROUTES: Final = {
    "groups": "/dead-letters/groups?limit=200",
    "letters": "/dead-letters?limit=200",
    "letters of a cause": "/dead-letters?origin=summary&fingerprint=ValueError%7Cprojection.py%3Afold%7Ccause%207",
    "letters of a stream": "/dead-letters?stream=orders/o-777&status=all",
    "letters by text": "/dead-letters/groups?text=cause%2077",
    "a letter": "/dead-letters/777",
    "jobs": "/dead-letters/jobs",
    "orders": "/orders?limit=200",
    "an order": "/orders/o-777777",
    "a stream": "/stream-positions/orders/o-777777",
    "a held stream": "/stream-positions/orders/o-777",
    "processes": "/processes",
    "figures of processes": "/processes/figures",
    "timeline": "/audit?limit=200",
    "timeline of deployments": "/audit?kind=deployment",
    "timeline of acts": "/audit?kind=act&limit=200",
    "projections": "/projections",
    "freshness": "/freshness",
    "status": "/status",
    "me": "/me",
}


async def fill(servers: Servers, letters: int, streams: int) -> None:
    for url, schema, statements in (
        (
            servers.operations_db_url,
            "operations",
            (
                *((LETTERS, (letters, GROUPS)), (PAYLOADS, ()), (FAILURES, ()), (NOTES, ())),
                *((DEPLOYED, ()), (AUDIT, (AUDIT_ENTRIES,))),
            ),
        ),
        (servers.stores["summary"], "summary", ((ORDERS, (streams,)), (POSITIONS, (streams,)), (HELD, (letters,)))),
        (servers.stores["search"], "search", ((POSITIONS, (streams,)),)),
    ):
        connection = await asyncpg.connect(url, server_settings={"search_path": schema})
        for statement, arguments in statements:
            await connection.execute(statement, *arguments, timeout=600)
        await connection.execute("ANALYZE")
        await connection.close()


async def answers(port: int) -> dict[str, Any]:
    found = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        for name, path in ROUTES.items():
            times = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                (await client.get(path)).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
            found[name] = {
                "median_ms": round(statistics.median(times), 1),
                "p95_ms": round(statistics.quantiles(times, n=20)[-1], 1),
            }
    return found


async def measure(letters: int, streams: int) -> dict[str, Any]:
    with provide() as servers:
        if servers.origin == "environment":
            raise SystemExit("this fills the stores it runs on: unset TIDEMARK_*_URL, it starts its own")
        await migrate(settings_for(servers))
        began = time.monotonic()
        await fill(servers, letters, streams)
        filled = time.monotonic() - began
        port = free_port()
        async with Supervisor(output=None) as supervisor:
            variables = {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_AUTH": "off"}
            await supervisor.start([program("query", servers, dict(os.environ) | variables)])
            found = await answers(port)
    worst = max(each["p95_ms"] for each in found.values())
    return {"filled_in_s": round(filled, 1), "routes": found, "worst_p95_ms": worst, "within_300_ms": worst <= LIMIT_MS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--letters", type=int, default=100_000, help="how many (default 100,000)")
    parser.add_argument("--streams", type=int, default=1_000_000, help="how many (default 1,000,000)")
    options = parser.parse_args()
    load = psutil.getloadavg()[0]
    found = uvloop.run(measure(options.letters, options.streams))
    sizes = {"letters": options.letters, "streams": options.streams, "cores": psutil.cpu_count(), "load_before": load}
    print(json.dumps(sizes | found, indent=2))


if __name__ == "__main__":
    main()
