"""Whatever stands still says so within ten seconds, and why; ten seconds after it goes on everybody is well again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import httpx
import pytest

from deploy.run.supervisor import Supervisor
from deploy.run.topology import declare
from shared.messaging import topology
from shared.messaging.announcing import TAKEOVER_S
from shared.messaging.broker import Publisher
from shared.messaging.queue_watch import QueueWatch
from shared.read_models import NAMES
from shared.runtime.process import HEALTH_EVERY_S
from tests.faults.audit import caught_up, queue_depths
from tests.faults.broker import limited_queues, rabbitmqctl
from tests.faults.cluster import Cluster
from tests.faults.health_reports import (
    RECOVERY_TIMEOUT_S,
    REPORT_TIMEOUT_S,
    SERVICES,
    freshness,
    not_ready,
    not_ready_of,
    process_troubles,
    serves,
    stalled,
    wait_until_healthy,
)
from tests.faults.load import Load, loading, order_lifecycles
from tests.faults.poison import ONE_IN, POISON, held, poisoned
from tests.faults.test_command_order import TAKEN_OVER_WITHIN_S, frozen, more_workers
from tests.faults.test_freshness import stopped
from tests.faults.waiting import POLL_INTERVAL_S, until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

LIVES: Final = 100
LANES: Final = 4
ROOM: Final = 1
PROJECTIONS: Final = NAMES
READY: Final = dict.fromkeys(SERVICES, "")


@asynccontextmanager
async def moving(cluster: Cluster) -> AsyncIterator[Load]:
    """All is well, and commands come; at the end all is well again, soon, and all of them have been decided and applied."""
    await wait_until_healthy(cluster, within_s=30)
    async with loading(cluster, order_lifecycles(LIVES), 4 * LIVES, window=50) as load:
        await load.reaches(0.2)
        yield load
        await wait_until_healthy(cluster)
        await load.finished()
        await caught_up(cluster, load)


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Somebody keeps a table to himself."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def filled(cluster: Cluster, queue: str) -> AsyncIterator[None]:
    """Something is in the queue already: a quorum queue is full only for what is published after it has said so."""
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b"before"), queue)
        await until(lambda: queue_depths(cluster.servers.rabbitmq_url), lambda found: found[queue] >= ROOM)
    yield


@asynccontextmanager
async def without(cluster: Cluster, queue: str, instead: dict[str, Any] | None = None) -> AsyncIterator[None]:
    """The queue is missing, or another one of its name is in its place; in the end it is as it should be."""
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(queue)
        if instead is not None:
            made = await channel.declare_queue(queue, durable=True, arguments=instead)
            [wanted] = [each for each in topology.declarations(LANES).queues if each.name == queue]
            for exchange, key in wanted.bindings:
                await made.bind(exchange, key)
        try:
            yield
        finally:
            await channel.queue_delete(queue)
            await declare(cluster.servers.rabbitmq_url, LANES)


@asynccontextmanager
async def two_workers(cluster: Cluster) -> AsyncIterator[Supervisor]:
    """The cluster's, which decides, and this one, which stands by; each has been heard again since the other was first heard."""
    async with more_workers(cluster, 1) as [second]:
        await asyncio.sleep(3 * HEALTH_EVERY_S)
        yield second


async def test_a_full_queue_of_dead_letters_is_named_by_the_projection_that_waits_for_it(cluster: Cluster) -> None:
    await cluster.supervisor.kill("dead_letters")
    await cluster.start_with("summary", **POISON)
    queue = topology.dead_queue("summary")
    async with (
        limited_queues(cluster, queue, messages=ROOM),
        filled(cluster, queue),
        loading(cluster, order_lifecycles(16 * ONE_IN), 4 * 16 * ONE_IN, window=40) as load,
    ):
        await not_ready(cluster, ["summary"], queue, "full", within_s=30)
        await not_ready(cluster, ["query"], "summary", queue)
        await stalled(cluster, ["summary"], queue)
        assert await serves(cluster, "query")
        await cluster.start_with("dead_letters")
        await wait_until_healthy(cluster)
        await load.finished()
        await until(lambda: held(cluster), lambda found: {one for one, _ in found} == poisoned(load.versions))


