"""``python -m tests.benchmarks.costs``: what metrics, tracing, authentication and sealed personal data cost, as one JSON document.

Each variant of ``tests.benchmarks.variants`` is compared with the one it is compared with there, as a pair: both systems run at once, each
on servers of its own, and a thousand commands go to one, then to the other, and so on in turns:

    A B B A A B B A …: CPU and rate of each turn ──▶ the ratio of each two that follow each other ──▶ the median of these ratios

A machine whose speed changes from minute to minute, as a shared one does, is about as fast for both turns of a ratio. Half the rounds have
the systems on each other's servers. Orders are those of ``tests.benchmarks.end_to_end``; where personal data are compared, customers are
registered. ``cpu_ms`` is that of Tidemark's processes for each command, ``with_servers_ms`` with PostgreSQL, Redis and RabbitMQ. A ratio is
followed by the quartiles of the single ones: where these are far apart, it says little. Empties the stores, so it runs on servers that
it has started itself and on no others. It begins no pair that it could not finish within ``--minutes``.
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
from tests.benchmarks.end_to_end import capacity, environment, write_orders
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


class Place:
    """Servers for one system at a time, with a service and an API key that may send orders."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.user = self.user_url = self.key = ""

    async def prepare(self) -> None:
        await Varied(self.servers, VARIANTS[0], {}).prepare()
        settings = settings_for(self.servers)
        service = await services.create(settings, NAME, ("orders.*",), actor=NAME, reason="")
        self.user, self.user_url = service.name, service.url
        async with keys.operations_database(settings) as connection:
            scopes = ["commands:orders.*"]
            made = await keys.create(connection, NAME, scopes, None, actor=NAME, reason="")
        self.key = str(made.key)

    async def forget_persons(self) -> None:
        """So that every run makes the keys that it needs."""
        connection = await asyncpg.connect(self.servers.keys_db_url)
        await connection.execute(EMPTY_KEYS)
        await connection.close()


