"""``python -m tests.benchmarks.costs``: what metrics, tracing, authentication and sealed personal data cost, as one JSON document.

    bare, metrics, authentication …, bare, metrics, authentication …: the variants of ``tests.benchmarks.variants`` take turns, on the same
    servers, with the same commands, stores empty and processes new each time ──▶ ratios of the medians to the variant each is compared with

Orders are those of ``tests.benchmarks.end_to_end``; where personal data are compared, customers are registered. ``cpu_ms`` is that of
Tidemark's processes for each command, ``with_servers_ms`` with PostgreSQL, Redis and RabbitMQ. A ratio is followed by the least and
the most of the single rounds: where these are far apart, it says little. Empties the stores, so it runs on servers that it has started
itself and on no others. It begins no round that it could not finish within ``--minutes``.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import uvloop

from deploy.demo.system import settings_for
from deploy.keys import store as keys
from deploy.run.supervisor import Supervisor
from deploy.servers.ports import free_port
from deploy.servers.provide import Servers, provide
from deploy.services import store as services
from shared.messages.envelope import CommandEnvelope
from shared.observability import targets
from tests.benchmarks import measuring
from tests.benchmarks.end_to_end import DISTURBED, capacity, environment, write_orders
from tests.benchmarks.measuring import WARM_UP, Costs, Orders, Send, run_sender, server_pids, throughput
from tests.benchmarks.pipelines import Probe, purge
from tests.benchmarks.posting import API_KEY
from tests.benchmarks.trace_sink import Sink, sink
from tests.benchmarks.variants import BY_NAME, VARIANTS, Variant, Varied

SCRAPE_EVERY_S: Final = 5.0
NAME: Final = "costs"
EMPTY_KEYS: Final = "TRUNCATE subject_keys"
REGIONS: Final = ("Bavaria", "Tyrol", "Ticino", "Alsace")


def write_customers(file: Path, count: int) -> Orders:
    """Registrations of so many customers, each with a name, an e-mail address and a region."""
    streams = []
    with file.open("wb") as bodies:
        for number in range(count):
            customer_id = f"customer-{number}"
            data = {
                "customer_id": customer_id,
                "name": f"Annemarie Huber the {number}th",
                "email": f"annemarie.huber.{number}@example.org",
                "region": REGIONS[number % len(REGIONS)],
            }
            command = CommandEnvelope(
                specversion="1.0", id=customer_id, source=NAME, type="customers.register-customer", data=data
            )
            bodies.write(command.model_dump_json(exclude_none=True).encode() + b"\n")
            streams.append(f"customers/{customer_id}")
    return Orders(file, streams)


def write_own_orders(file: Path, count: int) -> Orders:
    """Those of ``tests.benchmarks.end_to_end``, sent by the service that may send them."""
    orders = write_orders(file, count)
    commands = [json.loads(line) | {"source": NAME} for line in file.read_bytes().splitlines()]
    file.write_text("".join(f"{json.dumps(command)}\n" for command in commands))
    return orders


class Bench:
    def __init__(self, servers: Servers, variants: Sequence[Variant], folder: Path, count: int, sink: Sink) -> None:
        self.count = count
        self.runs: list[dict[str, Any]] = []
        self._servers = servers
        self._variants = variants
        self._sink = sink
        self._orders = write_own_orders(folder / "orders", WARM_UP + count)
        self._customers = write_customers(folder / "customers", WARM_UP + count)
        self._user = self._user_url = self._key = ""

    async def prepare(self) -> None:
        """Databases, queues, and somebody who may send: a service on the bus, and an API key."""
        await Varied(self._servers, self._variants[0], {}).prepare()
        settings = settings_for(self._servers)
        service = await services.create(settings, NAME, ("orders.*",), actor=NAME, reason="")
        self._user, self._user_url = service.name, service.url
        async with keys.operations_database(settings) as connection:
            scopes = ["commands:orders.*"]
            made = await keys.create(connection, NAME, scopes, None, actor=NAME, reason="")
        self._key = str(made.key)

    async def round(self) -> None:
        for variant in self._variants:
            await purge(self._servers.rabbitmq_url)
            self.runs.append(await self._run(variant))
            print(f"{variant.name}: {self.runs[-1]['orders_per_second']} a second", file=sys.stderr)

    async def _run(self, variant: Variant) -> dict[str, Any]:
        port = str(free_port())
        own = {"TIDEMARK_COMMAND_PORT": port, "TIDEMARK_RATE_LIMIT": "0"} if variant.over_http else {}
        own["OTEL_EXPORTER_OTLP_ENDPOINT"] = self._sink.url
        self._sink.requests = self._sink.size = 0
        pipeline = Varied(self._servers, variant, own)
        url = f"http://127.0.0.1:{port}" if variant.over_http else self._servers.rabbitmq_url
        if variant.identified and not variant.over_http:
            url = self._user_url
        commands, send = self._customers if variant.customers else self._orders, self._send(variant)
        probe = await Probe.open(pipeline)
        probe.stores = variant.stores
        try:
            await probe.empty()
            await self._forget_persons()
            async with Supervisor(output=None) as supervisor:
                await supervisor.start(pipeline.programs())
                await send(probe, url, commands, 0, WARM_UP, 0)
                await probe.wait_for(WARM_UP)
                begin = partial(Costs, supervisor, variant.roles, server_pids(self._servers))
                async with scraping(pipeline.targets if variant.scraped else ""):
                    run = await throughput(probe, url, commands, self.count, begin, send)
            return run | {"trace_requests": self._sink.requests, "trace_bytes": self._sink.size}
        finally:
            await probe.close()

    def _send(self, variant: Variant) -> Send:
        if variant.over_http:
            return partial(post, key=self._key if variant.identified else "")
        if not variant.identified:
            return measuring.send

        async def send(probe: Probe, url: str, orders: Orders, first: int, count: int, rate: float) -> dict[str, Any]:
            return await measuring.send(probe, url, orders, first, count, rate, self._user)

        return send

    async def _forget_persons(self) -> None:
        """So that every run makes the keys that it needs."""
        connection = await asyncpg.connect(self._servers.keys_db_url)
        await connection.execute(EMPTY_KEYS)
        await connection.close()


async def post(_: Probe, url: str, orders: Orders, first: int, count: int, _rate: float, *, key: str) -> dict[str, Any]:
    """Send over HTTP, as fast as it goes."""
    arguments = (url, str(orders.file), str(first), str(count))
    return await run_sender("tests.benchmarks.posting", *arguments, environ={API_KEY: key})


@asynccontextmanager
async def scraping(where: str) -> AsyncIterator[None]:
    """Read the metrics of all processes every SCRAPE_EVERY_S, as Prometheus would."""

    async def scrape() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=SCRAPE_EVERY_S) as client:
            while True:
                await asyncio.sleep(SCRAPE_EVERY_S)
                answers = await asyncio.gather(*(client.get(target.url) for target in targets.parse(where)))
                for answer in answers:
                    answer.raise_for_status()

    task = asyncio.create_task(scrape()) if where else None
    try:
        yield
        if task is not None and task.done():
            task.result()
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, httpx.HTTPError):
                await task


def report(runs: Sequence[Mapping[str, Any]], roles: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Medians for each variant, and each bar with what was found. ``roles``: the processes of each variant that are Tidemark's."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        mine = found.setdefault(run["pipeline"], {"rate": [], "cpu_ms": [], "with_servers_ms": []})
        spent = {
            name: seconds / run["orders"] * 1000 for name, seconds in run["cpu_seconds"].items() if name != "sender"
        }
        mine["rate"].append(run["orders_per_second"])
        mine["cpu_ms"].append(sum(spent[role] for role in roles[run["pipeline"]]))
        mine["with_servers_ms"].append(sum(spent.values()))
    return {
        "medians": {
            name: {measure: round(statistics.median(values), 3) for measure, values in mine.items()}
            for name, mine in found.items()
        },
        "compared": [
            _compared(BY_NAME[name], mine, found[BY_NAME[name].beside])
            for name, mine in found.items()
            if BY_NAME[name].beside in found
        ],
    }


def _compared(
    variant: Variant, mine: Mapping[str, Sequence[float]], others: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    ratios: dict[str, Any] = {"variant": variant.name, "beside": variant.beside}
    for measure, values in mine.items():
        rounds = [a / b for a, b in zip(values, others[measure], strict=True)]
        ratio = statistics.median(values) / statistics.median(others[measure])
        ratios[measure] = [round(each, 3) for each in (ratio, min(rounds), max(rounds))]
    if variant.cpu_at_most is not None:
        ratios |= {"bar": f"cpu <= {variant.cpu_at_most}", "met": ratios["cpu_ms"][0] <= variant.cpu_at_most}
    if variant.rate_at_least is not None:
        ratios |= {"bar": f"rate >= {variant.rate_at_least}", "met": ratios["rate"][0] >= variant.rate_at_least}
    return ratios


async def measure(make: Callable[[Sink], Bench], rounds: int, until: float) -> list[dict[str, Any]]:
    """The runs; of the round that was not complete in time, or in which something timed out, some."""
    async with sink() as traces:
        bench = make(traces)
        try:
            await _measure(bench, rounds, until)
        except TimeoutError:
            print("the last round is not complete:", traceback.format_exc(), file=sys.stderr)
        return bench.runs


async def _measure(bench: Bench, rounds: int, until: float) -> None:
    """Raises TimeoutError."""
    took = 0.0
    async with asyncio.timeout(until - time.monotonic()):
        await bench.prepare()
        for number in range(rounds):
            began = time.monotonic()
            if began + 1.15 * took > until:
                break
            await bench.round()
            took = time.monotonic() - began
            print(f"round {number + 1}: {took:.0f} s", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=4000, help="commands in each run (default 4000)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each variant, at most (default 5)")
    parser.add_argument("--minutes", type=float, default=9.0, help="how long it may take (default 9)")
    parser.add_argument("--only", help=f"some of {','.join(BY_NAME)}; what each is compared with is added")
    options = parser.parse_args()
    began, until = time.time(), time.monotonic() + options.minutes * 60
    wanted = set((options.only or ",".join(BY_NAME)).split(","))
    if unknown := wanted - BY_NAME.keys():
        parser.error(f"there is no variant {', '.join(sorted(unknown))}")
    wanted |= {BY_NAME[name].beside for name in wanted}
    skipped = {name: why for name in wanted & BY_NAME.keys() if (why := BY_NAME[name].needs())}
    variants = [variant for variant in VARIANTS if variant.name in wanted - skipped.keys()]
    with tempfile.TemporaryDirectory() as folder, provide() as servers:
        if servers.origin == "environment":
            print("it empties the stores it runs on: unset TIDEMARK_*_URL, it starts its own", file=sys.stderr)
            return 2
        facts = environment(servers, began)
        make = partial(Bench, servers, variants, Path(folder), options.orders)
        runs = uvloop.run(measure(make, options.rounds, until))
    complete = len(runs) // len(variants) * len(variants)
    runs = runs[:complete]
    document = {
        "environment": facts,
        "commands": options.orders,
        "rounds": complete // len(variants),
        "skipped": skipped,
        **report(runs, {variant.name: variant.roles for variant in variants}),
        "disturbed": any(run["machine"]["others"] > DISTURBED * capacity(run) for run in runs),
        "others_share": round(sum(run["machine"]["others"] for run in runs) / sum(map(capacity, runs)), 3)
        if runs
        else 0,
        "runs": runs,
    }
    print(json.dumps(document | {"took_seconds": round(time.time() - began, 1)}, indent=2))
    return 0 if runs else 1


if __name__ == "__main__":
    sys.exit(main())
