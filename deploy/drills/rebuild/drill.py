"""``tidemark drill rebuild``: all read models rebuilt, compared, switched, switched back and switched again, while orders arrive.

    load ──▶ live orders and dashboards, until the end
               └─ each projection in turn: rebuild ──▶ compare ──▶ activate ──▶ rollback ──▶ activate
    stop ──▶ compare again when all is quiet ──▶ verify ──▶ drop what was there before

On servers of its own; everything is done by what ``tidemark projections`` does it with.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from deploy.cli.projections.actions import begin_rebuild
from deploy.cli.projections.commands import compare_generations
from deploy.cli.projections.control_requests import Act, send_request
from deploy.cli.projections.following import follow
from deploy.demo.catching_up import wait_until_applied
from deploy.demo.demo import settings_for
from deploy.demo.display import Display
from deploy.demo.flow import CATCH_UP_PATIENCE_S, Sending
from deploy.demo.read_stores import open_read_stores
from deploy.demo.source import RetailYear
from deploy.drills.rebuild.client import Client
from deploy.drills.rebuild.live import LiveOrders
from deploy.drills.rebuild.readers import Readers
from deploy.drills.rebuild.report import DrillReport, Rebuilt
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.resource_usage import resource_usages
from deploy.run.supervisor import Supervisor
from deploy.sending.sender import CommandSender
from deploy.servers import ports
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.verifier import Options
from shared.messages.control import Activate, Drop, Rebuild, Rollback
from shared.read_models import NAMES
from shared.runtime.settings import Settings
from shared.views.generations import FIRST, Generation, GenerationRefused

DEPLOYABLES: Final = ("worker", "relay", "http", *NAMES, "query")
ACTOR: Final = "drill"
ANSWER_WITHIN_S: Final = 30.0
BETWEEN_SWITCHES_S: Final = 3.0
"""Long enough for dashboards to ask for everything from what is active now."""
WORDS: Final = ("milk", "cheese", "bread", "soup", "yogurt")

T = TypeVar("T")


class RebuildDrillError(Exception):
    """A step was refused; the message says which."""


class Drill:
    """The system is up at ``queries`` and ``commands``; ``display`` hears each step."""

    def __init__(self, settings: Settings, display: Display, live: LiveOrders, readers: Readers) -> None:
        self._settings = settings
        self._display = display
        self._live = live
        self._readers = readers

    async def rebuild_all(self) -> list[Rebuilt]:
        """One after the other, while orders arrive and dashboards ask."""
        stopping = asyncio.Event()
        meanwhile = [asyncio.create_task(run(stopping)) for run in (self._live.run, self._readers.run)]
        try:
            rebuilt = [await self._rebuild(projection) for projection in NAMES]
            stopping.set()
            await asyncio.gather(*meanwhile)
        finally:
            for task in meanwhile:
                task.cancel()
            await asyncio.gather(*meanwhile, return_exceptions=True)
        return rebuilt

    async def _rebuild(self, projection: str) -> Rebuilt:
        self._display.say(f"{projection}: rebuilding beside the live one")
        began = time.monotonic()
        act = Rebuild(projection=projection, generation=2, actor=ACTOR, reason="a drill")
        number = (await begin_rebuild(self._settings, act, seconds=ANSWER_WITHIN_S)).number
        applied: list[float] = []

        def seen(one: Generation) -> None:
            if one.done and not applied:
                applied.append(time.monotonic())

        built = await follow(self._settings, projection, number, seen)
        ended = time.monotonic()
        self._display.say(f"{projection}: {built.scanned:,} events, ready after {ended - began:.1f} s; comparing")
        found = await compare_generations(self._settings, projection, number, FIRST, 5)
        self._display.say(f"{projection}: {'equal' if found.equal else 'DIFFERENT'}; switching, back, and again")
        rebuilt = Rebuilt(
            projection,
            number,
            built.scanned,
            history_s=applied[0] - began,
            ready_s=ended - began,
            lags=self._live.between(projection, began, ended),
            comparison=found,
        )
        forward = Activate(projection=projection, generation=number, actor=ACTOR)
        for switch in (forward, Rollback(projection=projection, actor=ACTOR), forward):
            rebuilt.switches.append(await self._ordered(switch))
            await asyncio.sleep(BETWEEN_SWITCHES_S)
        return rebuilt

    async def finish(self, rebuilt: list[Rebuilt]) -> None:
        """With nothing on the move any more, what was there before is compared once more, and dropped."""
        for one in rebuilt:
            self._display.say(f"{one.projection}: comparing again, when all is quiet")
            one.quiet = await compare_generations(self._settings, one.projection, one.generation, FIRST, 5)
            await self._ordered(Drop(projection=one.projection, generation=FIRST, actor=ACTOR))

    async def _ordered(self, act: Act) -> float:
        """Seconds to the answer. Raises RebuildDrillError."""
        began = time.monotonic()
        answer = await send_request(self._settings, act, request_id=None, seconds=ANSWER_WITHIN_S)
        if isinstance(answer, GenerationRefused):
            raise RebuildDrillError(f"{type(act).__name__.lower()} {act.projection}: {answer.code}: {answer.message}")
        return time.monotonic() - began


async def rebuild(servers: Servers, orders: int | None, per_second: float, display: Display) -> DrillReport:
    """The report at the end. Raises RebuildDrillError, and what the demo's run raises."""
    settings = settings_for(servers)
    await migrate(settings)
    async with everything_running(servers) as (supervisor, commands, queries):
        baskets = await _load(servers, orders, queries.base_url, display)
        live = LiveOrders(commands, queries, per_second)
        readers = Readers(queries, baskets, list(WORDS))
        await readers.learn()
        drill = Drill(settings, display, live, readers)
        rebuilt = await _or_death(supervisor, drill.rebuild_all())
        counted = await live.all_counted()
        await _or_death(supervisor, drill.finish(rebuilt))
        proof = await _or_death(supervisor, verify(settings, Options(), display))
        return DrillReport(
            orders=len(baskets),
            rebuilt=rebuilt,
            asked=dict(readers.asked),
            errors=readers.errors,
            changed=readers.changed,
            live=live.accepted,
            counted=counted,
            live_lags={name: sorted(lag.seconds for lag in lags) for name, lags in live.lags.items()},
            troubles=live.troubles + readers.troubles,
            verified=proof.equal,
            costs=resource_usages({name: supervisor.pid(name) for name in DEPLOYABLES}),
        )