class System:
    """One variant that runs at a place."""

    def __init__(self, variant: Variant, place: Place, probe: Probe, supervisor: Supervisor, port: str) -> None:
        self.variant = variant
        self._place = place
        self._probe = probe
        self._supervisor = supervisor
        self._url = f"http://127.0.0.1:{port}" if variant.over_http else place.servers.rabbitmq_url
        if variant.identified and not variant.over_http:
            self._url = place.user_url

    @classmethod
    @asynccontextmanager
    async def started(cls, variant: Variant, place: Place, sink: Sink) -> AsyncIterator["System"]:
        await purge(place.servers.rabbitmq_url)
        port = str(free_port())
        own = {"TIDEMARK_COMMAND_PORT": port, "TIDEMARK_RATE_LIMIT": "0"} if variant.over_http else {}
        own["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
        pipeline = Varied(place.servers, variant, own)
        probe = await Probe.open(pipeline)
        probe.stores = variant.stores
        try:
            await probe.empty()
            await place.forget_persons()
            async with Supervisor(output=None) as supervisor:
                await supervisor.start(pipeline.programs())
                async with scraping(pipeline.targets if variant.scraped else ""):
                    yield cls(variant, place, probe, supervisor, port)
        finally:
            await probe.close()

    async def warm_up(self, commands: Orders) -> None:
        await self._send(self._probe, self._url, commands, 0, WARM_UP, 0)
        await self._probe.wait_for(WARM_UP)

    async def turn(self, commands: Orders, first: int, count: int) -> dict[str, Any]:
        begin = partial(Costs, self._supervisor, self.variant.roles, server_pids(self._place.servers))
        return await throughput(self._probe, self._url, commands, first, count, begin, self._send)

    @property
    def _send(self) -> Send:
        if self.variant.over_http:
            return partial(post, key=self._place.key if self.variant.identified else "")
        if not self.variant.identified:
            return measuring.send

        async def send(probe: Probe, url: str, orders: Orders, first: int, count: int, rate: float) -> dict[str, Any]:
            return await measuring.send(probe, url, orders, first, count, rate, self._place.user)

        return send


class Bench:
    """``turns``: of each system in each round, of ``count`` commands each."""

    def __init__(self, places: Sequence[Place], folder: Path, count: int, turns: int, sink: Sink) -> None:
        self.pairs: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        """Turns of a variant, each with the neighbouring turn of what it is compared with."""
        self._places = places
        self._sink = sink
        self._count = count
        self._turns = turns
        total = WARM_UP + turns * count
        self._orders = write_own_orders(folder / "orders", total)
        self._customers = write_customers(folder / "customers", total)

    async def round(self, variant: Variant, *, swapped: bool) -> None:
        one, other = reversed(self._places) if swapped else self._places
        commands = self._customers if variant.customers else self._orders
        async with (
            System.started(BY_NAME[variant.beside], one, self._sink) as beside,
            System.started(variant, other, self._sink) as varied,
        ):
            for system in (beside, varied):
                await system.warm_up(commands)
            for turn in range(self._turns):
                first = WARM_UP + turn * self._count
                order = (beside, varied) if turn % 2 == 0 else (varied, beside)
                taken = {system.variant.name: await system.turn(commands, first, self._count) for system in order}
                pair = taken[variant.name], taken[variant.beside]
                self.pairs.setdefault(variant.name, []).append(pair)


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


def report(pairs: Mapping[str, Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """Each variant's bar with what was found."""
    return [_compared(BY_NAME[name], turns) for name, turns in pairs.items()]


def _compared(variant: Variant, turns: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    found: dict[str, Any] = {"variant": variant.name, "beside": variant.beside, "turns": len(turns)}
    mine = [_measures(turn, variant) for turn, _ in turns]
    others = [_measures(turn, BY_NAME[variant.beside]) for _, turn in turns]
    for measure in mine[0]:
        ratios = [a[measure] / b[measure] for a, b in zip(mine, others, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[measure] = {
            "ratio": [round(each, 3) for each in (middle, low, high)],
            variant.name: round(statistics.median(each[measure] for each in mine), 3),
            variant.beside: round(statistics.median(each[measure] for each in others), 3),
        }
    if variant.cpu_at_most is not None:
        met = found["cpu_ms"]["ratio"][0] <= variant.cpu_at_most
        found |= {"bar": f"cpu <= {variant.cpu_at_most}", "met": met}
    if variant.rate_at_least is not None:
        met = found["rate"]["ratio"][0] >= variant.rate_at_least
        found |= {"bar": f"rate >= {variant.rate_at_least}", "met": met}
    return found


def _measures(turn: Mapping[str, Any], variant: Variant) -> dict[str, float]:
    spent = {name: seconds / turn["orders"] * 1000 for name, seconds in turn["cpu_seconds"].items() if name != "sender"}
    own = sum(spent[role] for role in variant.roles)
    return {"rate": turn["orders_per_second"], "cpu_ms": own, "with_servers_ms": sum(spent.values())}


async def measure(
    make: Callable[[Sink], Bench], places: Sequence[Place], variants: Sequence[Variant], rounds: int, until: float
) -> Bench:
    """Half the rounds swapped. What is not complete in time, or times out, is left out."""
    async with sink() as traces:
        bench = make(traces)
        for place in places:
            await place.prepare()
        took = 0.0
        for variant in variants:
            for number in range(rounds):
                began = time.monotonic()
                if began + 1.15 * took > until:
                    return bench
                try:
                    async with asyncio.timeout(until - began):
                        await bench.round(variant, swapped=number % 2 == 1)
                except TimeoutError:
                    print(f"{variant.name}: not complete: {traceback.format_exc()}", file=sys.stderr)
                took = time.monotonic() - began
                print(f"{variant.name}, round {number + 1}: {took:.0f} s", file=sys.stderr)
        return bench


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--orders", type=int, default=1000, help="commands in each turn (default 1000)")
    parser.add_argument("--turns", type=int, default=16, help="turns of each system in a round (default 16)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each pair, at most (default 2)")
    parser.add_argument("--minutes", type=float, default=15.0, help="how long it may take (default 15)")
    parser.add_argument("--only", help=f"some of {','.join(each.name for each in VARIANTS if each.beside)}")
    options = parser.parse_args()
    began, until = time.time(), time.monotonic() + options.minutes * 60
    compared = {variant.name: variant for variant in VARIANTS if variant.beside}
    wanted = options.only.split(",") if options.only else list(compared)
    if unknown := set(wanted) - compared.keys():
        parser.error(f"there is no variant {', '.join(sorted(unknown))} that is compared with another")
    variants = [compared[name] for name in wanted]
    with tempfile.TemporaryDirectory() as folder, provide() as one, provide() as other:
        if "environment" in (one.origin, other.origin):
            print("it empties the stores it runs on: unset TIDEMARK_*_URL, it starts its own", file=sys.stderr)
            return 2
        facts = environment(one, began)
        places = [Place(one), Place(other)]
        make = partial(Bench, places, Path(folder), options.orders, options.turns)
        bench = uvloop.run(measure(make, places, variants, options.rounds, until))
    turns = [turn for pairs in bench.pairs.values() for pair in pairs for turn in pair]
    document = {
        "environment": facts,
        "commands": options.orders,
        "compared": report(bench.pairs),
        "others_share": round(sum(turn["machine"]["others"] for turn in turns) / sum(map(capacity, turns)), 3)
        if turns
        else 0,
    }
    print(json.dumps(document | {"took_seconds": round(time.time() - began, 1)}, indent=2))
    return 0 if turns else 1


if __name__ == "__main__":
    sys.exit(main())
