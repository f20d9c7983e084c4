"""Who a command is and where its answers go: source and id together name it, and no two answers share a name."""

import asyncio
import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
import pytest

from shared.messages.envelope import MAX_MESSAGE_BYTES
from shared.messaging import topology
from tests.e2e.bus import Bus, encode, envelope
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

REGISTER = "customers.register-customer"
REGISTER_URL = f"/commands/{REGISTER}"
WAIT = {"Prefer": "wait=10"}


def customer(**changes: Any) -> dict[str, Any]:
    return {"customer_id": uuid4().hex, "name": "Ann"} | changes


async def outcome_of(bus: Bus, source: str, id_: str, data: Any, type_: str = REGISTER) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        await bus.ask(encode(envelope(type_, data, id_=id_) | {"source": source}), routing_key=type_)
    )
    return answer


async def test_one_id_from_two_sources_is_two_commands_with_an_outcome_each(bus: Bus) -> None:
    id_ = f"pay-1-{uuid4().hex}"
    ours, theirs = customer(), customer()
    first, second = await outcome_of(bus, "shop", id_, ours), await outcome_of(bus, "billing/eu", id_, theirs)
    assert [one["type"] for one in (first, second)] == ["command.accepted"] * 2
    assert first["id"] != second["id"]
    assert [one["commandsource"] for one in (first, second)] == ["shop", "billing/eu"]
    assert await outcome_of(bus, "shop", id_, ours) == first
    assert await outcome_of(bus, "billing/eu", id_, theirs) == second
    reused = await outcome_of(bus, "shop", id_, theirs)
    assert reused["data"]["code"] == "idempotency-key-reused"


async def test_over_http_another_name_under_a_used_id_is_refused_though_only_the_worker_can_tell(
    system: System,
) -> None:
    """Commands of persons are compared by a digest under a key that the HTTP service does not have."""
    key, data = {"Idempotency-Key": uuid4().hex}, customer()
    first = await system.commands.post(REGISTER_URL, json=data, headers=key | WAIT)
    assert first.status_code == 200
    for more in ({}, WAIT, {"Prefer": "wait=10"}):
        refused = first
        while refused is first or refused.status_code == 202:  # the worker has not answered in time
            refused = await system.commands.post(REGISTER_URL, json=data | {"name": "Bea"}, headers=key | more)
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency-key-reused")
        again = await system.commands.post(REGISTER_URL, json=data, headers=key | more)
        assert (again.status_code, again.content == first.content) == ((200, True) if more else (202, False))
    key, names = {"Idempotency-Key": uuid4().hex}, ("Ann", "Bea", "Ann", "Bea")
    data = customer()
    answers = await asyncio.gather(
        *(system.commands.post(REGISTER_URL, json=data | {"name": name}, headers=key | WAIT) for name in names)
    )
    accepted = {name for name, answer in zip(names, answers, strict=True) if answer.status_code == 200}
    assert len(accepted) == 1
    for name, answer in zip(names, answers, strict=True):
        assert (answer.status_code == 200) == (name in accepted), answer.text
    shown = await system.visible(f"/customers/{data['customer_id']}")
    assert {shown["name"]} == accepted


async def test_the_refusal_of_a_used_id_has_an_id_of_its_own_for_each_body(bus: Bus) -> None:
    id_ = uuid4().hex
    first = await outcome_of(bus, "shop", id_, customer())
    one, two = customer(), customer()
    refusals = [await outcome_of(bus, "shop", id_, data) for data in (one, two, one)]
    assert {refusal["data"]["code"] for refusal in refusals} == {"idempotency-key-reused"}
    ids = [refusal["id"] for refusal in refusals]
    assert ids[0] == ids[2]
    assert len({first["id"], *ids}) == 3


async def test_refusals_of_what_is_no_command_have_ids_of_their_own(bus: Bus) -> None:
    bodies = [
        b"garbage one",
        b"garbage two",
        b"{}",
        b'{"type": "a.b"}',
        encode([{"id": "x"}, {"id": "y"}, {"id": "x"}]),
    ]
    answers = [json.loads(await bus.ask(body)) for body in bodies]
    refusals = [one for answer in answers for one in (answer if isinstance(answer, list) else [answer])]
    assert len({refusal["id"] for refusal in refusals}) == len(refusals) == 7
    assert "/outcome" not in {refusal["id"] for refusal in refusals}


