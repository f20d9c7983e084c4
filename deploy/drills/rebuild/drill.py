"""``tidemark drill rebuild``: rebuilds, compares, activates, rolls back and activates all read models while orders arrive.

    load ──▶ live orders and dashboards, until the end
               └─ each projection in turn: rebuild ──▶ compare ──▶ activate ──▶ rollback ──▶ activate
    stop ──▶ compare again without load ──▶ verify ──▶ drop the previous generations

It uses separate servers, and the functions of ``tidemark projections``.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

from deploy.cli.projections.actions import begin_rebuild
from deploy.cli.projections.commands import compare_generations
from deploy.cli.projections.control_requests import send_request
from deploy.cli.projections.following import follow
from deploy.demo.catching_up import CATCH_UP_TIMEOUT_S, read_by, wait_until_applied
from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.read_stores import open_read_stores
from deploy.demo.shop.source import RetailYear
from deploy.demo.system import settings_for
from deploy.drills.rebuild.client import Client
from deploy.drills.rebuild.dashboards import Dashboards
from deploy.drills.rebuild.live_orders import LiveOrders
from deploy.drills.rebuild.report import DrillReport, RebuildResult
from deploy.run.deployables import PRIVATE, program
from deploy.run.migrate import migrate
from deploy.run.resource_usage import resource_usages
from deploy.run.supervisor import Supervisor
from deploy.sending.sender import CommandSender
from deploy.servers import ports
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.messages.control import Activate, Drop, Rebuild, Rollback
from shared.messaging.operators.generations_client import Act
from shared.read_models import NAMES, READ_MODELS
from shared.runtime.settings import Settings
from shared.views.generations import FIRST, Generation, GenerationRefused

REBUILT: Final = tuple(model.name for model in READ_MODELS if "orders" in model.kinds)
"""The read models that show orders, which are what the drill sends."""
DEPLOYABLES: Final = ("worker", "relay", "http", *NAMES, "query")
ACTOR: Final = "drill"
REPLY_TIMEOUT_S: Final = 30.0
SWITCH_INTERVAL_S: Final = 3.0
"""Long enough for the dashboards to send every query to the active generation."""
SEARCH_WORDS: Final = ("milk", "cheese", "bread", "soup", "yogurt")

T = TypeVar("T")


class RebuildDrillError(Exception):
    """A step was refused, or a deployable died; the message states which."""


class RebuildDrill:
    """The steps of the drill on a running system; ``display`` shows each step."""

    def __init__(self, settings: Settings, display: Display, live: LiveOrders, dashboards: Dashboards) -> None:
        self._settings = settings
        self._display = display
        self._live = live
        self._dashboards = dashboards

    async def rebuild_all(self) -> list[RebuildResult]:
        """Rebuild one projection after the other while orders arrive and dashboards query."""
        stopping = asyncio.Event()
        meanwhile = [asyncio.create_task(run(stopping)) for run in (self._live.run, self._dashboards.run)]
        try:
            rebuilt = [await self._rebuild_one(projection) for projection in REBUILT]
            stopping.set()
            await asyncio.gather(*meanwhile)
        finally:
            for task in meanwhile:
                task.cancel()
            await asyncio.gather(*meanwhile, return_exceptions=True)
        return rebuilt

    async def _rebuild_one(self, projection: str) -> RebuildResult:
        self._display.print_line(f"{projection}: rebuilding beside the active generation")
        began = time.monotonic()
        act = Rebuild(projection=projection, generation=2, actor=ACTOR, reason="a drill")
        number = (await begin_rebuild(self._settings, act, seconds=REPLY_TIMEOUT_S)).number
        applied: list[float] = []

        def on_progress(one: Generation) -> None:
            if one.done and not applied:
                applied.append(time.monotonic())

        built = await follow(self._settings, projection, number, on_progress)
        ended = time.monotonic()
        self._display.print_line(
            f"{projection}: {built.scanned:,} events, ready after {ended - began:.1f} s; comparing"
        )
        found = await compare_generations(self._settings, projection, number, FIRST, 5)
        self._display.print_line(
            f"{projection}: {'equal' if found.equal else 'DIFFERENT'}; activating, rolling back, activating again"
        )
        rebuilt = RebuildResult(
            projection,
            number,
            built.scanned,
            history_s=applied[0] - began,
            ready_s=ended - began,
            lags=self._live.lags_between(projection, began, ended),
            comparison=found,
        )
        forward = Activate(projection=projection, generation=number, actor=ACTOR)
        for switch in (forward, Rollback(projection=projection, actor=ACTOR), forward):
            rebuilt.switches.append(await self._send(switch))
            await asyncio.sleep(SWITCH_INTERVAL_S)
        return rebuilt

    async def finish(self, rebuilt: list[RebuildResult]) -> None:
        """Without load, compare each new generation with the previous one again, and drop the previous one."""
        for one in rebuilt:
            self._display.print_line(f"{one.projection}: comparing again, without load")
            one.final_comparison = await compare_generations(self._settings, one.projection, one.generation, FIRST, 5)
            await self._send(Drop(projection=one.projection, generation=FIRST, actor=ACTOR))

    async def _send(self, act: Act) -> float:
        """Send a control request; returns the seconds until the reply. Raises RebuildDrillError if it is refused."""
        began = time.monotonic()
        reply = await send_request(self._settings, act, request_id=None, seconds=REPLY_TIMEOUT_S)
        if isinstance(reply, GenerationRefused):
            raise RebuildDrillError(f"{type(act).__name__.lower()} {act.projection}: {reply.code}: {reply.message}")
        return time.monotonic() - began


async def rebuild(servers: Servers, orders: int | None, per_second: float, display: Display) -> DrillReport:
    """The report at the end. Raises RebuildDrillError, ServiceError, and the errors of sending and catching up as in the demo."""
    settings = settings_for(servers)
    await migrate(settings)
    async with running_system(servers) as (supervisor, commands, queries):
        baskets = await _load(servers, orders, queries.base_url, display)
        live = LiveOrders(commands, queries, per_second)
        dashboards = Dashboards(queries, baskets, list(SEARCH_WORDS))
        await dashboards.record_expected()
        drill = RebuildDrill(settings, display, live, dashboards)
        rebuilt = await _unless_child_exits(supervisor, drill.rebuild_all())
        counted = await live.counted_exactly()
        await _unless_child_exits(supervisor, drill.finish(rebuilt))
        proof = await _unless_child_exits(supervisor, verify(settings, Options(), display))
        return DrillReport(
            orders=len(baskets),
            rebuilt=rebuilt,
            unchanged=dict(dashboards.unchanged),
            errors=dashboards.errors,
            changed=dashboards.changed,
            live=live.accepted,
            counted_exactly=counted,
            live_lags={name: sorted(lag.seconds for lag in lags) for name, lags in live.lags.items()},
            failures=live.failures + dashboards.failures,
            verified=proof.equal,
            costs=resource_usages({name: supervisor.pid(name) for name in DEPLOYABLES}),
        )


async def _load(servers: Servers, orders: int | None, query_url: str, display: Display) -> list[str]:
    """Send the baskets and wait until every store has them; returns the ids of the accepted orders."""
    year = await asyncio.to_thread(RetailYear, orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.print_line(f"loading {total:,} commands")
    display.begin("outcomes", total)
    recorder = OutcomeRecorder(display)
    await CommandSender(servers.rabbitmq_url, name="drill").send(year.commands(), recorder.on_outcome)
    async with open_read_stores(servers, query_url) as stores:
        for store in stores.all:
            display.begin(store.name, len(read_by(store.name, recorder.versions)))
        await wait_until_applied(
            stores.all, recorder.versions, display.advance, no_progress_timeout_s=CATCH_UP_TIMEOUT_S
        )
    return [stream.partition("/")[2] for stream in recorder.versions if stream.startswith("orders/")]


@asynccontextmanager
async def running_system(servers: Servers) -> AsyncIterator[tuple[Supervisor, Client, Client]]:
    """The running system, and clients of its two services: commands, queries."""
    query_port, command_port = ports.free_port(), ports.free_port()
    environment = (
        dict(os.environ)
        | PRIVATE
        | {
            "TIDEMARK_QUERY_PORT": str(query_port),
            "TIDEMARK_COMMAND_PORT": str(command_port),
            "TIDEMARK_LOG_LEVEL": "WARNING",
        }
    )
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(Supervisor(output=None))
        await supervisor.start(program(name, servers, environment) for name in DEPLOYABLES)
        commands, queries = [
            await stack.enter_async_context(Client(f"http://127.0.0.1:{port}")) for port in (command_port, query_port)
        ]
        yield supervisor, commands, queries


async def _unless_child_exits(supervisor: Supervisor, work: Awaitable[T]) -> T:
    """The result of the work. Raises RebuildDrillError if a deployable dies meanwhile."""
    working, exiting = asyncio.ensure_future(work), asyncio.create_task(supervisor.unexpected_exit())
    try:
        await asyncio.wait({working, exiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RebuildDrillError(str(exiting.result()))
        return working.result()
    finally:
        for task in (working, exiting):
            task.cancel()
        await asyncio.gather(working, exiting, return_exceptions=True)
