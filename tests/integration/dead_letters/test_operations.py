"""Discard, edit, and everything an operator may get wrong; the audit that nobody can change."""

import json
from hashlib import sha256
from typing import Any

import aio_pika
import asyncpg
import pytest

from projectors.dead_letters import requests, sender
from projectors.dead_letters.actions import audit, editing, selecting, steering
from projectors.dead_letters.letters import ingest, marks
from projectors.dead_letters.replaying import items, store
from shared.messages.control import Edit, Selection
from shared.messages.envelope import CONTENT_TYPE
from shared.messaging import topology
from shared.messaging.broker import Outgoing
from shared.messaging.consuming import Delivery
from shared.privacy.command_bodies import subject_of_command
from shared.privacy.sealing import is_sealed
from shared.views import operations_queries as queries
from shared.views.operations import GroupView, LetterView
from tests.integration.dead_letters.harness import Harness, command, command_headers

ALL = {"everything": True}


async def test_discard_frees_the_stream_and_says_who_and_why(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    await harness.die("orders/o1", 4)
    await harness.die("orders/o2", 1)
    await harness.statuses(dead=2)
    answer = await harness.ask("discard", selection={"stream": "orders/o1"}, reason="a test order")
    assert answer["count"] == 1
    await harness.statuses(dead=1, discarded=1)
    assert harness.stepped_over == [("orders/o1", 4)]
    row = await harness.db.fetchrow("SELECT actor, act, reason, details FROM audit")
    assert row is not None
    assert (row["actor"], row["act"], row["reason"]) == ("ann", "discard", "a test order")
    assert json.loads(row["details"]).items() >= {"stream": "orders/o1", "version": 4, "origin": "summary"}.items()


async def test_what_no_projection_waits_for_is_discarded_at_once(harness: Harness) -> None:
    await harness.start()
    await harness.command_dies("k1")
    await harness.letter("summary", b"\xff", {"tidemark-reason": "undecodable-event"})
    await harness.statuses(dead=2)
    assert (await harness.ask("replay", selection={"origin": "summary"}))["code"] == "nothing-selected"
    assert (await harness.ask("discard", selection=ALL, reason="noise"))["count"] == 2
    await harness.statuses(discarded=2)
    assert (await harness.ask("discard", selection=ALL, reason="noise"))["code"] == "nothing-selected"


async def test_a_discarded_letter_is_skipped_by_the_jobs_that_wait_for_it(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    for number in range(5):
        await harness.die(f"orders/o{number}")
    await harness.statuses(dead=5)
    answer = await harness.ask("replay", selection=ALL, rate=0.5)
    await harness.ask("discard", selection={"stream": "orders/o4"}, reason="no")
    await harness.statuses(discarded=1)
    await harness.ask("steer", job_id=answer["job_id"], to="paused")
    assert await harness.db.fetchval("SELECT skipped FROM jobs") == 1
    await harness.passed(*[(f"orders/o{number}", 1) for number in range(5)])
    await harness.job(answer["job_id"], "completed")


async def test_an_edited_command_goes_out_under_a_new_id_and_each_knows_of_the_other(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    await harness.command_dies("k1", {"name": "Zoë"}, correlation_id="c-9")
    await harness.statuses(dead=1)
    edit: dict[str, Any] = {"letter_id": 1, "command_id": "k1-mended", "reason": "no umlauts", "request_id": "r-1"}
    answer = await harness.ask("edit", data={"name": "Zoe"}, **edit)
    assert answer["command_id"] == "k1-mended"
    assert await harness.ask("edit", data={"name": "Zoe"}, **edit) == answer
    assert (await harness.ask("edit", data={"name": "Bea"}, **edit))["code"] == "request-id-reused"
    act = Edit(letter_id=1, command_id="k1-mended", reason="no umlauts", data={"name": "Zoe"}, actor="ann")
    plain = sha256(b"edit" + act.model_dump_json(exclude={"may"}).encode()).digest()
    assert await harness.db.fetchval("SELECT digest FROM requests WHERE request_id = 'r-1'") != plain
    await harness.db.execute("UPDATE requests SET digest = $1 WHERE request_id = 'r-1'", plain)  # as it was kept before
    assert await harness.ask("edit", data={"name": "Zoe"}, **edit) == answer
    await harness.statuses(superseded=1)

    async def sent() -> bool:
        return bool(harness.commands)

    await harness.until(sent)
    body = json.loads(harness.commands[0].body)
    assert (body["id"], body["type"], body["subject"]) == ("k1-mended", "customers.rename-customer", "c1")
    assert subject_of_command(body) == "customers/c1"
    assert is_sealed(body["data"]["name"])
    assert await harness.opened(body) == {"name": "Zoe"}
    assert (harness.commands[0].reply_to, harness.commands[0].correlation_id) == ("reply.shop", "c-9")
    await harness.command_dies("k1-mended", {"name": "Zoe"})
    await harness.statuses(2, dead=1, superseded=1)
    assert await harness.db.fetchval("SELECT replaced_by FROM letters WHERE id = 1") == "k1-mended"
    assert await harness.db.fetchval("SELECT replaces FROM letters WHERE id = 2") == 1
    assert await harness.db.fetchval("SELECT body FROM payloads WHERE letter_id = 1") is not None
    assert (await harness.ask("edit", letter_id=1, data={"name": "Z"}, reason="x"))["code"] == "letter-closed"
    taken = await harness.ask("edit", letter_id=2, data={"name": "Z"}, command_id="k1", reason="x")
    assert taken["errors"][0]["field"] == "command_id"
    assert (await harness.ask("edit", letter_id=2, data={"name": "Z"}, reason="x"))["command_id"][14] == "7"


async def test_the_command_service_is_told_what_became_of_a_dead_command(harness: Harness) -> None:
    await harness.play()
    await harness.start()
    await harness.command_dies("k1")
    await harness.command_dies("k2")
    await harness.letter("commands", command("k3"), command_headers() | {"tidemark-reason": "malformed-message"})
    death = {"reason": "delivery_limit", "routing-keys": ["customers.rename-customer"]}
    await harness.letter("commands", command("k4"), {"x-death": [death]}, reply_to="reply.shop")
    await harness.statuses(dead=4)
    letters = {row["command_id"]: row["id"] for row in await harness.db.fetch("SELECT command_id, id FROM letters")}
    await harness.ask(
        "edit", letter_id=letters["k2"], data={"name": "Zoe"}, command_id="k2-mended", reason="no umlauts"
    )
    await harness.ask("discard", selection={"letter_ids": [letters["k1"], letters["k3"]]}, reason="noise")

    async def told() -> bool:
        return {marked(one) for one in harness.commands} >= {
            ("k1", "discarded"),
            ("k2", "superseded"),
            ("k2-mended", None),
            ("k4", "delivery-limit"),
        }

    await harness.until(told)

    async def nothing_left() -> bool:
        return bool(await harness.db.fetchval("SELECT count(*) = 0 FROM marks"))

    await harness.until(nothing_left)
    assert "k3" not in {marked(one)[0] for one in harness.commands}  # it was no command: nobody waits for its outcome
    assert {one.reply_to for one in harness.commands} == {"reply.shop"}
    await harness.statuses(dead=1, superseded=1, discarded=2)


async def test_a_letter_of_a_kind_that_its_projection_does_not_read_any_more_is_closed_with_that_reason(
    harness: Harness,
) -> None:
    await harness.start()
    await harness.die("customers/c-1")
    await harness.statuses(dead=1)
    job = await harness.ask("replay", selection={"everything": True}, reason="read again")
    await harness.passed(("customers/c-1", 1), how="not-read")
    await harness.statuses(resolved=1)
    assert await harness.db.fetchval("SELECT resolution FROM letters") == "not-read"
    [item] = await harness.db.fetch("SELECT status, outcome FROM job_items WHERE job_id = $1", job["job_id"])
    assert tuple(item) == ("skipped", "not-read")


def marked(delivery: Delivery) -> tuple[str, Any]:
    return json.loads(delivery.body)["id"], delivery.headers.get(topology.DEAD_COMMAND_HEADER)


async def test_answers_with_one_id_say_the_same(harness: Harness) -> None:
    await harness.start()
    await harness.command_dies("k1")
    await harness.statuses(dead=1)

    async def answered(verb: str, **data: Any) -> str:
        return str((await harness.ask(verb, request_id="r-1", **data))["envelope_id"])

    nothing = await answered("discard", selection={"text": "no such words"}, reason="x")
    looked = await answered("discard", selection=ALL, reason="x", dry_run=True)
    done = await answered("discard", selection=ALL, reason="x")
    reused = await answered("discard", selection=ALL, reason="another")
    assert len({nothing, looked, done, reused}) == 4
    assert await answered("discard", selection=ALL, reason="x") == done


async def test_an_answer_goes_to_a_reply_queue_only(harness: Harness) -> None:
    """One in a projector's lane, or among operators' own requests, would be read as what it is not."""
    await harness.start()
    body = harness.request("replay", selection=ALL)
    for queue in (topology.lane_queue("summary", 0), topology.OPERATIONS_QUEUE, topology.dead_queue("summary")):
        await harness.publisher.publish(
            Outgoing(topology.CONTROL, "replay", body, CONTENT_TYPE, reply_to=queue, correlation_id="c-1")
        )
    assert (await harness.ask("replay", selection=ALL))["code"] == "nothing-selected"
    connection = await aio_pika.connect(harness.settings.rabbitmq_url)
    async with connection:
        channel = await connection.channel()
        lane = await channel.declare_queue(topology.lane_queue("summary", 0), passive=True)
        assert lane.declaration_result.message_count == 0
    assert await harness.db.fetchval("SELECT count(*) FROM letters") == 0


async def test_an_edited_command_that_is_too_large_as_an_envelope_is_refused(harness: Harness) -> None:
    await harness.start()
    await harness.command_dies("k1")
    await harness.statuses(dead=1)
    line = {"product_id": "p" * 128, "quantity": 1, "amount": 1, "name": "ü" * 460}
    order = {"order_id": "o-1", "customer_id": "c", "currency": "EUR", "lines": [line] * 1000}
    answer = await harness.ask("edit", letter_id=1, type="orders.place-order", subject="o-1", data=order, reason="x")
    assert (answer["code"], answer["errors"][0]["field"]) == ("validation-failed", "data")
    await harness.statuses(dead=1)


@pytest.mark.parametrize(
    ("verb", "data", "code"),
    [
        ("edit", {"letter_id": 1, "data": {"name": 7}, "reason": "x"}, "validation-failed"),
        ("edit", {"letter_id": 1, "data": {}, "type": "no.such", "reason": "x"}, "validation-failed"),
        ("edit", {"letter_id": 2, "data": {}, "reason": "x"}, "not-a-command"),
        ("edit", {"letter_id": 3, "data": {}, "reason": "x"}, "not-editable"),
        ("edit", {"letter_id": 2**70, "data": {}, "reason": "x"}, "letter-not-found"),
        ("edit", {"letter_id": 1, "data": {"name": "a"}, "reason": ""}, "validation-failed"),
        ("replay", {"selection": {}}, "validation-failed"),
        ("replay", {"selection": {"letter_ids": [99, 2**70, -1]}}, "letter-not-found"),
        ("replay", {"selection": {"letter_ids": []}}, "nothing-selected"),
        ("replay", {"selection": {"stream": "no\x00such"}}, "nothing-selected"),
        ("replay", {"selection": {"everything": True}, "rate": -1}, "validation-failed"),
        ("discard", {"selection": {"everything": True}}, "validation-failed"),
        ("discard", {"selection": {"text": "no such words"}, "reason": "x"}, "nothing-selected"),
        ("steer", {"job_id": 1, "to": "paused"}, "job-not-found"),
        ("steer", {"job_id": 1, "to": "nowhere"}, "validation-failed"),
    ],
)
async def test_a_request_that_cannot_be_done_is_refused_with_a_code_and_writes_nothing(
    harness: Harness, verb: str, data: dict[str, Any], code: str
) -> None:
    await harness.start()
    await harness.command_dies("k1")
    await harness.statuses(dead=1)
    await harness.die("orders/o1")
    await harness.statuses(dead=2)
    await harness.letter("commands", b"\xff", {"tidemark-reason": "malformed-message"})
    await harness.statuses(dead=3)
    answer = await harness.ask(verb, **data)
    assert (answer["type"], answer["code"]) == ("operation.rejected", code)
    assert answer["message"]
    assert await harness.db.fetchval("SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM requests)") == 0
    await harness.statuses(dead=3)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"id": 7}'])
async def test_garbage_on_the_control_exchange_is_answered_and_stops_nobody(harness: Harness, body: bytes) -> None:
    await harness.start()
    for verb in ("replay", "discard", "edit", "steer"):
        assert (await harness.ask_raw(verb, body))["code"] == "validation-failed"


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'bob'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_nobody_changes_the_audit(harness: Harness, statement: str) -> None:
    await harness.db.execute("INSERT INTO audit (actor, act, reason) VALUES ('ann', 'discard', 'why not')")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await harness.db.execute(statement)
    assert await harness.db.fetchval("SELECT actor FROM audit") == "ann"


async def test_every_statement_fits_the_schema(db: asyncpg.Connection) -> None:
    modules = (audit, sender, editing, ingest, items, marks, store, requests, selecting, steering, queries)
    statements = {
        f"{module.__name__}.{name}": text
        for module in modules
        for name, text in vars(module).items()
        if name.isupper() and isinstance(text, str) and " " in text.strip()
    }
    assert len(statements) >= 35
    for text in statements.values():
        await db.prepare(text)


async def test_lists_and_groups_are_read_through_the_shared_statements(harness: Harness) -> None:
    await harness.start()
    for number in range(7):
        await harness.die(f"orders/o{number}", message="boom" if number < 5 else "bang")
    await harness.statuses(dead=7)
    rows = await harness.db.fetch(queries.GROUPS, *queries.parameters(Selection(origin="summary")), 10)
    groups = [GroupView.model_validate(dict(row)) for row in rows]
    assert [(group.count, group.exception, group.waiting, group.types) for group in groups] == [
        (5, "ValueError: boom", 10, ["orders.order-placed"]),
        (2, "ValueError: bang", 4, ["orders.order-placed"]),
    ]
    chosen = queries.parameters(Selection(text="BOOM"))
    first = await harness.db.fetch(queries.LIVE_LETTERS, *chosen, None, 0, 3)
    last = first[-1]
    second = await harness.db.fetch(queries.LIVE_LETTERS, *chosen, last["last_failed_at"], last["id"], 3)
    streams = [LetterView.model_validate(dict(row)).stream for row in (*first, *second)]
    assert streams == [f"orders/o{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(("statement", "index"), [(queries.LIVE_LETTERS, "letters_live_by_time")])
async def test_a_page_of_letters_is_read_from_an_index(db: asyncpg.Connection, statement: str, index: str) -> None:
    await db.execute(
        "INSERT INTO letters (origin, identity, reason, exception, fingerprint, attempts, first_failed_at, last_failed_at, "
        "routing_key, content_type, size) SELECT 'summary', int8send(n), 'r', 'e', 'f' || n % 20, 4, now(), "
        "now() - n * interval '1 second', '', '', 1 FROM generate_series(1, 20000) n"
    )
    await db.execute("ANALYZE letters")
    plan = await db.fetch("EXPLAIN " + statement, *queries.parameters(Selection()), None, 0, 50)
    assert index in "\n".join(row[0] for row in plan)