async def test_a_calling_service_names_itself_over_http_and_finds_its_outcome_by_it(system: System) -> None:
    id_, commands = uuid4().hex, system.commands

    async def send(data: dict[str, Any], **headers: str) -> httpx.Response:
        return await commands.post(REGISTER_URL, json=data, headers={"Idempotency-Key": id_, **WAIT, **headers})

    shop = await send(customer(), **{"Tidemark-Source": "shop & co"})
    assert shop.status_code == 200, shop.text
    assert shop.headers["location"] == f"/commands/{id_}?source=shop%20%26%20co"
    assert (await commands.get(f"/commands/{id_}")).content == shop.content  # nobody else has used it yet
    ours = await send(customer())
    assert (ours.status_code, ours.headers["location"]) == (200, f"/commands/{id_}")
    assert ours.json()["commandsource"] == "tidemark/http"
    assert (await commands.get(shop.headers["location"])).content == shop.content
    assert (await commands.get(f"/commands/{id_}")).content == ours.content
    assert (await commands.get(f"/commands/{id_}", params={"source": "nobody"})).status_code == 404


async def test_an_id_that_several_other_sources_have_used_needs_the_source(system: System) -> None:
    id_ = uuid4().hex
    for source in ("shop", "billing"):
        await outcome_of(system.bus, source, id_, customer())
    answer = await system.commands.get(f"/commands/{id_}")
    assert (answer.status_code, answer.json()["code"]) == (409, "source-needed")
    assert (await system.commands.get(f"/commands/{id_}", params={"source": "shop"})).status_code == 200


@pytest.mark.parametrize("source", ["", "x" * 501])
async def test_a_source_that_cannot_be_is_refused(system: System, source: str) -> None:
    headers = {"Tidemark-Source": source}
    answer = await system.commands.post(REGISTER_URL, json=customer(), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "source")


@pytest.mark.parametrize("id_", [".", "..", "%2e%2e", "%2E"])
async def test_an_id_that_no_url_can_name_is_refused_over_http(system: System, id_: str) -> None:
    answer = await system.commands.post(REGISTER_URL, json=customer(), headers={"Idempotency-Key": id_})
    assert answer.status_code == 422, answer.headers
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert "location" not in answer.headers


@pytest.mark.parametrize("id_", [".", ".."])
async def test_an_id_that_no_url_can_name_is_sound_over_amqp(bus: Bus, id_: str) -> None:
    source, data = uuid4().hex, customer()
    first = await outcome_of(bus, source, id_, data)
    assert first["type"] == "command.accepted"
    assert await outcome_of(bus, source, id_, data) == first


@pytest.mark.parametrize("form", ["utf-8", "percent-encoded"])
async def test_an_id_beyond_ascii_is_percent_encoded_in_every_header(system: System, form: str) -> None:
    id_ = f"zahlung-ü-支払-{uuid4().hex}"
    given = id_.encode() if form == "utf-8" else quote(id_).encode()
    headers = [(b"Idempotency-Key", given), (b"Prefer", b"wait=10")]
    answer = await system.commands.post(REGISTER_URL, json=customer(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["command_id"] == id_
    assert answer.headers["location"] == f"/commands/{quote(id_)}"
    assert (await system.commands.get(answer.headers["location"])).content == answer.content
    refused = await system.commands.post(
        "/commands/orders.deliver-order?subject=nobody",
        json={},
        headers=[(b"Idempotency-Key", given + b"-2"), headers[1]],
    )
    assert (refused.status_code, refused.headers["location"]) == (404, f"/commands/{quote(id_)}-2")


async def test_an_id_that_is_not_utf_8_is_refused(system: System) -> None:
    answer = await system.commands.post(REGISTER_URL, json=customer(), headers=[(b"Idempotency-Key", b"\xfc-1")])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_what_is_too_large_as_an_envelope_is_refused_and_all_else_has_an_outcome(system: System) -> None:
    around = envelope_bytes(b"")
    edge = MAX_MESSAGE_BYTES - around
    for size, status in (
        (edge - 1, 200),
        (edge, 200),
        (edge + 1, 413),
        (MAX_MESSAGE_BYTES, 413),
        (MAX_MESSAGE_BYTES + 1, 413),
    ):
        body = large_order(size)
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4()), **WAIT}
        answer = await system.commands.post("/commands/orders.place-order", content=body, headers=headers)
        assert answer.status_code == status, (size, answer.text[:300])
        if status == 413:
            assert answer.json()["code"] == "message-too-large"
            assert str(MAX_MESSAGE_BYTES) in answer.json()["detail"]
            assert size > MAX_MESSAGE_BYTES or str(size + around) in answer.json()["detail"]


