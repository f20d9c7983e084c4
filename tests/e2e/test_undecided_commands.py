"""A command that was taken in leads to an outcome, or to a stated reason why there is none yet, whatever our code or our process does."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from deploy.run.deployables import program
from deploy.run.supervisor import ChildExitedError
from shared.messages.control import Discard, Edit, Replay, Selection
from shared.messaging import topology
from shared.messaging.operators.operations_client import Act, request, send_request
from shared.views import operations
from shared.views.operations import Done
from tests.e2e.bus import Bus, encode, envelope
from tests.e2e.system import System
from tests.integration.program import Program

pytestmark = pytest.mark.timeout(120)

RENAME = "customers.rename-customer"
MOST_DEATHS = 10
# Kept state that does not fit, and no events to make it anew from.
BREAK = """
WITH unfit AS (UPDATE streams SET state_version = 0 WHERE stream = $1)
UPDATE events SET stream = 'lost/' || stream WHERE stream = $1
"""
MEND = "UPDATE events SET stream = $1 WHERE stream = 'lost/' || $1"


async def registered(bus: Bus) -> str:
    customer = uuid4().hex
    await bus.accepted("customers.register-customer", {"customer_id": customer, "name": "Ann"})
    return customer


@asynccontextmanager
async def broken(system: System, customer: str) -> AsyncIterator[None]:
    """The state of this stream cannot be read: a fault of ours."""
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        await connection.execute(BREAK, f"customers/{customer}")
        yield
        await connection.execute(MEND, f"customers/{customer}")
    finally:
        await connection.close()


async def act(system: System, what: Act) -> Done:
    answer = await send_request(system.servers.rabbitmq_url, request(what, source="tests"), seconds=20)
    assert isinstance(answer, Done), answer
    return answer


async def until(system: System, path: str, status: int, **holds: Any) -> httpx.Response:
    """The command service's answer, once it has this status and these members."""
    answer = None
    async with asyncio.timeout(20):
        while answer is None or answer.status_code != status or not holds.items() <= answer.json().items():
            if answer is not None:
                await asyncio.sleep(0.05)
            answer = await system.commands.get(path)
    return answer


async def rename(system: System, customer: str, id_: str, wait: str = "wait=10", name: str = "Bea") -> httpx.Response:
    return await system.commands.post(
        f"/commands/{RENAME}",
        params={"subject": customer},
        json={"name": name},
        headers={"Idempotency-Key": id_, "Prefer": wait},
    )


async def test_what_our_code_fails_on_is_pending_with_a_reason_until_it_is_replayed(system: System) -> None:
    customer, id_ = await registered(system.bus), uuid4().hex
    async with broken(system, customer):
        answer = await rename(system, customer, id_, wait="respond-async")
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        pending = (await until(system, f"/commands/{id_}", 202, reason="handler-failed")).json()
        assert (pending["command_id"], pending["source"], pending["status"]) == (id_, "tidemark/http", "pending")
        assert pending["message"]
        assert pending["since"]
        again = await rename(system, customer, id_)  # it does not wait for 10 s: the worker says at once that it failed
        assert (again.status_code, again.json()["reason"]) == (202, "handler-failed")
        letter = await system.letter("commands", part=id_.encode())
    assert (await act(system, Replay(selection=Selection(letter_ids=(letter["id"],)), actor="a test"))).count == 1
    outcome = await until(system, f"/commands/{id_}", 200)
    assert outcome.json()["data"]["version"] == 2
    assert await in_write_db(system, "SELECT count(*) FROM undecided_commands WHERE command_id = $1", id_) == 0


async def test_who_sends_over_amqp_gets_a_notice_that_is_no_outcome_and_the_outcome_later(system: System) -> None:
    customer, id_ = await registered(system.bus), uuid4().hex
    body = encode(envelope(RENAME, {"name": "Bea"}, id_=id_, subject=customer))
    async with broken(system, customer):
        notices = [json.loads(await system.bus.ask(body, routing_key=RENAME)) for _ in range(2)]
        for notice in notices:
            assert (notice["type"], notice["commandsource"]) == ("command.pending", "tests")
            assert (notice["data"]["command_id"], notice["data"]["reason"]) == (id_, "handler-failed")
        sent = await Program("send").run(
            RENAME, '{"name": "Bea"}', "--subject", customer, environ=system.servers.environ()
        )
        assert (sent.exit_code, json.loads(sent.stdout)["data"]["reason"]) == (3, "handler-failed"), sent.output
    assert notices[0]["id"] != notices[1]["id"]
    outcome = json.loads(await system.bus.ask(body, routing_key=RENAME))
    assert (outcome["type"], outcome["data"]["version"]) == ("command.accepted", 2)


@pytest.mark.parametrize("how", ["discarded", "superseded"])
async def test_what_an_operator_gives_up_is_refused_for_good(system: System, how: str) -> None:
    customer, id_ = await registered(system.bus), uuid4().hex
    async with broken(system, customer):
        await rename(system, customer, id_, wait="respond-async")
        letter = await system.letter("commands", part=id_.encode())
    if how == "discarded":
        await act(
            system, Discard(selection=Selection(letter_ids=(letter["id"],)), actor="a test", reason="not worth it")
        )
    else:
        await act(system, Edit(letter_id=letter["id"], data={"name": "Cleo"}, actor="a test", reason="a better name"))
    outcome = (await until(system, f"/commands/{id_}", 200)).json()
    assert (outcome["type"], outcome["data"]["code"]) == ("command.rejected", how)
    refused = await rename(system, customer, id_)
    assert (refused.status_code, refused.json()["code"]) == (409, how)
    assert await in_write_db(system, "SELECT version FROM streams WHERE stream = $1", f"customers/{customer}") == (
        1 if how == "discarded" else 2
    )


