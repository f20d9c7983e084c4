"""Who may do what on the bus, on a system with ``TIDEMARK_AUTH=on``: services that send commands, and our own deployables."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPConnectionError, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from deploy.demo.system import settings_for
from deploy.services import store
from shared.messages.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE
from shared.messaging import topology
from tests.e2e.authenticated.secured import Secured
from tests.e2e.bus import encode, envelope

pytestmark = pytest.mark.timeout(400)

REGISTER = "customers.register-customer"
PLACE = "orders.place-order"
WITHIN_S = 60.0


async def tidemark(system: Secured, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "deploy.cli.main", *arguments]
    env = os.environ | system.servers.environ()
    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr if code else done.stdout


async def service(system: Secured, *may: str) -> tuple[str, str]:
    """A new service that may send these: its name and its URL."""
    made = await store.create(settings_for(system.servers), f"shop-{uuid4().hex[:8]}", may, actor="tests", reason="")
    return made.name, made.url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url, timeout=20) as connection:
        yield await connection.channel(on_return_raises=True)


async def send(channel: AbstractChannel, body: Any, user: str | None, key: str, *, exchange: str = "commands") -> Any:
    """The reply to a message at a queue of its own."""
    replies = await channel.declare_queue(exclusive=True)
    batch = isinstance(body, list)
    message = aio_pika.Message(
        encode(body),
        content_type=BATCH_CONTENT_TYPE if batch else CONTENT_TYPE,
        user_id=user,
        reply_to=replies.name,
        delivery_mode=2,
    )
    await (await channel.get_exchange(exchange, ensure=False)).publish(message, key)
    async with asyncio.timeout(WITHIN_S), replies.iterator(no_ack=True) as answers:
        return json.loads((await anext(answers)).body)


def verdict(reply: dict[str, Any]) -> str:
    return str(reply["data"].get("code", reply["type"]))


def register(source: str, **attributes: Any) -> dict[str, Any]:
    return envelope(REGISTER, {"customer_id": uuid4().hex, "name": "Ann"}) | {"source": source} | attributes


async def in_write_db(system: Secured, query: str, *values: Any, holds: Callable[[Any], bool] = bool) -> Any:
    """The first value of the query's first row, as soon as it ``holds``."""
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        async with asyncio.timeout(WITHIN_S):
            while not holds(found := await connection.fetchval(query, *values)):  # noqa: ASYNC110 - a row
                await asyncio.sleep(0.05)
        return found
    finally:
        await connection.close()


async def test_a_created_service_sends_over_amqp_and_gets_its_outcome_and_is_the_actor_of_its_events(
    secured: Secured,
) -> None:
    name = f"shop-{uuid4().hex[:8]}"
    made = json.loads(await tidemark(secured, "services", "create", name, "--may", "customers.*", "--output", "json"))
    command = register(made["source"], actor="ann")
    async with connected(made["url"]) as channel:
        reply = await send(channel, command, name, REGISTER)
    assert verdict(reply) == "command.accepted"
    event = json.loads(
        await in_write_db(secured, "SELECT envelope::text FROM events WHERE stream = $1", reply["data"]["stream"])
    )
    assert (event["actor"], event["behind"]) == (name, "ann")
    listed = json.loads(await tidemark(secured, "services", "list", "--output", "json"))["items"]
    assert [(one["may"], one["user"]) for one in listed if one["name"] == name] == [(["customers.*"], True)]


async def test_another_type_is_refused_by_the_broker_and_inside_a_message_by_the_worker_for_that_command_alone(
    secured: Secured,
) -> None:
    name, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        with pytest.raises(ChannelAccessRefused, match=r"orders\.place-order"):
            await send(channel, envelope(PLACE, {}), name, PLACE)
    other = envelope("payments.capture-payment", {}, subject="p-1") | {"source": name}
    async with connected(url) as channel:
        replies = await send(channel, [register(name), other, register(name)], name, REGISTER)
    assert [verdict(reply) for reply in replies] == ["command.accepted", "not-permitted", "command.accepted"]
    assert "may not send" in replies[1]["data"]["message"]


@pytest.mark.parametrize("who", ["the service", "the administrator"])
async def test_a_command_without_user_id_is_refused(secured: Secured, who: str) -> None:
    name, url = await service(secured, "customers.*")
    async with connected(url if who == "the service" else secured.servers.rabbitmq_url) as channel:
        reply = await send(channel, register(name), None, REGISTER)
    assert verdict(reply) == "not-permitted"
    assert "user-id" in reply["data"]["message"]


async def test_a_user_id_cannot_be_forged(secured: Secured) -> None:
    _, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        with pytest.raises(ChannelPreconditionFailed, match="user_id"):
            await send(channel, register("tests"), "tidemark_http", REGISTER)


