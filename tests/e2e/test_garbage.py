"""Garbage on the bus: each gets a clear rejection or becomes a dead letter with its reason; nothing is lost, nothing sticks."""

import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from shared import topology
from tests.e2e.bus import Bus, encode, envelope, outcome
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

LINE: dict[str, Any] = {"product_id": "p", "quantity": 1, "amount": 1}


def order(**changes: Any) -> dict[str, Any]:
    return {"order_id": uuid4().hex, "customer_id": "c", "currency": "EUR", "lines": [LINE]} | changes


def line(**changes: Any) -> dict[str, Any]:
    return order(lines=[LINE | changes])


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: member for name, member in value.items() if name not in names}


SOUND = envelope("orders.place-order", order())
MALFORMED = {
    "nothing at all": b"",
    "not JSON": b"place an order, please",
    "truncated JSON": encode(SOUND)[:-5],
    "gzip": gzip.compress(encode(SOUND)),
    "not UTF-8": encode(SOUND).replace(b"tests", b"\xff\xfe"),
    "UTF-16": json.dumps(SOUND).encode("utf-16"),
    "a number": b"42",
    "a text": b'"orders.place-order"',
    "null": b"null",
    "an empty batch": b"[]",
    "a batch in a batch": encode([[SOUND]]),
    "no id": encode(without(SOUND, "id")),
    "an id that is a number": encode(SOUND | {"id": 7}),
    "an id of 129 letters": encode(SOUND | {"id": "x" * 129}),
    "an empty id": encode(SOUND | {"id": ""}),
    "CR LF in the id": encode(SOUND | {"id": "a\r\nSet-Cookie: b"}),
    "NUL in the id": encode(SOUND | {"id": "a\x00b"}),
    "NUL in the source": encode(SOUND | {"source": "a\x00b"}),
    "CR LF in the subject": encode(SOUND | {"subject": "a\r\nb"}),
    "no type": encode(without(SOUND, "type")),
    "a type that is no name": encode(SOUND | {"type": "DROP TABLE orders"}),
    "no data": encode(without(SOUND, "data")),
    "data that is a list": encode(SOUND | {"data": [1]}),
    "another version of CloudEvents": encode(SOUND | {"specversion": "0.3"}),
    "the year 0": encode(SOUND | {"time": "0000-01-01T00:00:00Z"}),
    "the year 9999": encode(SOUND | {"time": "9999-12-31T23:59:59Z"}),
    "a negative expected version": encode(SOUND | {"expectedversion": -1}),
    "infinity": encode(SOUND | {"data": line(amount=float("inf"))}),
    "NaN": encode(SOUND | {"data": line(amount=float("nan"))}),
    "a lone surrogate": encode(SOUND | {"data": line(name="\ud800")}),
    "a number of 10,000 digits": encode(SOUND).replace(b'"amount": 1', b'"amount": ' + b"9" * 10_000),
    "100,000 levels deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
}
TOO_LARGE = {
    "5 MB": encode(SOUND | {"data": line(name="x" * 5_000_000)}),
    "a batch of 101": encode([SOUND | {"id": uuid4().hex} for _ in range(101)]),
}
INVALID = {
    "no data at all": {},
    "a missing field": without(order(), "customer_id"),
    "an unknown field": order(colour="red"),
    "a text for a number": line(quantity="1"),
    "a fraction for a number": line(amount=1.5),
    "true for a number": line(quantity=True),
    "a number for a text": order(order_id=7),
    "an object for a list": order(lines={"0": LINE}),
    "no lines": order(lines=[]),
    "1,001 lines": order(lines=[LINE] * 1001),
    "a negative amount": line(amount=-1),
    "a quantity of 0": line(quantity=0),
    "an amount beyond 64 bits": line(amount=2**63),
    "an amount of 400 digits": line(amount=10**400),
    "a total beyond 53 bits": order(lines=[LINE | {"amount": 2**53 - 1}] * 2),
    "an unknown currency": order(currency="euro"),
    "NUL in a name": line(name="a\x00b"),
    "NUL in an id": order(order_id="a\x00b"),
    "CR LF in an id": order(order_id="a\r\nb"),
    "a slash in an id": order(order_id="../a"),
    "an empty id": order(order_id=""),
    "the year 0": order(placed_at="0000-01-01T00:00:00Z"),
    "the year 9999": order(placed_at="9999-12-31T23:59:59Z"),
    "a time without zone": order(placed_at="2026-01-01T00:00:00"),
    "a 30th of February": order(placed_at="2026-02-30T00:00:00Z"),
}


@pytest.fixture(autouse=True)
async def nothing_sticks(bus: Bus) -> AsyncIterator[None]:
    """After every test a good command goes through promptly, and nothing is left over."""
    yield
    began = time.monotonic()
    await bus.accepted("orders.place-order", order())
    assert time.monotonic() - began < 3
    assert await bus.depth(topology.COMMAND_QUEUE) == 0
    assert await bus.depth(topology.dead_queue("commands")) == 0