async def test_what_the_broker_gives_up_is_pending_with_a_reason(system: System) -> None:
    customer, id_ = await registered(system.bus), uuid4().hex
    body = encode(envelope(RENAME, {"name": "Bea"}, id_=id_, subject=customer))
    death = {
        "reason": "delivery_limit",
        "queue": "commands",
        "exchange": "commands",
        "count": 1,
        "routing-keys": [RENAME],
    }
    await system.bus.put(topology.dead_queue("commands"), body, {"x-death": [death]})
    pending = (await until(system, f"/commands/{id_}", 202, reason="delivery-limit")).json()
    assert pending["source"] == "tests"
    letter = await system.letter("commands", part=id_.encode())
    assert (letter["reason"], letter["status"], letter["attempts"]) == ("delivery-limit", "dead", 1)
    await act(system, Replay(selection=Selection(letter_ids=(letter["id"],)), actor="a test"))
    assert (await until(system, f"/commands/{id_}", 200)).json()["data"]["version"] == 2


async def test_what_kills_the_worker_is_given_up_alone_and_its_neighbours_are_decided_in_order(system: System) -> None:
    bus = system.bus
    deadly, others = [await registered(bus) for _ in range(2)], [await registered(bus) for _ in range(3)]
    mark = uuid4().hex
    await system.supervisor.kill("worker")
    sent = [
        (others[0], 0),
        (deadly[0], 0),
        (others[1], 0),
        (deadly[1], 0),
        *((other, n) for n in (1, 2) for other in others),
    ]
    for customer, number in sent:
        command = envelope(RENAME, {"name": f"{number}"}, id_=f"{mark}-{customer}-{number}", subject=customer)
        await bus.send(encode(command | {"expectedversion": next_version(sent, customer, number)}), routing_key=RENAME)
    poison = {"TIDEMARK_POISON": "worker:kill:" + " ".join(f"customers/{customer}" for customer in deadly)}
    sick = program("worker", system.servers, os.environ | poison)
    healthy = program("worker", system.servers)
    try:
        deaths = await deaths_until(system, sick, [f"/commands/{mark}-{customer}-2" for customer in others])
        assert 2 <= deaths <= MOST_DEATHS
        for customer in deadly:
            pending = (await until(system, f"/commands/{mark}-{customer}-0", 202, reason="process-killed")).json()
            assert pending["message"]
            letter = await system.letter("commands", part=f"{mark}-{customer}-0".encode())
            assert letter["reason"] == "process-killed"
        for customer, number in sent:
            if customer in others:
                outcome = (await until(system, f"/commands/{mark}-{customer}-{number}", 200)).json()
                assert outcome["type"] == "command.accepted", outcome
        assert await letters_about(system, mark) == ["process-killed"] * 2
    finally:
        await system.supervisor.kill("worker")
        await system.supervisor.start([healthy])
    await act(system, Replay(selection=Selection(text="process-killed"), actor="a test", reason="the crash is mended"))
    for customer in deadly:
        assert (await until(system, f"/commands/{mark}-{customer}-0", 200)).json()["type"] == "command.accepted"


def next_version(sent: list[tuple[str, int]], customer: str, number: int) -> int:
    """A command that is decided before one that was sent earlier for the same stream is refused."""
    return 1 + sum(1 for each, before in sent if each == customer and before < number)


async def deaths_until(system: System, sick: Any, paths: list[str]) -> int:
    """Start it again after each death, as an orchestrator would, until these commands have outcomes."""
    for deaths in range(MOST_DEATHS + 1):
        try:
            await system.supervisor.start([sick])
        except ChildExitedError:
            continue
        dying = asyncio.ensure_future(system.supervisor.unexpected_exit())
        deciding = asyncio.ensure_future(all_decided(system, paths))
        done, _ = await asyncio.wait([dying, deciding], return_when=asyncio.FIRST_COMPLETED, timeout=30)
        for task in (dying, deciding):
            task.cancel()
        results = await asyncio.gather(dying, deciding, return_exceptions=True)
        if deciding in done:
            return deaths
        assert dying in done, results
    pytest.fail(f"it died more than {MOST_DEATHS} times")


async def all_decided(system: System, paths: list[str]) -> None:
    for path in paths:
        await until(system, path, 200)


async def in_write_db(system: System, query: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(system.servers.write_db_url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


async def letters_about(system: System, mark: str) -> list[str]:
    connection = await asyncpg.connect(
        system.servers.operations_db_url, server_settings={"search_path": operations.SCHEMA}
    )
    try:
        query = "SELECT reason FROM letters JOIN payloads ON letter_id = id WHERE position($1::bytea IN body) > 0"
        return [row["reason"] for row in await connection.fetch(query, mark.encode())]
    finally:
        await connection.close()
