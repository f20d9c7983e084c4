"""Every deployable's user tries everything on a real node: the broker allows exactly what was declared (``shared/messaging/access.py``)."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import aio_pika
import aiormq
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused

from deploy.broker.management import Management, ManagementError
from deploy.broker.users import USERS, put_users
from deploy.keys.store import operations_database
from deploy.run.migrate import migrate
from deploy.servers.accounts.urls import RABBITMQ, own_setting
from deploy.servers.provide import Servers
from deploy.services import store
from shared.messaging import topology
from shared.messaging.access import ACCESS, ADMINISTRATOR, user_of
from shared.messaging.permissions import EVERYTHING, Permissions
from shared.runtime.setting_values import variable
from shared.runtime.settings import Settings

pytestmark = pytest.mark.timeout(300)

QUEUES = [queue.name for queue in topology.declarations(1).queues]
EXCHANGES = topology.declarations(1).exchanges
KEYS = {
    "commands": ("orders.place-order", "payments.capture-payment"),
    "events": ("lane.0", "summary.lane.0", "fulfilment.lane.0", "search.history"),
    "outcomes": ("rejected.orders.place-order",),
    "changes": (
        "summary",
        "summary.passed",
        "search.acted",
        "commands.acted",
        "worker.denied",
        "process.relay",
        "process.summary",
    ),
    "control": ("replay", "resend", "history", "summary.discard", "summary.compared", "summary.rebuild", "process-act"),
    "dead": ("commands", "summary", "fulfilment"),
    "replies": ("amq.gen-test",),
}
"""Routing keys to publish to each exchange; to those of the retry tiers: a projector's."""
CHANGED = "SELECT details::text AS details FROM audit WHERE act = $1 AND at > now() - interval '1 minute'"
Attempt = Callable[[AbstractChannel], Awaitable[object]]
COUNTS: Counter[bool] = Counter()


