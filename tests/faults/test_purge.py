"""A projector's queues purged under load, also when nothing comes after: all of it arrives all the same, soon, and nobody does anything."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aio_pika
import pytest

from shared.messaging import topology
from tests import shop
from tests.faults.audit import RECOVERY_S, caught_up, differences
from tests.faults.cluster import Cluster
from tests.faults.letters import small_order
from tests.faults.load import loading
from tests.faults.waiting import in_outbox, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 2000
"""Each a stream of one event: whatever is lost, no later event shows it."""
WINDOW = 2
"""Orders under way: events then leave in small messages, more than a projector that stands still takes out of its queues before."""
LANES = 4


@pytest.mark.parametrize("projector", shop.WITH_ORDERS)
async def test_what_is_purged_from_a_projectors_queues_arrives_within_a_minute(
    cluster: Cluster, projector: str
) -> None:
    commands = (small_order(number) for number in range(ORDERS))
    purged = []
    async with loading(cluster, commands, ORDERS, window=WINDOW) as load:
        await load.reaches(0.05)
        with _standing_still(cluster, projector):
            await load.reaches(0.45)
            purged.append(await _purge(cluster, projector))
        await load.reaches(0.55)
        with _standing_still(cluster, projector):
            await load.finished()
            await until(lambda: in_outbox(cluster.servers.write_db_url), lambda left: left == 0)
            purged.append(await _purge(cluster, projector))
        began = time.monotonic()
        await caught_up(cluster, load)
        healed_after_s = round(time.monotonic() - began, 1)
        print(f"{projector}: purged {purged} messages, healed {healed_after_s} s after the last purge")
        assert all(purged)
        assert healed_after_s < RECOVERY_S
        assert await differences(cluster, load) == {}


@contextmanager
def _standing_still(cluster: Cluster, name: str) -> Iterator[None]:
    """What comes meanwhile waits in its queues."""
    pid = cluster.supervisor.pid(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _purge(cluster: Cluster, projector: str) -> int:
    """How many messages are gone."""
    async with await aio_pika.connect(cluster.servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        gone = 0
        for lane in range(LANES):
            queue = await channel.get_queue(topology.lane_queue(projector, lane), ensure=False)
            gone += (await queue.purge()).message_count or 0
    return gone
