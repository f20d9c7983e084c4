"""``tidemark drill poison``: a projection fails, is fixed, and its dead letters are replayed, on separate servers and data.

    a deployment of the summary that cannot apply one stream in a hundred ──▶ held streams, dead letters, one group
    the fix is deployed ──▶ replay with a canary ──▶ every store equal to the source

``TIDEMARK_POISON`` (``projectors/runtime/poison.py``) causes the failure; everything after it is what happens in production.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final
from zlib import crc32

import asyncpg
from rich.console import Console
from rich.table import Table

from deploy.demo.display import Display
from deploy.demo.outcomes import OutcomeRecorder
from deploy.demo.shop.flow import flow
from deploy.demo.shop.report import Report
from deploy.demo.shop.source import RetailYear
from deploy.demo.system import settings_for
from deploy.run.child import Program
from deploy.run.deployables import PRIVATE, program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.sender import CommandSender
from deploy.servers import ports
from deploy.servers.provide import Servers
from shared.messages.control import Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.read_models import NAMES
from shared.views.operations import SCHEMA, Refused
from shared.views.operations_queries import GROUPS, JOB, parameters

PROJECTION: Final = "summary"
ONE_IN: Final = 100
RULE: Final = f"{PROJECTION}:1/{ONE_IN}"
DEPLOYABLES: Final = ("worker", "relay", *NAMES, "dead_letters", "query")
STEP_TIMEOUT_S: Final = 180.0
POLL_S: Final = 0.2
CANARY: Final = 5


class DrillFailedError(Exception):
    """A step did not have the required result; the message names it."""


async def poison(servers: Servers, orders: int, display: Display, console: Console) -> Report:
    """The report after the replay. Raises DrillFailedError, and the errors of the demo's ``flow``."""
    settings = settings_for(servers)
    await migrate(settings)
    port = ports.free_port()
    environment = dict(os.environ) | PRIVATE | {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_LOG_LEVEL": "WARNING"}
    failing_environment = environment | {"TIDEMARK_POISON": RULE, "TIDEMARK_SUMMARY_RETRIES": "1"}
    async with Supervisor(output=None) as supervisor:
        display.print_line(f"1. deploying a {PROJECTION} that fails on one stream in {ONE_IN}")
        await supervisor.start(
            program(name, servers, failing_environment if name == PROJECTION else environment) for name in DEPLOYABLES
        )
        fixed = program(PROJECTION, servers, environment)
        await supervisor.supervise(_run_steps(servers, supervisor, fixed, orders, display, console))
        display.print_line("6. comparing every store with the source")
        pids = {name: supervisor.pid(name) for name in DEPLOYABLES}
        return await supervisor.supervise(flow(servers, f"http://127.0.0.1:{port}", orders, display, lambda: pids))


async def _run_steps(
    servers: Servers, supervisor: Supervisor, fixed: Program, orders: int, display: Display, console: Console
) -> None:
    """Send, wait for the dead letters, deploy the fix, replay. Raises DrillFailedError."""
    poisoned = await _send(servers, orders, display)
    database = await asyncpg.connect(
        servers.operations_db_url, server_settings={"search_path": SCHEMA, "timezone": "UTC"}
    )
    try:
        display.print_line(f"3. all other streams are applied; {poisoned} must appear as dead letters")
        groups = await _poll_until(lambda: _groups(database, poisoned), f"{poisoned} dead letters")
        _show(groups, console)
        display.print_line("4. the cause is found; deploying the fix")
        await supervisor.kill(PROJECTION)
        await supervisor.start([fixed])
        display.print_line(f"5. replaying all {poisoned}, {CANARY} of them first")
        job_id = await _replay(servers)
        job = await _poll_until(lambda: _completed_job(database, job_id), "the completed replay")
        display.print_line(f"   job {job['id']}: {job['succeeded']} succeeded, {job['failed']} failed, {job['state']}")
    finally:
        await database.close()


async def _send(servers: Servers, orders: int, display: Display) -> int:
    """Send the baskets; returns how many of the accepted streams are poisoned."""
    year = await asyncio.to_thread(RetailYear, orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.print_line(f"2. sending {total:,} commands")
    display.begin("outcomes", total)
    recorder = OutcomeRecorder(display)
    await CommandSender(servers.rabbitmq_url, name="drill").send(year.commands(), recorder.on_outcome)
    return sum(crc32(stream.encode()) % ONE_IN < 1 for stream in recorder.versions)


async def _groups(database: asyncpg.Connection, expected: int) -> list[asyncpg.Record] | None:
    groups: list[asyncpg.Record] = await database.fetch(GROUPS, *parameters(Selection(origin=PROJECTION)), 20)
    return groups if sum(group["count"] for group in groups) >= expected else None


async def _replay(servers: Servers) -> int:
    act = Replay(selection=Selection(origin=PROJECTION), actor="drill", reason="the fix is deployed", canary=CANARY)
    answer = await send_request(servers.rabbitmq_url, request(act, source="tidemark/drill"), seconds=30)
    if isinstance(answer, Refused) or answer.job_id is None:
        raise DrillFailedError(f"the replay was refused: {answer}")
    return answer.job_id


async def _completed_job(database: asyncpg.Connection, job_id: int) -> asyncpg.Record | None:
    job = await database.fetchrow(JOB, job_id)
    if job is not None and job["state"] in {"stopped", "cancelled"}:
        raise DrillFailedError(f"job {job_id} is {job['state']}: {job['why']}")
    return job if job is not None and job["state"] == "completed" else None


async def _poll_until(poll: Callable[[], Awaitable[Any]], what: str) -> Any:
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            while (found := await poll()) is None:  # noqa: ASYNC110 - the state is another process's
                await asyncio.sleep(POLL_S)
            return found
    except TimeoutError as error:
        raise DrillFailedError(f"timed out after {STEP_TIMEOUT_S:.0f} s waiting for {what}") from error


def _show(groups: list[asyncpg.Record], console: Console) -> None:
    table = Table("count", "origin", "exception", "types", title="tidemark dead-letters groups")
    for group in groups:
        table.add_row(str(group["count"]), group["origin"], group["exception"][:60], ", ".join(group["types"]))
    console.print(table)
