"""Commands that one sender publishes for one stream, in order and confirmed, are decided in that order: with several workers, of which
some are frozen or killed."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import asyncpg
import pytest

from deploy.run.deployables import program
from deploy.run.supervisor import Supervisor
from deploy.sending.outcomes import outcomes_in
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import BrokerError, Outgoing, Publisher
from tests.faults.audit import caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.load import Load, step

pytestmark = [pytest.mark.timeout(240)]

STEPS = ("place", "pay", "ship")
SENDERS = 4
AT_ONCE = 25
"""Orders that each sender has under way at any time."""
TAKEN_OVER_WITHIN_S = 45.0
"""Three heartbeats of a worker, and some time for what follows."""

OUTCOMES = "SELECT outcome FROM commands"
DECIDED = "SELECT count(*) FROM commands"


async def publish(publisher: Publisher, what: str, order_id: str) -> None:
    """Return when the broker has confirmed it; what is in doubt is sent again before anything that follows it."""
    command = step(what, order_id)
    while True:
        try:
            await publisher.publish(Outgoing(topology.COMMANDS, command.type, command.body, CONTENT_TYPE))
        except BrokerError:
            await asyncio.sleep(0.1)
        else:
            return


async def send(rabbitmq_url: str, order_ids: Iterable[str]) -> None:
    """Each order is placed, paid and shipped, every step confirmed before the next; nothing waits for outcomes."""
    publisher, places = Publisher(rabbitmq_url, "tests"), asyncio.Semaphore(AT_ONCE)

    async def life(order_id: str) -> None:
        async with places:
            for each in STEPS:
                await publish(publisher, each, order_id)

    try:
        await asyncio.gather(*map(life, order_ids))
    finally:
        await publisher.close()


class Shop:
    """Senders at work, and what has been decided of what they sent."""

    def __init__(self, cluster: Cluster, orders: int, connection: asyncpg.Connection) -> None:
        self.total = orders * len(STEPS)
        self._connection = connection
        ids = [f"order-{number}" for number in range(orders)]
        url = cluster.servers.rabbitmq_url
        self.sending = [asyncio.create_task(send(url, ids[start::SENDERS])) for start in range(SENDERS)]

    async def decided(self) -> int:
        count: int = await self._connection.fetchval(DECIDED)
        return count

    async def reaches(self, count: float, within: float = 120) -> None:
        """Return when so many commands are decided."""
        async with asyncio.timeout(within):
            while await self.decided() < count:  # noqa: ASYNC110 - asked of the server
                await asyncio.sleep(0.05)

    async def outcomes(self) -> Load:
        """Every outcome, when every command has its own."""
        await asyncio.gather(*self.sending)
        await self.reaches(self.total)
        load = Load(self.total)
        for row in await self._connection.fetch(OUTCOMES):
            for outcome in outcomes_in(row["outcome"].encode()):
                load.on_outcome(outcome)
        return load


@asynccontextmanager
async def selling(cluster: Cluster, orders: int) -> AsyncIterator[Shop]:
    connection = await asyncpg.connect(cluster.servers.write_db_url)
    shop = Shop(cluster, orders, connection)
    try:
        yield shop
    finally:
        for task in shop.sending:
            task.cancel()
        await asyncio.gather(*shop.sending, return_exceptions=True)
        await connection.close()


@asynccontextmanager
async def more_workers(cluster: Cluster, count: int) -> AsyncIterator[Sequence[Supervisor]]:
    """Besides the one that the cluster has, which is the first to be asked."""
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(Supervisor(None)) for _ in range(count)]
        for other in others:
            await other.start([program("worker", cluster.servers)])
        yield others


@contextmanager
def frozen(supervisor: Supervisor) -> Iterator[None]:
    pid = supervisor.pid("worker")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def in_order(cluster: Cluster, shop: Shop) -> None:
    """Nothing was refused, and every store shows every order as shipped."""
    load = await shop.outcomes()
    assert Counter(outcome.code for outcome in load.outcomes.values()) == {"": shop.total}
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}


async def test_two_workers_decide_what_one_sender_sends_in_its_order(cluster: Cluster) -> None:
    async with more_workers(cluster, 1), selling(cluster, 200) as shop:
        await in_order(cluster, shop)


@pytest.mark.slow
async def test_three_workers_of_which_the_working_one_freezes_and_wakes_and_others_are_killed_keep_the_order(
    cluster: Cluster,
) -> None:
    async with more_workers(cluster, 2) as (second, third), selling(cluster, 2000) as shop:
        await shop.reaches(0.15 * shop.total)
        with frozen(cluster.supervisor):
            before = await shop.decided()
            await shop.reaches(before + 500, within=TAKEN_OVER_WITHIN_S)
        await shop.reaches(0.5 * shop.total)
        await second.kill("worker")
        await shop.reaches(0.6 * shop.total, within=TAKEN_OVER_WITHIN_S)
        await second.restart("worker")
        with frozen(third):
            await cluster.pause(1, 3)
        await shop.reaches(0.75 * shop.total)
        await third.kill("worker")
        await shop.reaches(0.8 * shop.total, within=TAKEN_OVER_WITHIN_S)
        await cluster.supervisor.kill("worker")
        await cluster.supervisor.restart("worker")
        await in_order(cluster, shop)