async def test_a_locked_write_database_is_said_by_the_worker_by_both_services_and_by_freshness(
    cluster: Cluster,
) -> None:
    async with moving(cluster) as load:
        async with locked(cluster.servers.write_db_url, "streams"):
            await not_ready(cluster, ["worker", *SERVICES], "deciding", "lock")
            await stalled(cluster, PROJECTIONS, "worker", "deciding")
            assert await serves(cluster, "query")
            before = len(load.outcomes)
        await until(lambda: _count(load), lambda now: now > before)


async def test_a_worker_that_is_frozen_is_missed_by_both_services_and_by_freshness(cluster: Cluster) -> None:
    async with moving(cluster), stopped(cluster, "worker"):
        await not_ready(cluster, SERVICES, "worker", "has said nothing")
        await stalled(cluster, PROJECTIONS, "worker", "has said nothing")
        assert await serves(cluster, "http")


async def test_a_frozen_worker_is_missed_although_another_stands_by_until_that_one_has_taken_over(
    cluster: Cluster,
) -> None:
    async with two_workers(cluster), moving(cluster) as load:
        with frozen(cluster.supervisor):
            await not_ready(cluster, SERVICES, "worker: one of 2 processes has said nothing")
            before = len(load.outcomes)
            await until(lambda: _count(load), lambda now: now > before, within_s=TAKEN_OVER_WITHIN_S)
            await until(lambda: _readiness(cluster), lambda found: found == READY, within_s=TAKEOVER_S)
        await stays_ready(cluster)


async def test_a_frozen_worker_beside_another_that_wakes_before_it_is_taken_over_is_well_again(
    cluster: Cluster,
) -> None:
    async with two_workers(cluster), moving(cluster):
        with frozen(cluster.supervisor):
            await not_ready(cluster, SERVICES, "worker: one of 2 processes has said nothing")
        await until(lambda: _readiness(cluster), lambda found: found == READY, within_s=RECOVERY_TIMEOUT_S)


async def test_one_of_two_workers_that_is_stopped_or_killed_and_started_again_is_not_missed(cluster: Cluster) -> None:
    async with two_workers(cluster) as second, moving(cluster):
        await cluster.supervisor.kill("worker")
        await cluster.supervisor.restart("worker")
        await stays_ready(cluster)
        await second.stop()
        await stays_ready(cluster)


async def test_a_locked_read_store_is_said_by_its_projection_alone(cluster: Cluster) -> None:
    async with moving(cluster), locked(cluster.servers.stores["summary"], "summary.positions"):
        await not_ready(cluster, ["summary", "query"], "store", "lock")
        await stalled(cluster, ["summary"], "store")


async def test_a_frozen_broker_is_said_by_every_process_and_a_command_is_answered_promptly(cluster: Cluster) -> None:
    """The command may have been kept all the same: who gets a 503 is told so."""
    async with moving(cluster), cluster.frozen("rabbitmq"):
        frozen_at = time.monotonic()
        await _post_fails_promptly(cluster)
        left = 10 - (time.monotonic() - frozen_at)
        await not_ready(cluster, cluster.names, "RabbitMQ", within_s=left)
        await stalled(cluster, PROJECTIONS, "RabbitMQ does not answer")
        await _post_fails_promptly(cluster)
        assert await serves(cluster, "query")


async def test_a_missing_lane_is_named_with_what_mends_it_and_the_other_lanes_flow(cluster: Cluster) -> None:
    queue = topology.lane_queue("summary", 2)
    async with moving(cluster) as load, without(cluster, queue):
        await not_ready(cluster, ["summary", "query"], queue, "tidemark migrate")
        await stalled(cluster, ["summary"], queue)
        assert not await cluster.troubles("analytics")
        await load.finished()
        await caught_up(cluster, load, but=_in_lane(load, 2))


async def test_a_lane_that_is_bound_to_nothing_is_named(cluster: Cluster) -> None:
    """Its queue is there, and nothing comes: not even heartbeats."""
    queue, key = topology.lane_queue("search", 1), topology.lane_key(1)
    async with moving(cluster), await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        bound = await (await connection.channel()).get_queue(queue, ensure=False)
        await bound.unbind(topology.EVENTS, key)
        try:
            await not_ready(cluster, ["search", "query"], queue, "bound")
        finally:
            await bound.bind(topology.EVENTS, key)


