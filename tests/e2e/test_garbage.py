"""Garbage on the bus: each gets a clear rejection or becomes a dead letter with its reason; nothing is lost, nothing sticks."""

import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from shared.messaging import topology
from tests.e2e.bus import Bus, encode, envelope, outcome
from tests.e2e.system import System
from tests.odd_properties import Raw, moment

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
    "no source": encode(without(SOUND, "source")),
    "infinity": encode(SOUND | {"data": line(amount=float("inf"))}),
    "NaN": encode(SOUND | {"data": line(amount=float("nan"))}),
    "a lone surrogate": encode(SOUND | {"data": line(name="\ud800")}),
    "a number of 10,000 digits": encode(SOUND).replace(b'"amount": 1', b'"amount": ' + b"9" * 10_000),
    "100,000 levels deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 open brackets": b"[" * 100_000,
}
TOO_LARGE = {
    "5 MB": encode(SOUND | {"data": line(name="x" * 5_000_000)}),
    "a batch of 1,001": encode([SOUND | {"id": uuid4().hex} for _ in range(1001)]),
}
UNSOUND = {
    "CR LF in the subject": {"subject": "a\r\nb"},
    "no type": {"type": None},
    "a type that is no name": {"type": "DROP TABLE orders"},
    "NUL in the type": {"type": "a\x00b"},
    "a type of 100,000 letters": {"type": "x" * 100_000},
    "no data": {"data": None},
    "data that is a list": {"data": [1]},
    "another version of CloudEvents": {"specversion": "0.3"},
    "a negative expected version": {"expectedversion": -1},
    "an actor that is a number": {"actor": 7},
}
HARMLESS = {
    "a trace parent that is none": {"traceparent": "garbage"},
    "a trace parent of a version to come": {"traceparent": f"cc-{'a' * 32}-{'b' * 16}-01-what"},
    "the year 0": {"time": "0000-01-01T00:00:00Z"},
    "the year 9999": {"time": "9999-12-31T23:59:59Z"},
    "a time that is none": {"time": 7},
    "a content type with a parameter": {"datacontenttype": "application/json; charset=utf-8"},
    "a content type of its own": {"datacontenttype": "application/vnd.shop+json"},
    "extensions of every kind": {"tracestate": {}, "dataschema": 7, "ext": [None, {"a": 1.5}], "x\x00y": "a\x00b"},
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
    "5,001 lines": order(lines=[LINE] * 5001),
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
    "NUL in the name of a field": order(**{"a\x00b": 1}),
    "a field with a name of 100,000 letters": order(**{"x" * 100_000: 1}),
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


@pytest.mark.parametrize("change", UNSOUND.values(), ids=UNSOUND)
async def test_an_unsound_envelope_is_refused_for_good_under_its_own_id(system: System, change: dict[str, Any]) -> None:
    command = envelope("orders.place-order", order()) | change
    rejections = await system.bus.listen(topology.OUTCOMES, "rejected.#")
    first = await system.bus.ask(encode(command))
    found = outcome(json.loads(first))
    assert (found["command_id"], found["code"]) == (command["id"], "validation-failed")
    assert found["errors"][0]["field"] == next(iter(change))
    assert await system.bus.ask(encode(command)) == first
    published = await rejections.get(timeout=5)
    assert published is not None
    assert published.body == first


@pytest.mark.parametrize("attributes", HARMLESS.values(), ids=HARMLESS)
async def test_what_only_informs_costs_no_command(bus: Bus, attributes: dict[str, Any]) -> None:
    await bus.accepted("orders.place-order", order(), **attributes)


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
        {"timestamp": moment(1_700_000_000_000_000)},
        {"type": Raw("x"), "headers": {"at": moment(2**63 - 1)}},
        {"routing_key": "nothing.of.that.kind"},
        {"routing_key": "a" * 255},
        {"priority": 255, "timestamp": 2**33},
        {"headers": {"cloudEvents:id": "another", "ce-type": "orders.pay-order", "traceparent": bytearray(b"\xff")}},
    ],
    ids=str,
)
async def test_a_sound_command_is_taken_whatever_its_properties_say(bus: Bus, properties: dict[str, Any]) -> None:
    answer = json.loads(await bus.ask(encode(envelope("orders.place-order", order())), **properties))
    assert answer["type"] == "command.accepted"


