"""Which commands of a message are decided, by the user that has published it."""

import json
from typing import Any

import pytest

from command_service.handling.parsing import Command, Invalid, Undecodable, read
from command_service.senders.directory import MAX_AGE_S, SenderDirectory
from command_service.senders.gate import Gate
from command_service.senders.permission import NO_USER, NOT_PERMITTED, UNKNOWN_TYPE, Checked, Sender, check
from shared.contracts.refusals import REFUSALS, Retry
from shared.messaging import topology
from shared.messaging.access import TRUSTED, user_of
from shared.messaging.broker import Publisher
from shared.messaging.consuming import Delivery
from shared.messaging.denials import Denials

SHOP = Sender("shop", ("orders.*",), "shop")
SENDERS = {"shop": SHOP, "ops": Sender("ops", ("*",), None)}
WORKER = user_of("worker")
PLACE = "orders.place-order"


def envelope(type_: str = PLACE, **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "k1",
        "source": "shop",
        "type": type_,
        "subject": "o-1",
        "data": {},
    } | attributes


def delivered(
    body: Any,
    user: str,
    *,
    headers: dict[str, Any] | None = None,
    exchange: str = topology.COMMANDS,
    reply_to: str = "amq.gen-x",
) -> Delivery:
    return Delivery(
        "commands",
        json.dumps(body).encode(),
        headers or {},
        "",
        PLACE,
        reply_to,
        "c-1",
        False,
        1,
        None,  # type: ignore[arg-type]  # no channel: nothing is acknowledged here
        exchange,
        user,
    )


def checked(body: Any, user: str, own_user: str = WORKER, **rest: Any) -> Checked:
    delivery = delivered(body, user, **rest)
    return check(delivery, read(delivery.body, headers=delivery.headers), SENDERS, own_user)


def codes(found: Checked) -> list[str]:
    return [part.code if isinstance(part, Undecodable) else "decided" for part in found.message.parts]


def test_a_sender_may_send_its_types() -> None:
    found = checked(envelope(), "shop")
    assert (codes(found), found.denials) == (["decided"], ())


@pytest.mark.parametrize("user", ["", "stranger", "guest", user_of("query"), user_of("summary"), WORKER.upper()])
def test_whoever_is_not_a_sender_may_send_nothing(user: str) -> None:
    found = checked(envelope(), user)
    assert codes(found) == [NOT_PERMITTED]
    assert [(each.identity, each.action) for each in found.denials] == [(user or NO_USER, PLACE)]


def test_each_command_of_a_batch_is_checked_whatever_the_routing_key() -> None:
    batch = [envelope(), envelope("payments.capture-payment", id="k2"), envelope("no.such-command", id="k3"), {"x": 1}]
    found = checked(batch, "shop")
    assert codes(found) == ["decided", NOT_PERMITTED, NOT_PERMITTED, "malformed-message"]
    assert [each.action for each in found.denials] == ["payments.capture-payment", UNKNOWN_TYPE]
    assert [part.command_id for part in found.message.parts if isinstance(part, Undecodable)] == ["k2", "k3", ""]


def test_a_command_in_binary_mode_is_checked_too() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "k1", "ce-source": "shop", "ce-type": "payments.capture-payment"}
    assert codes(checked({}, "shop", headers=headers)) == [NOT_PERMITTED]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("shop", "decided"),
        ("shop/eu", "decided"),
        ("shopping", NOT_PERMITTED),
        ("billing", NOT_PERMITTED),
        ("tidemark/http", NOT_PERMITTED),
    ],
)
def test_a_sender_has_a_source_of_its_own_so_that_it_can_neither_take_nor_read_under_another_s_key(
    source: str, code: str
) -> None:
    assert codes(checked(envelope(source=source), "shop")) == [code]


def test_a_refused_command_is_no_dead_letter_and_nothing_is_kept_under_its_key() -> None:
    (part,) = checked(envelope("payments.capture-payment"), "shop").message.parts
    assert isinstance(part, Undecodable)
    assert not part.is_dead_letter
    assert REFUSALS[NOT_PERMITTED].retry is Retry.SAME_ID


