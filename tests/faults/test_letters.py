"""Dead letters under fire: those who make and keep them killed at exact places, and their queue full. Each is there, and once."""

import asyncio

import pytest

from shared.messaging import topology
from shared.runtime.failpoints import Failpoint
from tests.faults.audit import caught_up, differences, figures, queue_depths
from tests.faults.broker import limited_queues
from tests.faults.cluster import Cluster
from tests.faults.crashes import start_with_failpoint, wait_for_failpoint_exit
from tests.faults.load import Load, demo_commands, demo_size, loading
from tests.faults.losses import purge
from tests.faults.poison import POISON, each_has_its_letter, held, letters, poisoned, replay_everything, replayed
from tests.faults.waiting import in_outbox, until

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]

ORDERS = 300
QUEUE = topology.dead_queue("summary")
ROOM = 10


async def healed_and_equal(cluster: Cluster, load: Load, job: int) -> None:
    """The replay makes all good: nothing tells that there has ever been a poison."""
    await replayed(cluster, job)
    await caught_up(cluster, load)
    assert await differences(cluster, load) == {}
    assert await figures(cluster, load, ORDERS) == []


@pytest.mark.parametrize(
    ("taking", "sending"),
    [
        (Failpoint.BEFORE_COMMIT, Failpoint.BEFORE_REPLAY),
        (Failpoint.AFTER_COMMIT, Failpoint.AFTER_REPLAY),
        (Failpoint.BEFORE_ACK, Failpoint.BEFORE_REPLAY),
    ],
)
async def test_a_worker_that_dies_while_it_takes_letters_in_and_while_it_replays_them_does_both_once(
    cluster: Cluster, taking: Failpoint, sending: Failpoint
) -> None:
    await cluster.start_with("summary", **POISON)
    await start_with_failpoint(cluster, "dead_letters", place=taking, visit=cluster.random.randint(1, 3))
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, "dead_letters")
        await cluster.start_with("dead_letters")
        await load.finished()
        await each_has_its_letter(cluster, poisoned(load.versions))

        await cluster.start_with("summary")
        await start_with_failpoint(cluster, "dead_letters", place=sending, visit=cluster.random.randint(1, 4))
        asking = asyncio.create_task(replay_everything(cluster))
        await wait_for_failpoint_exit(cluster, "dead_letters")
        await cluster.start_with("dead_letters")
        await healed_and_equal(cluster, load, await asking)


async def test_a_projector_that_dies_between_holding_a_stream_and_saying_so_loses_no_letter(cluster: Cluster) -> None:
    """Once with letters, and once with copies for the delay tiers, which come back by themselves."""
    tiers = {"TIDEMARK_POISON": POISON["TIDEMARK_POISON"].replace("summary", "search")}
    await start_with_failpoint(cluster, "summary", place=Failpoint.AFTER_HOLD, visit=2, **POISON)
    await start_with_failpoint(cluster, "search", place=Failpoint.AFTER_HOLD, visit=2, **tiers)
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, "summary", "search")
        await cluster.start_with("summary", **POISON)
        await cluster.start_with("search")
        await load.finished()
        await each_has_its_letter(cluster, poisoned(load.versions))
        await cluster.start_with("summary")
        await healed_and_equal(cluster, load, await replay_everything(cluster))


async def test_a_projector_that_dies_before_a_letter_and_finds_its_queues_purged_writes_it_all_the_same(
    cluster: Cluster,
) -> None:
    """Nothing of what it has held comes again by itself."""
    await start_with_failpoint(cluster, "summary", place=Failpoint.AFTER_HOLD, visit=1, **POISON)
    async with loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load:
        await wait_for_failpoint_exit(cluster, "summary")
        await load.finished()
        await until(lambda: in_outbox(cluster.servers.write_db_url), lambda left: left == 0)
        assert await purge(cluster, "summary") > 0
        assert await held(cluster)
        assert await letters(cluster) == []
        await cluster.start_with("summary", **POISON)
        await each_has_its_letter(cluster, poisoned(load.versions))
        await cluster.start_with("summary")
        await healed_and_equal(cluster, load, await replay_everything(cluster))


async def test_a_full_queue_of_dead_letters_makes_the_projector_wait_and_loses_nothing(cluster: Cluster) -> None:
    await cluster.supervisor.kill("dead_letters")
    await cluster.start_with("summary", **POISON)
    async with (
        limited_queues(cluster, QUEUE, messages=ROOM),
        loading(cluster, demo_commands(ORDERS), demo_size(ORDERS), window=200) as load,
    ):
        await load.finished()
        depths = await until(lambda: queue_depths(cluster.servers.rabbitmq_url), lambda found: found[QUEUE] >= ROOM)
        assert depths[QUEUE] < len(poisoned(load.versions))
        await cluster.start_with("dead_letters")
        await each_has_its_letter(cluster, poisoned(load.versions))
        await cluster.start_with("summary")
        await healed_and_equal(cluster, load, await replay_everything(cluster))
