"""``tidemark drill poison``: fail, see, fix, canary, replay: a walk through an SRE's bad day, on servers and data of its own.

    a deployment of the summary that cannot apply one stream in a hundred ──▶ held streams, dead letters, one group
    the fix is deployed ──▶ replay with a canary ──▶ every store equal to the source

The failure is made by ``TIDEMARK_POISON`` (``projectors/runtime/poison.py``); everything after it is the real thing.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final
from zlib import crc32

import asyncpg
from rich.console import Console
from rich.table import Table

from deploy.demo.demo import settings_for
from deploy.demo.display import Display
from deploy.demo.flow import Sending, flow
from deploy.demo.report import Report
from deploy.demo.source import RetailYear
from deploy.run.child import Program
from deploy.run.deployables import program
from deploy.run.migrate import migrate
from deploy.run.supervisor import Supervisor
from deploy.sending.sender import CommandSender
from deploy.servers import ports
from deploy.servers.provide import Servers
from shared.messages.control import Replay, Selection
from shared.messaging.operations_client import request, send_request
from shared.read_models import NAMES
from shared.views.operations import SCHEMA, Refused
from shared.views.operations_queries import GROUPS, JOB, parameters

PROJECTION: Final = "summary"
OUT_OF: Final = 100
RULE: Final = f"{PROJECTION}:1/{OUT_OF}"
DEPLOYABLES: Final = ("worker", "relay", *NAMES, "dead_letters", "query")
PATIENCE_S: Final = 180.0
POLL_S: Final = 0.2
CANARY: Final = 5


class DrillFailedError(Exception):
    """A step did not come to what it must; the message says which."""


async def poison(servers: Servers, orders: int, display: Display, console: Console) -> Report:
    """The report at the end, when all is replayed. Raises DrillFailedError, and what the demo's run raises."""
    settings = settings_for(servers)
    await migrate(settings)
    port = ports.free_port()
    environment = dict(os.environ) | {"TIDEMARK_QUERY_PORT": str(port), "TIDEMARK_LOG_LEVEL": "WARNING"}
    sick = environment | {"TIDEMARK_POISON": RULE, "TIDEMARK_SUMMARY_RETRIES": "1"}
    async with Supervisor(output=None) as supervisor:
        display.say(f"1. deploying a {PROJECTION} that fails on one stream in {OUT_OF}")
        await supervisor.start(
            program(name, servers, sick if name == PROJECTION else environment) for name in DEPLOYABLES
        )
        fixed = program(PROJECTION, servers, environment)
        await supervisor.watched(_walk(servers, supervisor, fixed, orders, display, console))
        display.say("6. holding every store against the source")
        pids = {name: supervisor.pid(name) for name in DEPLOYABLES}
        return await supervisor.watched(flow(servers, f"http://127.0.0.1:{port}", orders, display, lambda: pids))


async def _walk(
    servers: Servers, supervisor: Supervisor, fixed: Program, orders: int, display: Display, console: Console
) -> None:
    """Fail, see, fix, replay. Raises DrillFailedError."""
    poisoned = await _send(servers, orders, display)
    database = await asyncpg.connect(
        servers.operations_db_url, server_settings={"search_path": SCHEMA, "timezone": "UTC"}
    )
    try:
        display.say(f"3. the others flow; {poisoned} streams must show as dead letters")
        groups = await _until(lambda: _groups(database, poisoned), f"{poisoned} dead letters")
        _show(groups, console)
        display.say("4. the cause is found; deploying the fix")
        await supervisor.kill(PROJECTION)
        await supervisor.start([fixed])
        display.say(f"5. replaying all {poisoned}, {CANARY} of them first")
        job_id = await _replay(servers)
        job = await _until(lambda: _ended(database, job_id), "the end of the replay")
        display.say(f"   job {job['id']}: {job['succeeded']} succeeded, {job['failed']} failed, {job['state']}")
    finally:
        await database.close()


async def _send(servers: Servers, orders: int, display: Display) -> int:
    """Send the baskets; returns how many of the accepted streams are poisoned."""
    year = await asyncio.to_thread(RetailYear, orders)
    total = year.customer_count + year.product_count + year.basket_count
    display.say(f"2. sending {total:,} commands")
    display.begin("outcomes", total)
    sending = Sending(display)
    await CommandSender(servers.rabbitmq_url, name="drill").send(year.commands(), sending.on_outcome)
    return sum(crc32(stream.encode()) % OUT_OF < 1 for stream in sending.versions)


async def _groups(database: asyncpg.Connection, expected: int) -> list[asyncpg.Record] | None:
    groups: list[asyncpg.Record] = await database.fetch(GROUPS, *parameters(Selection(origin=PROJECTION)), 20)
    return groups if sum(group["count"] for group in groups) >= expected else None


async def _replay(servers: Servers) -> int:
    act = Replay(selection=Selection(origin=PROJECTION), actor="drill", reason="the fix is deployed", canary=CANARY)
    answer = await send_request(servers.rabbitmq_url, request(act, source="tidemark/drill"), seconds=30)
    if isinstance(answer, Refused) or answer.job_id is None:
        raise DrillFailedError(f"the replay was refused: {answer}")
    return answer.job_id


async def _ended(database: asyncpg.Connection, job_id: int) -> asyncpg.Record | None:
    job = await database.fetchrow(JOB, job_id)
    if job is not None and job["state"] in {"stopped", "cancelled"}:
        raise DrillFailedError(f"job {job_id} is {job['state']}: {job['why']}")
    return job if job is not None and job["state"] == "completed" else None


async def _until(look: Callable[[], Awaitable[Any]], what: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (found := await look()) is None:  # noqa: ASYNC110 - what is looked at is another process's
                await asyncio.sleep(POLL_S)
            return found
    except TimeoutError as error:
        raise DrillFailedError(f"{what} did not come within {PATIENCE_S:.0f} s") from error


def _show(groups: list[asyncpg.Record], console: Console) -> None:
    table = Table("count", "origin", "exception", "types", title="tidemark dead-letters groups")
    for group in groups:
        table.add_row(str(group["count"]), group["origin"], group["exception"][:60], ", ".join(group["types"]))
    console.print(table)