@pytest.mark.parametrize(
    ("claims", "actor", "behind"),
    [
        ({}, "shop", None),
        ({"actor": "ann"}, "shop", "ann"),
        ({"actor": "operator", "behind": "ann"}, "shop", "ann"),
        ({"actor": "shop"}, "shop", None),
        ({"behind": "ann"}, "shop", "ann"),
    ],
)
def test_the_actor_is_the_sender_and_whom_it_names_is_kept_as_claimed(
    claims: dict[str, str], actor: str, behind: str | None
) -> None:
    (part,) = checked(envelope(**claims), "shop").message.parts
    assert isinstance(part, Command)
    assert (part.envelope.actor, part.envelope.behind) == (actor, behind)


@pytest.mark.parametrize("user", [*sorted(TRUSTED), WORKER, "ops"])
def test_what_is_ours_is_taken_as_it_is(user: str) -> None:
    found = checked(envelope("payments.capture-payment", source="billing", actor="ann"), user)
    assert (codes(found), found.trusted) == (["decided"], True)
    (part,) = found.message.parts
    assert isinstance(part, Command)
    assert part.envelope.actor == "ann"


def test_where_one_user_serves_all_it_is_trusted() -> None:
    assert codes(checked(envelope(), "guest", own_user="guest")) == ["decided"]


def test_a_copy_of_ours_is_checked_as_its_original_sender_s() -> None:
    resent = {topology.SENDER_HEADER: "shop"}
    assert codes(checked(envelope(), user_of("dead_letters"), headers=resent)) == ["decided"]
    assert codes(checked(envelope("payments.capture-payment"), user_of("dead_letters"), headers=resent)) == [
        NOT_PERMITTED
    ]
    unknown = {topology.SENDER_HEADER: ""}
    assert codes(checked(envelope(), user_of("dead_letters"), headers=unknown)) == [NOT_PERMITTED]


@pytest.mark.parametrize("sender", ["gone", "", "shop"])
def test_a_replayed_command_whose_sender_may_not_send_it_becomes_a_dead_letter_again(sender: str) -> None:
    payment = envelope("payments.capture-payment")
    replayed = {topology.SENDER_HEADER: sender}

    def is_dead_letter(user: str, headers: dict[str, Any]) -> bool:
        found = checked(payment, user, headers=headers)
        [part] = found.message.parts
        assert isinstance(part, Undecodable)
        assert (part.code, part.command_id, json.loads(part.body)["type"]) == (NOT_PERMITTED, "k1", payment["type"])
        assert (len(found.denials), found.delivery.user_id) == (1, sender if user == user_of("dead_letters") else user)
        return part.is_dead_letter

    assert is_dead_letter(user_of("dead_letters"), replayed)
    given_up = {**replayed, topology.DEAD_COMMAND_HEADER: topology.DISCARDED}
    assert not is_dead_letter(user_of("dead_letters"), given_up)
    assert not is_dead_letter("stranger", replayed), "a sender that is refused leaves nothing behind"


@pytest.mark.parametrize("forged", [user_of("http"), "ops", "tidemark"])
def test_a_sender_cannot_name_another_one(forged: str) -> None:
    headers = {topology.SENDER_HEADER: forged}
    assert codes(checked(envelope("payments.capture-payment"), "shop", headers=headers)) == [NOT_PERMITTED]
    assert codes(checked(envelope(), "", headers=headers)) == [NOT_PERMITTED]


@pytest.mark.parametrize("exchange", ["outcomes", "events", "", "changes"])
@pytest.mark.parametrize("user", ["shop", WORKER, user_of("relay")])
def test_what_came_through_another_exchange_is_no_command(exchange: str, user: str) -> None:
    """A sender may bind the queue ``commands`` to what it may read: the broker's permissions cannot tell it from the exchange."""
    assert codes(checked(envelope(), user, exchange=exchange)) == [NOT_PERMITTED]