@pytest.mark.parametrize(
    ("queue", "process"), [("summary.2", "summary"), ("summary.retry.5s", "summary"), ("control.resend", "relay")]
)
async def test_a_queue_that_was_made_otherwise_is_named_with_what_is_wrong_and_what_mends_it(
    cluster: Cluster, queue: str, process: str
) -> None:
    """By a process whose user may configure it, as where one user serves all."""
    await cluster.start_with(process, TIDEMARK_RABBITMQ_URL=cluster.servers.rabbitmq_url)
    async with moving(cluster), without(cluster, queue, instead={"x-queue-type": "quorum"}):
        await not_ready(cluster, [process, "query"], queue, "x-", "tidemark migrate")
        await until(
            lambda: process_troubles(cluster, process), lambda said: queue in said.get("queues", ""), within_s=5
        )
        await until(lambda: freshness(cluster), lambda found: {one["status"] for one in found.values()} == {"current"})


@pytest.mark.parametrize("queue", ["commands", "control.operations"])
async def test_a_missing_queue_of_commands_or_requests_is_named_by_who_reads_it_and_who_writes_it(
    cluster: Cluster, queue: str
) -> None:
    names = {"commands": ("worker", "http"), "control.operations": ("dead_letters",)}[queue]
    await wait_until_healthy(cluster, within_s=30)
    async with without(cluster, queue):
        await not_ready(cluster, names, queue, "tidemark migrate")
    await wait_until_healthy(cluster)


async def test_who_may_not_configure_queues_is_told_of_missing_ones_and_of_nothing_else(cluster: Cluster) -> None:
    """As with least privilege, where nobody but ``tidemark migrate`` may: the arguments of queues are not looked at then."""
    user, queue = "onlooker", topology.lane_queue("summary", 0)
    await rabbitmqctl(cluster, "add_user", user, user)
    try:
        await rabbitmqctl(cluster, "set_permissions", user, "^$", ".*", ".*")
        url = urlsplit(cluster.servers.rabbitmq_url)
        publisher = Publisher(url._replace(netloc=f"{user}:{user}@{url.hostname}:{url.port}").geturl(), user)
        watch = QueueWatch(publisher.connected, [queue, "no.such.queue"], every_s=0.2)
        watching = asyncio.create_task(watch.run())

        async def said() -> str | None:
            return watch.trouble

        try:
            async with without(cluster, queue, instead={"x-queue-type": "quorum"}):
                await until(said, lambda words: words == "queue no.such.queue is missing: run `tidemark migrate`")
        finally:
            watching.cancel()
            await publisher.close()
    finally:
        await rabbitmqctl(cluster, "delete_user", user)


async def _post_fails_promptly(cluster: Cluster) -> None:
    line = {"product_id": "p", "quantity": 1, "amount": 5}
    order = {"order_id": "o", "customer_id": "c", "currency": "EUR", "lines": [line]}
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=cluster.command_url, trust_env=False, timeout=20) as client:
        answer = await client.post("/commands/orders.place-order", json=order)
    took = time.monotonic() - began
    assert (answer.status_code, answer.json()["code"]) == (503, "broker-unavailable"), answer.text
    assert answer.headers["Retry-After"]
    assert took < 5, f"{took:.1f} s"


async def stays_ready(cluster: Cluster) -> None:
    """For as long as it takes to miss a process."""
    until_then = time.monotonic() + REPORT_TIMEOUT_S
    while time.monotonic() < until_then:
        assert await _readiness(cluster) == READY
        await asyncio.sleep(POLL_INTERVAL_S)


async def _readiness(cluster: Cluster) -> dict[str, str]:
    return {name: await not_ready_of(cluster, name) for name in SERVICES}


async def _count(load: Load) -> int:
    return len(load.outcomes)


def _in_lane(load: Load, lane: int) -> frozenset[str]:
    return frozenset(stream for stream in load.versions if topology.lane_of(stream, LANES) == lane)
