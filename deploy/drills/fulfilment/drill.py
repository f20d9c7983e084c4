"""``tidemark drill fulfilment``: thousands of managed orders, some out of stock, some paid late or not at all, while everything is killed.

    orders ──▶ [commands] … every process and server is killed in turn … ──▶ each fulfilment is done ──▶ verify: the laws hold

The warehouse ships what waits for its shipment; some customers change their minds first. Late payments are waited for until the provider
has answered all of them. On separate servers and data.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.system import settings_for
from deploy.drills.fulfilment.kills import Kills
from deploy.drills.fulfilment.plan import Plan
from deploy.drills.fulfilment.report import FulfilmentReport
from deploy.run.deployables import PRIVATE, program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.batches import CommandMessage
from deploy.sending.sender import CommandSender
from deploy.servers.accounts.urls import PAYMENT_PROVIDER
from deploy.servers.provide import Servers
from deploy.verify.command import verify
from deploy.verify.options import Options
from shared.processes import folder_of
from shared.read_models import NAMES
from shared.runtime.postgres import is_outage

DEPLOYABLES: Final = ("worker", "relay", *NAMES, "processes", PAYMENT_PROVIDER)
POLL_S: Final = 0.5
QUIET_TIMEOUT_S: Final = 300.0
"""Without any fulfilment that is done, or any order that is shipped."""

WAITING_FOR_SHIPMENT: Final = "SELECT id FROM processes WHERE waiting_for @> '{shipment}' AND NOT id = ANY ($1::text[])"
DONE: Final = "SELECT count(*) FROM processes WHERE status = 'done'"
RESULTS: Final = "SELECT result, count(*) AS orders FROM processes WHERE status = 'done' GROUP BY result"
STUCK: Final = "SELECT id, status, waiting_for FROM processes WHERE status <> 'done' ORDER BY id LIMIT 20"
REQUESTED_PAYMENTS: Final = "SELECT count(*) FROM payments WHERE status = 'requested'"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    plan: Plan
    kills: int
    kill_every_s: float
    pay_within_s: float
    late_share: float = 0.1
    failed_share: float = 0.05
    delay_s: float = 0.5

    @property
    def late_s(self) -> float:
        """After the deadline of an order that was placed at the same moment."""
        return 1.5 * self.pay_within_s

    def environ(self) -> dict[str, str]:
        return {
            "TIDEMARK_LOG_LEVEL": "WARNING",
            "TIDEMARK_FULFILMENT_PAY_WITHIN_S": str(self.pay_within_s),
            "TIDEMARK_COMMAND_RESEND_AFTER_S": "5",
            "TIDEMARK_PAYMENT_DELAY_S": str(self.delay_s),
            "TIDEMARK_PAYMENT_LATE_S": str(self.late_s),
            "TIDEMARK_PAYMENT_LATE_SHARE": str(self.late_share),
            "TIDEMARK_PAYMENT_FAILED_SHARE": str(self.failed_share),
            "TIDEMARK_PAYMENT_SEED": str(self.plan.seed),
        }


class Drill:
    def __init__(self, servers: Servers, conditions: Conditions, display: Display) -> None:
        self._servers = servers
        self._conditions = conditions
        self._display = display
        self._shipped: set[str] = set()

    async def place(self) -> None:
        plan = self._conditions.plan
        for commands in (plan.products(), plan.deliveries()):
            await self._send(commands)
        self._display.begin("outcomes", plan.orders)
        await self._send(plan.placements(), OutcomeRecorder(self._display))

    async def ship_until_done(self) -> None:
        """Ship what waits for it, until every fulfilment is done. Returns also if nothing has moved for QUIET_TIMEOUT_S."""
        moved_at, before = time.monotonic(), (-1, -1)
        while True:
            waiting = await self._query("processes", WAITING_FOR_SHIPMENT, list(self._shipped))
            ids = [row["id"] for row in waiting]
            if ids:
                await self._send(self._conditions.plan.after_confirmation(order_id) for order_id in ids)
                self._shipped.update(ids)
            [row] = await self._query("processes", DONE)
            now = (row[0], len(self._shipped))
            if now != before:
                moved_at, before = time.monotonic(), now
            if row[0] >= self._conditions.plan.orders or time.monotonic() - moved_at > QUIET_TIMEOUT_S:
                return
            await asyncio.sleep(POLL_S)

    async def wait_for_late_payments(self) -> None:
        """Until the provider has answered all: they are captured after their orders were cancelled, and refunded."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._conditions.late_s + QUIET_TIMEOUT_S):
                while (await self._query("summary", REQUESTED_PAYMENTS))[0][0]:  # noqa: ASYNC110 - the state is another process's
                    await asyncio.sleep(POLL_S)

    async def results(self) -> tuple[Counter[str], list[str]]:
        found: Counter[str] = Counter()
        for row in await self._query("processes", RESULTS):
            found[_kind_of(row["result"])] += row["orders"]
        stuck = await self._query("processes", STUCK)
        return found, [f"{row['id']}: {row['status']}, waits for {', '.join(row['waiting_for'])}" for row in stuck]

    async def _send(self, commands: Iterable[CommandMessage], recorder: OutcomeRecorder | None = None) -> None:
        sender = CommandSender(self._servers.rabbitmq_url, name="drill", resend_after_s=5.0)
        await sender.send(commands, recorder.on_outcome if recorder else None)

    async def _query(self, which: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Repeated while the server is away: it is killed now and then."""
        url = self._servers.processes_db_url if which == "processes" else self._servers.stores["summary"]
        schema = folder_of("fulfilment") if which == "processes" else "summary"
        async with asyncio.timeout(QUIET_TIMEOUT_S):
            while True:
                try:
                    return await _fetch(url, schema, statement, arguments)
                except Exception as error:
                    if not is_outage(error):
                        raise
                await asyncio.sleep(POLL_S)


async def fulfilment(servers: Servers, conditions: Conditions, display: Display) -> FulfilmentReport:
    """The report. Raises ChildExitedError, and the errors of sending."""
    settings = settings_for(servers)
    await migrate(settings)
    async with _running(servers, conditions) as supervisor:
        drill = Drill(servers, conditions, display)
        kills = Kills(supervisor, DEPLOYABLES, servers.private, conditions.kills, conditions.kill_every_s)
        began = time.monotonic()

        async def everything() -> float:
            killing = asyncio.create_task(kills.run())
            try:
                await drill.place()
                display.print_line("waiting until every order is shipped or cancelled")
                await drill.ship_until_done()
                seconds = time.monotonic() - began
                await killing
            finally:
                killing.cancel()
            display.print_line("waiting for the late payments")
            await drill.wait_for_late_payments()
            await drill.ship_until_done()
            return seconds

        seconds = await supervisor.supervise(everything())
        results, stuck = await drill.results()
        display.print_line("verifying every stream and law")
        proof = await supervisor.supervise(verify(settings, Options(), display))
        return FulfilmentReport(
            orders=conditions.plan.orders,
            results=dict(results),
            stuck=stuck,
            kills=dict(kills.done),
            seconds=seconds,
            verified=proof.equal,
            findings=[f"{one.projection}: {one.kind} {one.place} {one.detail}" for one in proof.findings[:20]],
        )


async def _fetch(url: str, schema: str, statement: str, arguments: Sequence[object]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url, server_settings={"search_path": schema}, timeout=10)
    try:
        found: list[asyncpg.Record] = await connection.fetch(statement, *arguments, timeout=30)
        return found
    finally:
        connection.terminate()


@asynccontextmanager
async def _running(servers: Servers, conditions: Conditions) -> AsyncIterator[Supervisor]:
    environment: Mapping[str, str] = dict(os.environ) | PRIVATE | conditions.environ()
    async with Supervisor(output=None) as supervisor:
        await supervisor.start(program(name, servers, environment) for name in DEPLOYABLES)
        yield supervisor


def _kind_of(result: str) -> str:
    """Without what is particular to an order."""
    if result.startswith("cancelled: reserve:"):
        return "cancelled: out of stock"
    return result.partition("; ")[0]