async def _load(servers: Servers, orders: int | None, query_url: str, display: Display) -> list[str]:
    """Baskets in every store; returns the ids of those that were accepted."""
    year = await asyncio.to_thread(RetailYear, orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.say(f"loading {total:,} commands")
    display.begin("outcomes", total)
    sending = Sending(display)
    await CommandSender(servers.rabbitmq_url, name="drill").send(year.commands(), sending.on_outcome)
    async with open_read_stores(servers, query_url) as stores:
        for store in stores.all:
            display.begin(store.name, len(sending.versions))
        await wait_until_applied(stores.all, sending.versions, display.advance, patience_s=CATCH_UP_PATIENCE_S)
    return [stream.partition("/")[2] for stream in sending.versions if stream.startswith("orders/")]


@asynccontextmanager
async def everything_running(servers: Servers) -> AsyncIterator[tuple[Supervisor, Client, Client]]:
    """The system, and clients of its two services: commands, queries."""
    query_port, command_port = ports.free_port(), ports.free_port()
    environment = dict(os.environ) | {
        "TIDEMARK_QUERY_PORT": str(query_port),
        "TIDEMARK_COMMAND_PORT": str(command_port),
        "TIDEMARK_LOG_LEVEL": "WARNING",
    }
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(Supervisor(output=None))
        await supervisor.start(program(name, servers, environment) for name in DEPLOYABLES)
        commands, queries = [
            await stack.enter_async_context(Client(f"http://127.0.0.1:{port}")) for port in (command_port, query_port)
        ]
        yield supervisor, commands, queries


async def _or_death(supervisor: Supervisor, work: Awaitable[T]) -> T:
    """What the work comes to, unless a deployable dies meanwhile: RebuildDrillError."""
    working, dying = asyncio.ensure_future(work), asyncio.create_task(supervisor.unexpected_exit())
    try:
        await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RebuildDrillError(str(dying.result()))
        return working.result()
    finally:
        for task in (working, dying):
            task.cancel()
        await asyncio.gather(working, dying, return_exceptions=True)