async def rejected(bus: Bus, body: bytes, **properties: Any) -> dict[str, Any]:
    answer = json.loads(await bus.ask(body, **properties))
    found = outcome(answer[0] if isinstance(answer, list) else answer)
    assert found["type"] == "command.rejected"
    assert found["message"]
    return found


@pytest.mark.parametrize("code", ["malformed-message", "message-too-large"])
async def test_what_is_no_command_is_rejected_and_becomes_a_dead_letter_with_its_reason(
    system: System, code: str
) -> None:
    for name, body in {"malformed-message": MALFORMED, "message-too-large": TOO_LARGE}[code].items():
        refused = await rejected(system.bus, body)
        assert refused["code"] == code, name
        letter = await system.letter("commands", body=body)
        assert (letter["reason"], letter["status"]) == (code, "dead"), name
        assert letter["exception"], name


async def test_what_is_no_command_is_a_dead_letter_where_nobody_can_be_told(system: System) -> None:
    body = f"nobody is told: {uuid4()}".encode()
    await system.bus.send(body)
    assert (await system.letter("commands", body=body))["reason"] == "malformed-message"


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
async def test_invalid_data_is_rejected_with_the_field_named_and_is_no_dead_letter(bus: Bus, data: Any) -> None:
    body = encode(envelope("orders.place-order", data))
    first = await bus.ask(body)
    found = outcome(json.loads(first))
    assert (found["type"], found["code"]) == ("command.rejected", "validation-failed")
    assert found["errors"][0]["message"]
    assert await bus.ask(body) == first


@pytest.mark.parametrize("type_", ["orders.frobnicate", "a.b", "orders.place-order.x"])
async def test_an_unknown_command_is_rejected(bus: Bus, type_: str) -> None:
    assert (await rejected(bus, encode(envelope(type_, {})), routing_key=type_))["code"] == "unknown-command"


async def test_a_subject_that_contradicts_the_data_or_is_missing_is_rejected(bus: Bus) -> None:
    for command in (envelope("orders.place-order", order(), subject="another"), envelope("orders.deliver-order", {})):
        assert (await rejected(bus, encode(command)))["errors"][0]["field"] == "subject"


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-protobuf"},
        {"content_type": ""},
        {"content_type": None},
        {"content_encoding": "gzip"},
        {"content_encoding": "no-such-encoding"},
        {"headers": {"x": {"deep": [1, {"er": None}]}, "": 2**62}, "type": "\u0000", "app_id": "x" * 255},
        {"routing_key": "nothing.of.that.kind"},
        {"routing_key": "a" * 255},
        {"priority": 255, "timestamp": 2**33},
    ],
    ids=str,
)
async def test_a_sound_command_is_taken_whatever_its_properties_say(bus: Bus, properties: dict[str, Any]) -> None:
    answer = json.loads(await bus.ask(encode(envelope("orders.place-order", order())), **properties))
    assert answer["type"] == "command.accepted"


async def test_a_reply_address_that_does_not_exist_stops_nothing(system: System) -> None:
    bus = system.bus
    for address in ("nobody", "a" * 255, "\r\n", "commands.nowhere"):
        await bus.send(encode(envelope("orders.place-order", order())), reply_to=address)
    body = f"garbage {uuid4()}".encode()
    await bus.send(body, reply_to="nobody")
    assert (await system.letter("commands", body=body))["reply_to"] == "nobody"


async def test_a_number_too_large_for_a_double_is_an_invalid_amount(bus: Bus) -> None:
    body = encode(envelope("orders.place-order", order())).replace(b'"amount": 1', b'"amount": 1e999')
    assert (await rejected(bus, body))["code"] == "validation-failed"


async def test_duplicate_keys_are_read_as_the_last_one(bus: Bus) -> None:
    body = encode(envelope("orders.place-order", order())).replace(b'"currency"', b'"currency": "???", "currency"')
    assert json.loads(await bus.ask(body))["type"] == "command.accepted"


async def test_what_is_wrong_in_a_mixed_batch_harms_nothing_beside_it(system: System) -> None:
    mark = uuid4().hex
    good = [envelope("orders.place-order", order()) for _ in range(3)]
    batch: list[Any] = [
        good[0],
        {"type": "orders.place-order", "source": mark},
        envelope("orders.frobnicate", {}),
        good[1],
        f"no envelope {mark}",
        envelope("orders.place-order", line(amount=-1)),
        good[0],
        good[2],
    ]
    answers = [outcome(answer) for answer in json.loads(await system.bus.ask(encode(batch)))]
    assert [answer.get("code", "accepted") for answer in answers] == [
        "accepted",
        "malformed-message",
        "unknown-command",
        "accepted",
        "malformed-message",
        "validation-failed",
        "accepted",
        "accepted",
    ]
    assert answers[0] == answers[6]
    for element, part in ((batch[1], f'"{mark}"'), (batch[4], f"no envelope {mark}")):
        letter = await system.letter("commands", part=part.encode())
        assert (letter["reason"], json.loads(letter["body"])) == ("malformed-message", element)
