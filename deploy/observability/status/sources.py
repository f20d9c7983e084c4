"""Reads all that ``tidemark status`` shows, from each part at the same time, within DEADLINE_S; a part that is down is named."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import httpx
from aiormq.exceptions import AMQPError
from pydantic import ValidationError

from command_service.measuring.outbox import OLDEST, PENDING
from projectors.dead_letters.queue_figures import QueueFigures
from shared.http.address import authority, reachable
from shared.messaging.broker import BrokerError, Publisher
from shared.processes import NAMES as PROCESS_MANAGERS
from shared.processes import folder_of
from shared.runtime.postgres import CONNECT_TIMEOUT_S
from shared.runtime.reasons import reason
from shared.runtime.settings import MissingSettingError, Settings
from shared.status.reading import GROUPS, JOBS, VERIFIED
from shared.status.snapshot import (
    COMMANDS,
    QUERIES,
    Job,
    LetterGroup,
    Outbox,
    ReportedProcess,
    Snapshot,
    Verification,
)
from shared.views.operations import SCHEMA
from shared.views.processes import FIGURES, ProcessFigures
from shared.views.progress import Freshness

DEADLINE_S: Final = 10.0
READY: Final = "/health/ready"
FAILURES: Final = (
    *(OSError, TimeoutError, ValueError),
    *(httpx.HTTPError, asyncpg.PostgresError, asyncpg.InterfaceError, BrokerError, AMQPError),
)
"""Why a part does not answer."""


async def read(settings: Settings, environ: Mapping[str, str] = os.environ) -> Snapshot:
    """``environ``: may name the addresses of the HTTP services, and a key for them."""
    found = Snapshot(datetime.now(UTC))
    host = reachable(settings.host)
    queries = environ.get("TIDEMARK_QUERY_URL") or f"http://{authority(host, settings.query_port)}"
    commands = environ.get("TIDEMARK_COMMAND_URL") or f"http://{authority(host, settings.command_port)}"
    key = environ.get("TIDEMARK_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S, headers=headers) as client:
        await asyncio.gather(
            _part(found, QUERIES, lambda: _freshness(found, client, queries)),
            _part(found, QUERIES, lambda: _readiness(found, "query", client, queries)),
            _part(found, COMMANDS, lambda: _readiness(found, "http", client, commands)),
            _part(found, "the write database", lambda: _outbox(found, settings)),
            _part(found, "RabbitMQ", lambda: _queues(found, settings)),
            _part(found, "the operations database", lambda: _operations(found, settings)),
            _part(found, "the process managers' database", lambda: _process_managers(found, settings)),
        )
    return found


async def _part(found: Snapshot, name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            await work()
    except MissingSettingError as error:
        found.down[name] = str(error)
    except FAILURES as error:
        found.down[name] = reason(error)


async def _freshness(found: Snapshot, client: httpx.AsyncClient, url: str) -> None:
    response = await client.get(f"{url}/freshness")
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ValueError("it needs a key with the scope queries:freshness; set TIDEMARK_API_KEY")
    answer = response.raise_for_status().json()
    projections = []
    for one in answer["projections"]:
        if "error" in one:
            found.unavailable[one["projection"]] = one["error"]
        else:
            projections.append(_freshness_of(one))
    found.projections = projections
    found.reported = [
        ReportedProcess(each["process"], each["heard_seconds_ago"], each["troubles"]) for each in answer["processes"]
    ]


def _freshness_of(one: Any) -> Freshness:
    try:
        return Freshness.model_validate(one)
    except ValidationError as error:
        raise ValueError(f"an answer of another version: {reason(error)}") from error


async def _readiness(found: Snapshot, name: str, client: httpx.AsyncClient, url: str) -> None:
    response = await client.get(url + READY)
    if response.status_code == httpx.codes.OK:
        found.readiness[name] = None
    elif response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        found.readiness[name] = str(response.json().get("detail", "it is not ready"))
    else:
        response.raise_for_status()


async def _connect(url: str, schema: str = "public") -> asyncpg.Connection:
    settings = {"search_path": f"{schema}, public", "default_transaction_read_only": "on"}
    return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)


async def _outbox(found: Snapshot, settings: Settings) -> None:
    connection = await _connect(settings.require("write_db_url"))
    try:
        pending, oldest = await connection.fetchval(PENDING), await connection.fetchval(OLDEST)
        found.outbox = Outbox(pending, max(0.0, oldest or 0.0))
    finally:
        connection.terminate()


async def _queues(found: Snapshot, settings: Settings) -> None:
    publisher = Publisher(settings.require("rabbitmq_url"), "status")
    try:
        found.queues = await QueueFigures(publisher.connected, settings.lanes).look()
    finally:
        await publisher.close()


async def _operations(found: Snapshot, settings: Settings) -> None:
    connection = await _connect(settings.require("operations_db_url"), SCHEMA)
    try:
        groups = [LetterGroup(**row) for row in await connection.fetch(GROUPS)]
        jobs = [Job(**row) for row in await connection.fetch(JOBS)]
        verified = await connection.fetchrow(VERIFIED)
    finally:
        connection.terminate()
    found.groups, found.jobs = groups, jobs
    found.verified = Verification(**verified) if verified is not None else None


async def _process_managers(found: Snapshot, settings: Settings) -> None:
    figures = []
    for name in PROCESS_MANAGERS:
        connection = await _connect(settings.processes_url(), folder_of(name))
        try:
            [row] = await connection.fetch(FIGURES)
            figures.append(ProcessFigures(name=name, **row))
        finally:
            connection.terminate()
    found.process_managers = figures
