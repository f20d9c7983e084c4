"""Dead letters in a running system, as tests make them, look at them, and have them replayed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from deploy.demo.catching_up import wait_until_applied
from deploy.demo.read_stores import open_read_stores
from deploy.sending.batches import CommandMessage, command_message
from shared.messages.control import Replay, Selection
from shared.messaging.operators.operations_client import request, send_request
from shared.views import operations
from tests.faults.audit import RECOVERY_S
from tests.faults.cluster import Cluster
from tests.faults.load import Load
from tests.faults.waiting import until

BY_STATUS: Final = "SELECT status, count(*) FROM letters GROUP BY status"
FAILED_AGAIN: Final = """
SELECT origin, stream, letters.version, string_agg(failed_at || ' as attempt ' || failures.attempts, ', ' ORDER BY failed_at) AS failed
FROM letters JOIN letter_failures AS failures ON failures.letter_id = letters.id
GROUP BY letters.id HAVING count(*) > 1 ORDER BY letters.id LIMIT 20
"""
JOB: Final = "SELECT * FROM jobs WHERE id = $1"
ITEMS: Final = "SELECT status, count(*) FROM job_items WHERE job_id = $1 GROUP BY status"


@dataclass(frozen=True)
class Letters:
    """The operations database, looked into from outside."""

    cluster: Cluster
    database: asyncpg.Connection

    async def by_status(self) -> dict[str, int]:
        return {row[0]: row[1] for row in await self.database.fetch(BY_STATUS)}

    async def failed_again(self) -> list[tuple[str, str, int, str]]:
        """Letters that have failed more than once, at most twenty: origin, stream, version, and when they did."""
        return [tuple(row) for row in await self.database.fetch(FAILED_AGAIN)]

    async def dead(self, count: int) -> None:
        """Return when there are so many letters, all dead."""
        await self.are(dead=count)

    async def are(self, **expected: int) -> None:
        """Return when there are so many letters of each status, and no others."""
        await until(self.by_status, lambda found: found == expected, within_s=90)

    async def replay(self, **how: Any) -> int:
        """The id of a job that replays everything; ``how``: rate, canary, concurrency."""
        act = Replay(selection=Selection(everything=True), actor="a test", reason="mended", **how)
        done = await send_request(self.cluster.servers.rabbitmq_url, request(act, source="tests"), seconds=30)
        assert isinstance(done, operations.Done), done
        assert done.job_id is not None
        return done.job_id

    async def job(self, job_id: int) -> asyncpg.Record:
        found = await self.database.fetchrow(JOB, job_id)
        assert found is not None
        return found

    async def reaches(self, job_id: int, succeeded: float) -> None:
        """Return when so many letters of the job have been replayed."""
        await until(lambda: self.job(job_id), lambda job: job["succeeded"] >= succeeded)

    async def completed(self, job_id: int) -> asyncpg.Record:
        """The job, when it has; its counts are those of its items."""
        job = await until(lambda: self.job(job_id), lambda job: job["state"] in ("completed", "stopped", "cancelled"))
        assert job["state"] == "completed", dict(job)
        counted = {row[0]: row[1] for row in await self.database.fetch(ITEMS, job_id)}
        kept = {name: job[name] for name in ("succeeded", "failed", "skipped") if job[name]}
        assert (kept, job["under_way"]) == (counted, 0)
        return job


@asynccontextmanager
async def letters_of(cluster: Cluster) -> AsyncIterator[Letters]:
    settings = {"search_path": operations.SCHEMA}
    database = await asyncpg.connect(cluster.servers.operations_db_url, server_settings=settings)
    try:
        yield Letters(cluster, database)
    finally:
        await database.close()


async def caught_up_but(cluster: Cluster, load: Load, sick: frozenset[str]) -> None:
    """Wait until every projection has applied what was accepted; the summary need not have the streams ``sick``."""
    async with open_read_stores(cluster.servers, cluster.query_url) as stores:
        for store in stores.all:
            left_out = sick if store.name == "summary" else frozenset[str]()
            wanted = {stream: version for stream, version in load.versions.items() if stream not in left_out}
            await wait_until_applied([store], wanted, lambda *_: None, no_progress_timeout_s=RECOVERY_S)


def small_order(number: int, customer: str = "c") -> CommandMessage:
    """An order of one line: a stream of one event."""
    order_id = f"{customer}-{number}"
    line = {"product_id": "p", "quantity": 1, "amount": 5}
    data = {"order_id": order_id, "customer_id": customer, "currency": "EUR", "lines": [line]}
    return command_message("orders.place-order", f"place-{order_id}", data, source="tests")