async def test_nothing_is_kept_under_the_key_of_a_refused_command(secured: Secured) -> None:
    """Else whoever may not send a command could take its key from who may."""
    rightful, rightful_url = await service(secured, "customers.*")
    other, other_url = await service(secured, "customers.*")
    command = register(rightful)
    async with connected(other_url) as channel:
        refused = await send(channel, command | {"data": {"customer_id": "x", "name": "Eve"}}, other, REGISTER)
    assert verdict(refused) == "not-permitted"
    async with connected(rightful_url) as channel:
        first, again = [await send(channel, command, rightful, REGISTER) for _ in range(2)]
    assert verdict(first) == "command.accepted"
    assert again == first
    async with connected(other_url) as channel:  # nor is another's outcome shown
        assert verdict(await send(channel, command, other, REGISTER)) == "not-permitted"


async def test_a_service_has_its_reply_queues_and_the_rejections_of_its_types_and_nothing_else(
    secured: Secured,
) -> None:
    name, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        await channel.declare_queue(f"reply.{name}.answers", exclusive=True)
        rejections = await channel.declare_queue(exclusive=True)
        await rejections.bind(topology.OUTCOMES, "rejected.customers.#")
        unnamed = envelope(REGISTER, {"customer_id": uuid4().hex}) | {"source": name}
        assert verdict(await send(channel, unnamed, name, REGISTER)) == "validation-failed"
        async with asyncio.timeout(WITHIN_S), rejections.iterator(no_ack=True) as found:
            assert json.loads((await anext(found)).body)["data"]["command_id"] == unnamed["id"]

    async def refused(act: Callable[[AbstractChannel], Any]) -> None:
        async with connected(url) as channel:
            with pytest.raises(ChannelAccessRefused):
                await act(channel)

    async def bind(channel: AbstractChannel, exchange: str, key: str) -> None:
        await (await channel.declare_queue(exclusive=True)).bind(exchange, key)

    async def publish(channel: AbstractChannel, exchange: str, key: str) -> None:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        await target.publish(aio_pika.Message(b"{}"), key)

    await refused(lambda channel: channel.declare_queue("reply.another.answers", exclusive=True))
    await refused(lambda channel: channel.declare_queue("mine", durable=True))
    await refused(lambda channel: channel.declare_exchange("mine"))
    await refused(lambda channel: bind(channel, topology.OUTCOMES, "rejected.#"))
    await refused(lambda channel: bind(channel, topology.OUTCOMES, "rejected.orders.*"))
    for exchange, key in (("events", "lane.*"), ("commands", "#"), ("changes", "#"), ("control", "#")):
        await refused(partial(bind, exchange=exchange, key=key))
    for exchange, key in (("", "summary.0"), ("events", "lane.0"), ("control", "replay"), ("outcomes", "rejected.x")):
        await refused(partial(publish, exchange=exchange, key=key))
    for queue in ("commands", "summary.0", "commands.dead", "control.operations"):

        async def take(channel: AbstractChannel, queue: str = queue) -> None:
            await (await channel.get_queue(queue, ensure=False)).purge()

        async def delete(channel: AbstractChannel, queue: str = queue) -> None:
            await (await channel.get_queue(queue, ensure=False)).delete(if_unused=False, if_empty=False)

        await refused(take)
        await refused(delete)


async def test_the_query_service_s_url_can_neither_forge_an_event_nor_delete_a_queue(secured: Secured) -> None:
    url = secured.servers.url("query", "rabbitmq_url")
    for exchange, key in ((topology.EVENTS, "lane.0"), ("", "summary.0")):
        async with connected(url) as channel:
            target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
            with pytest.raises(ChannelAccessRefused):
                await target.publish(aio_pika.Message(b"{}", content_type=CONTENT_TYPE), key)
    async with connected(url) as channel:
        queue = await channel.get_queue("summary.0", ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.delete(if_unused=False, if_empty=False)


async def test_what_a_service_binds_to_the_queue_of_commands_is_no_command(secured: Secured) -> None:
    """It may bind that queue to what it may read, for the queue has the name of the exchange that it writes to."""
    name, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        commands = await channel.get_queue(topology.COMMAND_QUEUE, ensure=False)
        await commands.bind(topology.OUTCOMES, "rejected.customers.*")
        rejected = envelope(REGISTER, {"customer_id": uuid4().hex}) | {"source": name}
        assert verdict(await send(channel, rejected, name, REGISTER)) == "validation-failed"
        assert verdict(await send(channel, register(name), name, REGISTER)) == "command.accepted"
        await commands.unbind(topology.OUTCOMES, "rejected.customers.*")
    count = "SELECT count(*) FROM commands WHERE source = 'tidemark/command-service'"
    assert await in_write_db(secured, count, holds=lambda found: found is not None) == 0


async def test_a_rotation_leaves_connections_alone_and_a_revocation_closes_them(secured: Secured) -> None:
    name, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        rotated = (await store.rotate(settings_for(secured.servers), name, actor="tests", reason="")).url
        assert verdict(await send(channel, register(name), name, REGISTER)) == "command.accepted"
    with pytest.raises(AMQPConnectionError):
        await aio_pika.connect(url, timeout=20)
    connection = await aio_pika.connect(rotated, timeout=20)
    closed = asyncio.Event()
    connection.close_callbacks.add(lambda *_: closed.set())
    assert verdict(await send(await connection.channel(), register(name), name, REGISTER)) == "command.accepted"
    await tidemark(secured, "services", "revoke", name, "--reason", "test")
    async with asyncio.timeout(WITHIN_S):
        await closed.wait()
    with pytest.raises(AMQPConnectionError):
        await aio_pika.connect(rotated, timeout=20)
    assert "no service" in await tidemark(secured, "services", "rotate", name, code=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tidemark_http", "--may", "*"), "NAME"),
        (("Shop", "--may", "*"), "NAME"),
        (("shop", "--may", "orderz.*"), "orderz"),
    ],
)
async def test_a_service_has_a_name_of_its_own_and_types_that_exist(
    secured: Secured, arguments: tuple[str, ...], words: str
) -> None:
    assert words in await tidemark(secured, "services", "create", *arguments, code=2)


