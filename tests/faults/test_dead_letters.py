"""Dead letters on bad days: their database is away, or a worker is killed in the middle of a replay. Each is there, and done, once."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import asyncpg
import httpx
import pytest

from deploy.sending.batches import CommandMessage, batches, command_message
from deploy.servers.provide import Servers
from projectors.dead_letters.inbox import PREFETCH
from shared.messages.control import Replay, Selection
from shared.messaging import topology
from shared.messaging.broker import Outgoing, Publisher
from shared.messaging.control_client import NoReplyError
from shared.messaging.operators.operations_client import request, send_request
from shared.views.operations import Done, Refused
from tests.faults.audit import caught_up, differences, queue_depths
from tests.faults.cluster import Cluster
from tests.faults.conftest import Standing
from tests.faults.letters import Letters, caught_up_but, letters_of, small_order
from tests.faults.load import loading
from tests.faults.waiting import until
from tests.proxy import Proxy

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

EVERYTHING_FAILS = {"TIDEMARK_POISON": "summary:1/1", "TIDEMARK_SUMMARY_RETRIES": "0"}
EVENTS = 2000
COMMANDS = 1000
LETTERS = 1200

# Kept state that does not fit, and no events to make it anew from.
BREAK = """
WITH unfit AS (UPDATE streams SET state_version = 0 WHERE stream LIKE 'customers/%')
UPDATE events SET stream = 'lost/' || stream WHERE stream LIKE 'customers/%'
"""
MEND = "UPDATE events SET stream = substr(stream, 6) WHERE stream LIKE 'lost/%'"
RENAMED = """
SELECT count(*) AS streams, min(version) AS least, max(version) AS most, (SELECT count(*) FROM events) AS events FROM streams
"""
OUTCOMES = """
SELECT outcome ->> 'type', count(*) FROM commands WHERE command_type = 'customers.rename-customer' GROUP BY 1
"""


@pytest.fixture
async def without_operations(
    own: Servers, standing: Standing, log: Path, seeded: Random
) -> AsyncIterator[tuple[Cluster, Proxy]]:
    """The deployables reach the operations database through a proxy, which a test takes down."""
    async with Proxy(own.operations_db_url).running() as proxy:
        yield await standing.ready(seeded, {"TIDEMARK_OPERATIONS_DB_URL": proxy.url}), proxy
        await standing.gone()


async def killed_in_the_middle(cluster: Cluster, letters: Letters, job_id: int, victim: str, total: int) -> None:
    # The job does not wait for the query service: it may have ended before that is back.
    for share in (0.1,) if victim == "query" else (0.1, 0.5):
        await letters.reaches(job_id, (share + cluster.random.uniform(0, 0.2)) * total)
        assert (await letters.job(job_id))["state"] == "running"
        await cluster.kill_and_restart(victim)


@pytest.mark.parametrize("victim", ["dead_letters", "summary", "relay", "query"])
async def test_a_replay_goes_on_whoever_is_killed_in_the_middle_of_it(cluster: Cluster, victim: str) -> None:
    """The one that keeps the job, the one that applies, the one that sends events again, and the one that shows how far it is."""
    await cluster.start_with("summary", **EVERYTHING_FAILS)
    commands = (small_order(number) for number in range(EVENTS))
    async with loading(cluster, commands, EVENTS, window=2000) as load, letters_of(cluster) as letters:
        await load.finished()
        await letters.dead(EVENTS)
        await cluster.start_with("summary")
        job_id = await letters.replay(rate=200, canary=20, ramp=(5, 30))
        await killed_in_the_middle(cluster, letters, job_id, victim, EVENTS)
        job = await letters.completed(job_id)
        assert (job["succeeded"], job["failed"], job["skipped"]) == (EVENTS, 0, 0)
        assert await _shown(cluster, job_id) == ("completed", EVENTS, EVENTS)
        assert await letters.by_status() == {"resolved": EVENTS}
        assert await letters.failed_again() == []
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


@pytest.mark.parametrize("victim", ["dead_letters", "worker"])
async def test_commands_are_replayed_once_whoever_is_killed_in_the_middle_of_it(cluster: Cluster, victim: str) -> None:
    """Their streams' states cannot be read for a while: that is our own fault, so the commands become letters."""
    registering = (_register(number) for number in range(COMMANDS))
    async with loading(cluster, registering, COMMANDS, window=2000) as load, letters_of(cluster) as letters:
        await load.finished()
        write = await asyncpg.connect(cluster.servers.write_db_url)
        await write.execute(BREAK)
        await _rename_all(cluster)
        await letters.dead(COMMANDS)
        await write.execute(MEND)
        job_id = await letters.replay(rate=100)
        await killed_in_the_middle(cluster, letters, job_id, victim, COMMANDS)
        job = await letters.completed(job_id)
        assert (job["succeeded"], job["failed"]) == (COMMANDS, 0)
        assert await letters.by_status() == {"resolved": COMMANDS}

        decided = await until(lambda: write.fetch(OUTCOMES), lambda rows: sum(row[1] for row in rows) == COMMANDS)
        assert list(map(tuple, decided)) == [("command.accepted", COMMANDS)]
        assert [tuple(row) for row in await write.fetch(RENAMED)] == [(COMMANDS, 2, 2, 2 * COMMANDS)]
        await write.close()