@pytest.fixture(scope="module", autouse=True)
async def emptied(servers: Servers, migrated: Settings) -> AsyncIterator[None]:
    """What is published here is gone afterwards, and every queue is there."""
    yield
    async with await aio_pika.connect(servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        for queue in topology.declarations(migrated.lanes).queues:
            await (await channel.get_queue(queue.name, ensure=False)).purge()


async def is_allowed(connection: AbstractConnection, attempt: Attempt) -> bool:
    """Whether the broker permits it, whatever else may be wrong with it."""
    channel = await connection.channel(publisher_confirms=True)
    try:
        await attempt(channel)
    except ChannelAccessRefused:
        return False
    except aiormq.exceptions.ChannelClosed:
        return True
    finally:
        if not channel.is_closed:
            await channel.close()
    return True


def consume(queue: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).purge()  # by the permission to consume

    return attempt


def delete(queue: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        await (await channel.get_queue(queue, ensure=False)).delete(if_unused=False, if_empty=False)

    return attempt


def publish(exchange: str, key: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(b"attempt"), key, mandatory=False)

    return attempt


def bind(exchange: str, queue: str, key: str) -> Attempt:
    async def attempt(channel: AbstractChannel) -> None:
        bound = await channel.get_queue(queue, ensure=False)
        await bound.bind(exchange, key)
        await bound.unbind(exchange, key)

    return attempt


def may(user: Permissions, *, write: str = "", key: str | None = None, exchange: str = "") -> bool:
    topic = user.topics.get(exchange, (EVERYTHING, EVERYTHING))[0]
    return bool(re.search(user.write, write)) and (key is None or bool(re.search(topic, key)))


@pytest.mark.parametrize("deployable", ACCESS)
async def test_a_deployable_may_do_what_it_declares_and_nothing_else(servers: Servers, deployable: str) -> None:
    own = USERS[user_of(deployable)]
    tries: list[tuple[str, bool, Attempt]] = []
    for queue in QUEUES:
        tries.append((f"consume from {queue}", bool(re.search(own.read, queue)), consume(queue)))
        tries.append((f"delete {queue}", False, delete(queue)))
    for exchange in EXCHANGES:
        for key in KEYS.get(exchange, ("summary.lane.0", "fulfilment.lane.0")):
            allowed = may(own, write=exchange, key=key, exchange=exchange)
            tries.append((f"publish {key} to {exchange}", allowed, publish(exchange, key)))
        tries.append((f"bind summary.0 to {exchange}", False, bind(exchange, "summary.0", "#")))
    tries.append(("publish to summary.0 directly", deployable == "worker", publish("", "summary.0")))
    tries.append(("declare a queue", False, lambda channel: channel.declare_queue("another", durable=True)))
    tries.append(("declare an exchange", False, lambda channel: channel.declare_exchange("another")))
    connection = await aio_pika.connect(servers.url(deployable, "rabbitmq_url"), timeout=30)
    async with connection:
        for what, allowed, attempt in tries:
            assert await is_allowed(connection, attempt) == allowed, f"{deployable}: {what}"
            COUNTS[allowed] += 1


def test_the_attempts_above_were_many() -> None:
    if sum(COUNTS.values()) > 500:  # all of them ran in this process
        assert COUNTS[False] >= 500
        assert COUNTS[True] >= 60


async def test_every_queue_is_still_there_and_has_its_consumer_s_permission(servers: Servers) -> None:
    async with await aio_pika.connect(servers.rabbitmq_url) as connection:
        channel = await connection.channel()
        for queue in QUEUES:
            await channel.declare_queue(queue, passive=True)


async def test_permissions_that_were_widened_by_hand_are_put_right_by_the_next_migration(
    servers: Servers, migrated: Settings
) -> None:
    if not servers.rabbitmq_management_url:
        pytest.skip("these servers have no management API")
    management, name = Management(servers.rabbitmq_management_url), user_of("query")
    await management.put({name: Permissions(EVERYTHING, EVERYTHING, EVERYTHING, {"events": (EVERYTHING, "")})}, {})
    url = servers.url("query", "rabbitmq_url")
    async with await aio_pika.connect(url) as connection:
        assert await is_allowed(connection, publish("events", "lane.0"))
    service = await store.create(migrated, f"shop-{uuid4().hex[:8]}", ["orders.*"], actor="tests", reason="")
    await management.put({service.name: Permissions(EVERYTHING, EVERYTHING, EVERYTHING, {})}, {})
    lines = await migrate(migrated)
    assert any("permissions of" in line for line in lines), lines
    for each in (url, service.url):
        async with await aio_pika.connect(each) as connection:
            assert not await is_allowed(connection, publish("events", "lane.0"))
            assert not await is_allowed(connection, delete("summary.0"))
    await store.revoke(migrated, service.name, actor="tests", reason="")


async def test_a_migration_that_changes_a_password_says_so_in_the_audit_once(
    servers: Servers, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not servers.rabbitmq_management_url:
        pytest.skip("these servers have no management API")
    url, name = servers.url("payment_provider", "rabbitmq_url"), user_of("payment_provider")
    monkeypatch.setenv(variable(own_setting("payment_provider", RABBITMQ)), url)
    await migrate(migrated)
    await Management(servers.rabbitmq_management_url).set_password(name, uuid4().hex)
    for _ in range(2):
        await migrate(migrated)
        async with operations_database(migrated) as operations:
            found = await operations.fetch(CHANGED, "passwords-changed")
        assert json.loads(found[0]["details"])["users"] == [name]
        assert len(found) == 1
    await (await aio_pika.connect(url)).close()


async def test_a_user_that_is_not_there_is_named_and_the_others_are_put(servers: Servers) -> None:
    if not servers.rabbitmq_management_url:
        pytest.skip("these servers have no management API")
    management, name = Management(servers.rabbitmq_management_url), user_of("payment_provider")
    password = servers.url("payment_provider", "rabbitmq_url").split(":")[2].partition("@")[0]
    await management.delete(name)
    assert await put_users(management, {}) == [name]
    assert await put_users(management, {name: password}) == []
    await (await aio_pika.connect(servers.url("payment_provider", "rabbitmq_url"))).close()
    assert ADMINISTRATOR in await management.users()


async def test_the_management_api_says_why_it_does_not_answer(servers: Servers) -> None:
    if not servers.rabbitmq_management_url:
        pytest.skip("these servers have no management API")
    wrong = servers.rabbitmq_management_url.replace("tidemark:", "tidemark:wrong")
    with pytest.raises(ManagementError, match="refuses these credentials"):
        await Management(wrong).users()
    with pytest.raises(ManagementError, match="management API"):
        await Management("http://tidemark:x@127.0.0.1:9").users()
    with pytest.raises(ManagementError, match="is needed"):
        Management("amqp://tidemark:x@127.0.0.1")