@pytest.mark.parametrize(
    ("reply_to", "used"),
    [
        ("amq.gen-x", "amq.gen-x"),
        ("amq.rabbitmq.reply-to.g1", "amq.rabbitmq.reply-to.g1"),
        ("reply.shop.1", "reply.shop.1"),
        ("reply.other.1", ""),
        ("replies.processes", ""),
        ("", ""),
    ],
)
def test_a_reply_goes_to_no_queue_of_another(reply_to: str, used: str) -> None:
    assert checked(envelope(), "shop", reply_to=reply_to).delivery.reply_to == used
    assert checked(envelope(), user_of("processes"), reply_to=reply_to).delivery.reply_to == reply_to
    resent = {topology.SENDER_HEADER: "shop"}
    assert checked(envelope(), user_of("dead_letters"), headers=resent, reply_to=reply_to).delivery.reply_to == used


async def test_marks_count_only_from_ours() -> None:
    async def read_none() -> list[Sender]:
        return [SHOP]

    gate = Gate(SenderDirectory(read_none), Denials("worker", Publisher("amqp://localhost", "tests")), WORKER)
    cancelled = {topology.SCHEDULED_HEADER: topology.CANCELLED}
    deliveries = [delivered(envelope(), user, headers=cancelled) for user in ("shop", user_of("http"))]
    _, messages = await gate.pass_through(deliveries, [read(each.body) for each in deliveries])
    tasks = [str(part.task) for message in messages for part in message.parts if isinstance(part, Command)]
    assert ["cancelled before" in task for task in tasks] == [False, True]


async def test_senders_are_read_again_when_they_are_old_and_at_once_for_an_unknown_name() -> None:
    now, reads = 0.0, 0

    async def read_senders() -> list[Sender]:
        nonlocal reads
        reads += 1
        return [SHOP] if reads < 3 else []

    directory = SenderDirectory(read_senders, lambda: now)
    await directory.of(["", *TRUSTED, user_of("payment_provider")])
    assert reads == 0
    assert "shop" in await directory.of(["shop"])
    assert "shop" in await directory.of(["shop"])
    assert reads == 1
    assert "new" not in await directory.of(["new"])
    assert reads == 2
    now = MAX_AGE_S + 0.1
    assert "shop" not in await directory.of(["shop"])


@pytest.mark.parametrize("user", ["", "stranger", "shop"])
@pytest.mark.parametrize("body", [envelope(source="billing"), {"x": 1}])
def test_nobody_has_a_refusal_sent_to_the_queue_of_another(user: str, body: dict[str, Any]) -> None:
    """A refusal with another's correlation id, at that one's queue, would be taken for the outcome of its command."""
    assert checked(body, user, reply_to="reply.billing.main").delivery.reply_to == ""
    assert checked(body, user, reply_to="amq.gen-x").delivery.reply_to == "amq.gen-x"


def test_a_wildcard_does_not_let_a_service_have_anybody_erased() -> None:
    erasure = envelope("privacy.erase-subject", source="ops", subject=None)
    for may, code in (
        (("*",), NOT_PERMITTED),
        (("privacy.*",), NOT_PERMITTED),
        (("privacy.erase-subject",), "decided"),
    ):
        delivery = delivered(erasure, "ops")
        found = check(delivery, read(delivery.body, headers={}), {"ops": Sender("ops", may, "ops")}, WORKER)
        assert codes(found) == [code]
    operator = Sender("ops", ("*",), None)
    assert codes(check(delivery, read(delivery.body, headers={}), {"ops": operator}, WORKER)) == ["decided"]


def test_a_scheduled_command_is_refused_for_good_when_it_is_due_and_its_sender_may_no_longer_send_it() -> None:
    due = {topology.SCHEDULED_HEADER: topology.DUE, topology.SENDER_HEADER: "shop"}
    relay = user_of("relay")
    assert codes(checked(envelope(), relay, headers=due)) == ["decided"]
    gone = {**due, topology.SENDER_HEADER: "gone"}
    for found in (
        checked(envelope("payments.capture-payment"), relay, headers=due),
        checked(envelope(), relay, headers=gone),
    ):
        [part] = found.message.parts
        assert isinstance(part, Command)
        assert isinstance(part.task, Invalid)
        assert part.task.code == NOT_PERMITTED
        assert len(found.denials) == 1
    assert codes(checked(envelope(), "shop", headers=gone)) == ["decided"], "the mark of a service says nothing"
    assert codes(checked(envelope(), "stranger", headers=due)) == [NOT_PERMITTED]