def large_order(size: int) -> bytes:
    """A sound order's data of exactly so many bytes, compact JSON."""
    name = "ü" * 400
    line = {"product_id": "p" * 128, "quantity": 1, "amount": 1, "name": name}
    order = {"order_id": uuid4().hex, "customer_id": "c", "currency": "EUR", "lines": [line] * 1000}
    missing = size - len(compact(order))
    lines = [line | {"name": name + "x" * (missing // 1000 + (n < missing % 1000))} for n in range(1000)]
    body = compact(order | {"lines": lines})
    assert len(body) == size
    return body


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def envelope_bytes(data: bytes) -> int:
    """How large a command sent over HTTP with a UUID for an id is on the bus of a system that records traces."""
    attributes = {"id": str(uuid4()), "source": "tidemark/http", "type": "orders.place-order"}
    attributes["traceparent"] = f"00-{32 * '0'}-{16 * '0'}-00"
    whole = {"specversion": "1.0", **attributes, "datacontenttype": "application/json", "data": 0}
    return len(compact(whole)) - 1 + len(data)


@pytest.mark.parametrize(
    "queue", ["summary.0", "control.operations", "commands", "commands.dead", "orders-of-somebody"]
)
async def test_a_reply_goes_to_a_reply_queue_and_to_no_other(system: System, queue: str) -> None:
    bus, id_ = system.bus, uuid4().hex
    if queue == "orders-of-somebody":
        await bus.own_queue(queue)
    letters = await count_letters(system)
    await bus.send(
        encode(envelope(REGISTER, customer(), id_=id_)), routing_key=REGISTER, reply_to=queue, correlation_id=id_
    )
    await decided(system.commands, id_)
    again = await outcome_of(bus, "tests", uuid4().hex, customer())  # what was published before it has arrived
    assert again["type"] == "command.accepted"
    assert await bus.depth(queue) == 0
    assert await count_letters(system) == letters


async def test_reply_queues_are_those_the_broker_named_and_those_that_say_so(system: System) -> None:
    for name in (f"reply.{uuid4().hex}", f"replies.{uuid4().hex}", ""):
        queue = await system.bus.own_queue(name)
        await system.bus.send(encode(envelope(REGISTER, customer())), routing_key=REGISTER, reply_to=queue.name)
        message = await queue.get(timeout=10, fail=False) or await waited(queue)
        assert json.loads(message.body)["type"] == "command.accepted"


async def test_a_direct_reply_arrives(system: System) -> None:
    answer = await system.bus.ask_directly(encode(envelope(REGISTER, customer())), routing_key=REGISTER)
    assert json.loads(answer)["type"] == "command.accepted"


async def waited(queue: Any) -> Any:
    async with queue.iterator(timeout=10) as messages:
        async for message in messages:
            return message


async def decided(client: httpx.AsyncClient, id_: str) -> None:
    for _ in range(600):
        if (await client.get(f"/commands/{id_}")).status_code == 200:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{id_} has no outcome")


async def count_letters(system: System) -> int:
    connection = await asyncpg.connect(system.servers.operations_db_url, server_settings={"search_path": "operations"})
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM letters")
        return count
    finally:
        await connection.close()


def test_no_queue_of_tidemark_is_a_reply_queue_but_the_one_that_process_managers_have() -> None:
    from shared.messaging.reply_to import is_reply_queue

    names = [queue.name for queue in topology.declarations(lanes=256).queues]
    assert len(names) > 700
    assert [name for name in names if is_reply_queue(name)] == [topology.PROCESS_REPLIES_QUEUE]


async def test_an_id_as_long_as_ids_may_be_in_any_script_is_taken(system: System) -> None:
    """In bytes it is longer than AMQP's short strings may be."""
    id_ = "支" * (128 - 32) + uuid4().hex
    answer = await system.commands.post(REGISTER_URL, json=customer(), headers={"Idempotency-Key": quote(id_), **WAIT})
    assert answer.status_code == 200, answer.text
    assert (await system.commands.get(answer.headers["location"])).content == answer.content


async def test_a_type_as_long_as_types_may_be_is_refused_and_stops_nobody(bus: Bus) -> None:
    type_ = ".".join(["x" * 64] * 4)
    refused = json.loads(await bus.ask(encode(envelope(type_, {})), routing_key="any"))
    assert refused["data"]["code"] == "unknown-command"
    assert (await outcome_of(bus, "tests", uuid4().hex, customer()))["type"] == "command.accepted"