async def test_a_service_is_created_once(secured: Secured) -> None:
    name, _ = await service(secured, "orders.*")
    assert "already" in await tidemark(secured, "services", "create", name, "--may", "orders.*", code=1)


async def test_operators_send_and_processes_and_a_service_of_others_do_their_work(secured: Secured) -> None:
    order, product = f"o-{uuid4().hex}", f"p-{uuid4().hex}"

    async def sent(type_: str, data: dict[str, Any], *more: str) -> None:
        await tidemark(secured, "send", type_, json.dumps(data), *more)

    await sent(
        "catalog.create-product",
        {"product_id": product, "name": "Mug", "category": "mugs", "price": 5, "currency": "EUR"},
    )
    await sent("catalog.receive-stock", {"quantity": 3}, "--subject", product)
    line = {"product_id": product, "quantity": 1, "amount": 5}
    placed = {"order_id": order, "customer_id": "c-1", "currency": "EUR", "lines": [line], "fulfilment": "managed"}
    await sent("orders.place-order", placed)
    confirmed = "SELECT count(*) FROM events WHERE stream = $1 AND envelope ->> 'type' = 'orders.order-confirmed'"
    await in_write_db(secured, confirmed, f"orders/{order}")


async def test_refusals_are_in_the_audit(secured: Secured) -> None:
    name, url = await service(secured, "customers.*")
    async with connected(url) as channel:
        for _ in range(3):
            assert (
                verdict(await send(channel, envelope(PLACE, {}) | {"source": name}, name, REGISTER)) == "not-permitted"
            )
    await secured.supervisor.restart("worker")  # it publishes what it has counted in this minute
    connection = await asyncpg.connect(secured.servers.operations_db_url)
    try:
        query = "SELECT details::text FROM operations.audit WHERE act = 'denied' AND actor = $1"
        async with asyncio.timeout(WITHIN_S):
            while not (found := await connection.fetch(query, name)):  # noqa: ASYNC110 - a row
                await asyncio.sleep(0.05)
        acts = "SELECT act FROM operations.audit WHERE details ->> 'service' = $1"
        assert [row["act"] for row in await connection.fetch(acts, name)] == ["service-created"]
    finally:
        await connection.close()
    denied = [json.loads(row["details"]) for row in found]
    assert sum(one["count"] for one in denied) == 3
    assert {(one["service"], one["action"], one["code"]) for one in denied} == {("worker", PLACE, "not-permitted")}


async def test_what_a_revoked_service_has_scheduled_is_rejected_when_it_is_due_and_what_another_has_is_decided(
    secured: Secured,
) -> None:
    settings = settings_for(secured.servers)
    due = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
    sent = {}
    for is_revoked in (True, False):
        name, url = await service(secured, "customers.*")
        command = register(name, notbefore=due)
        async with connected(url) as channel:
            reply = await send(channel, command, name, REGISTER)
        assert (reply["type"], reply["data"]["reason"]) == ("command.pending", "scheduled")
        sent[command["id"]] = "not-permitted" if is_revoked else "command.accepted"
        if is_revoked:
            await store.revoke(settings, name, actor="tests", reason="")
    kept = "SELECT coalesce(outcome -> 'data' ->> 'code', outcome ->> 'type') FROM commands WHERE command_id = $1"
    for id_, expected in sent.items():
        assert await in_write_db(secured, kept, id_) == expected
    assert not await in_write_db(secured, "SELECT count(*) FROM scheduled_commands", holds=lambda found: not found)