async def test_a_dead_letter_with_properties_that_nobody_can_read_is_one_like_any_other(system: System) -> None:
    body = f"odd {uuid4()}".encode()
    await system.bus.send(body, correlation_id=Raw("x"), timestamp=moment(2**63 - 1))
    assert (await system.letter("commands", body=body))["reason"] == "malformed-message"


async def test_a_correlation_id_that_no_event_can_carry_costs_nothing(bus: Bus) -> None:
    body = encode(envelope("orders.place-order", order()))
    await bus.send(body, correlation_id="a\x00b")
    assert json.loads(await bus.ask(body))["type"] == "command.accepted"


@pytest.mark.parametrize("prefix", ["ce-", "ce_", "cloudEvents:", "cloudEvents_"])
async def test_a_command_in_binary_mode_is_understood(bus: Bus, prefix: str) -> None:
    placed = order(order_id=f"binary-{uuid4().hex}")
    attributes = envelope("orders.place-order", None) | {"expectedversion": "0", "time": "2026-03-01T09:30:00Z"}
    headers = {f"{prefix}{name}": value for name, value in attributes.items() if name != "data"}
    first = await bus.ask(encode(placed), headers=headers, content_type="application/json")
    found = outcome(json.loads(first))
    assert (found["type"], found["stream"]) == ("command.accepted", f"orders/{placed['order_id']}")
    as_structured = attributes | {"expectedversion": 0, "data": placed}
    assert await bus.ask(encode(as_structured)) == first


async def test_a_command_in_binary_mode_without_an_id_is_a_dead_letter_that_has_its_headers(system: System) -> None:
    mark = uuid4().hex
    headers = {"ce-specversion": "1.0", "ce-type": "orders.place-order", "ce-source": mark}
    refused = await rejected(system.bus, b"no JSON", headers=headers, content_type="text/plain")
    assert (refused["code"], refused["errors"][0]["field"]) == ("malformed-message", "id")
    letter = await system.letter("commands", part=mark.encode())
    assert json.loads(letter["body"])["data"] == "no JSON"


async def test_each_part_of_a_batch_has_an_outcome_with_its_place(bus: Bus) -> None:
    """Those that are kept come again as they are, wherever they stand."""
    good, bad = envelope("orders.place-order", order()), envelope("orders.place-order", line(amount=-1))
    batch = [good, 7, without(good, "id"), bad, good]
    answers = json.loads(await bus.ask(encode(batch)))
    assert [answer["index"] for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer["data"].get("code") for answer in answers] == [
        None,
        "malformed-message",
        "malformed-message",
        "validation-failed",
        None,
    ]
    for index, command in ((0, good), (3, bad), (4, good)):
        alone = json.loads(await bus.ask(encode(command)))
        assert alone | {"index": index} == answers[index]


async def test_each_part_of_a_batch_that_is_too_large_is_refused_and_its_id_does_in_a_smaller_one(
    system: System,
) -> None:
    commands = [envelope("orders.place-order", order()) for _ in range(100)]
    body = encode([*commands, {"source": "no id"}])
    answers = json.loads(await system.bus.ask(body))
    assert [answer["index"] for answer in answers] == list(range(101))
    assert {answer["data"]["code"] for answer in answers} == {"message-too-large"}
    ids = [answer["data"]["command_id"] for answer in answers]
    assert ids == [*(command["id"] for command in commands), ""]
    assert (await system.letter("commands", body=body))["reason"] == "message-too-large"
    again = json.loads(await system.bus.ask(encode(commands)))
    assert {answer["type"] for answer in again} == {"command.accepted"}


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


async def test_an_object_with_a_key_twice_is_refused_because_readers_differ_in_which_counts(bus: Bus) -> None:
    body = encode(envelope("orders.place-order", order())).replace(b'"currency"', b'"currency": "???", "currency"')
    found = json.loads(await bus.ask(body))
    assert (found["type"], found["data"]["code"]) == ("command.rejected", "malformed-message")
    assert "currency" in found["data"]["message"]


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