async def test_letters_wait_in_rabbitmq_while_their_database_is_away_and_then_are_all_there_once(
    without_operations: tuple[Cluster, Proxy],
) -> None:
    cluster, proxy = without_operations
    await cluster.start_with("summary", **EVERYTHING_FAILS)
    commands = (small_order(number) for number in range(LETTERS))
    async with loading(cluster, commands, LETTERS, window=100) as load, letters_of(cluster) as letters:
        await load.reaches(0.3)
        await until(letters.by_status)
        proxy.down()
        await load.finished()
        await caught_up_but(cluster, load, frozenset(load.versions))
        before = await _at_rest(letters)
        assert before < LETTERS / 2

        waiting = LETTERS - before - PREFETCH
        await until(
            lambda: queue_depths(cluster.servers.rabbitmq_url),
            lambda depths: depths[topology.dead_queue("summary")] >= waiting,
        )
        with pytest.raises(NoReplyError):
            await _replay_the_first(cluster, seconds=2)
        assert not cluster.died()
        await cluster.start_with("summary")
        proxy.up()
        # What was asked meanwhile was kept by the broker, and is done once.
        assert isinstance(await _replay_the_first(cluster, seconds=30), Done)
        await letters.are(dead=LETTERS - 1, resolved=1)
        assert await letters.failed_again() == []
        await letters.completed(await letters.replay())
        await letters.are(resolved=LETTERS)
        assert [job["total"] for job in await letters.database.fetch("SELECT total FROM jobs ORDER BY id")] == [
            1,
            LETTERS - 1,
        ]
        await caught_up(cluster, load)
        assert await differences(cluster, load) == {}


async def _replay_the_first(cluster: Cluster, *, seconds: float) -> Done | Refused:
    act = Replay(selection=Selection(letter_ids=(1,)), actor="a test")
    asked = request(act, source="tests", request_id="asked while the database is away")
    return await send_request(cluster.servers.rabbitmq_url, asked, seconds=seconds)


async def _shown(cluster: Cluster, job_id: int) -> tuple[str, int, int]:
    """The job as the query service shows it: its state, how many have succeeded, and how many there are."""
    async with httpx.AsyncClient(base_url=cluster.query_url, trust_env=False, timeout=10) as client:
        job = (await client.get(f"/dead-letters/jobs/{job_id}")).raise_for_status().json()
    return job["state"], job["succeeded"], job["total"]


async def _at_rest(letters: Letters) -> int:
    """How many letters there are, when no more come."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        if (found := sum((await letters.by_status()).values())) != count:
            count, since = found, time.monotonic()
        await asyncio.sleep(0.1)
    return count


def _register(number: int) -> CommandMessage:
    data = {"customer_id": f"c-{number}", "name": "Ann"}
    return command_message("customers.register-customer", f"register-{number}", data, source="tests")


async def _rename_all(cluster: Cluster) -> None:
    """Nobody waits for an answer: there is none until they have been replayed."""
    publisher = Publisher(cluster.servers.rabbitmq_url, "tests")
    renaming = (
        command_message("customers.rename-customer", f"rename-{n}", {"name": "Bea"}, source="tests", subject=f"c-{n}")
        for n in range(COMMANDS)
    )
    for batch in batches(renaming):
        await publisher.publish(Outgoing(topology.COMMANDS, batch.type, batch.body, batch.content_type))
    await publisher.close()
