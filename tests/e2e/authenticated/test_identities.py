"""Who may do what over HTTP, on a running system with authentication on."""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import httpx
import pytest

from deploy.demo.system import settings_for
from deploy.keys import store
from deploy.run.deployables import DEPLOYABLES, environment
from deploy.run.supervisor import Supervisor
from shared.http.identities.scopes import OPERATOR
from tests.e2e.authenticated.secured import NEW, OLD, OPERATORS_KEY, Secured, bearer, subject
from tests.e2e.system import address, ports
from tests.issuer import signing_key

pytestmark = pytest.mark.timeout(300)

WITHIN_S = 30.0
REGISTER = "/commands/customers.register-customer"
DENIED = """
SELECT actor, details ->> 'action' AS action, details ->> 'code' AS code, details ->> 'scope' AS scope, details ->> 'behind' AS behind
FROM operations.audit WHERE act = 'denied' AND actor = $1 ORDER BY id
"""


async def soon(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(int(WITHIN_S / 0.05)):
        if await holds():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not become so")


async def register(
    secured: Secured, headers: dict[str, str], id_: str | None = None, **more: str
) -> tuple[httpx.Response, str]:
    """The answer, and the customer's id."""
    customer = secrets.token_hex(8)
    own = {"Prefer": "wait=20", **({"Idempotency-Key": id_} if id_ else {}), **more}
    body = {"customer_id": customer, "name": "Ann"}
    return await secured.commands.post(REGISTER, json=body, headers=headers | own), customer


async def test_the_actor_is_the_subject_from_the_command_to_the_history_and_the_claim_is_kept(secured: Secured) -> None:
    shop = subject("shop")
    headers = await secured.headers(shop, "commands:orders.*", "queries:orders")
    order = secrets.token_hex(8)
    lines = [{"product_id": "p", "quantity": 1, "amount": 5}]
    body = {"order_id": order, "customer_id": "c", "currency": "EUR", "lines": lines}
    claims = {"Prefer": "wait=20", "Tidemark-Actor": "ann@example.org"}
    placed = await secured.commands.post("/commands/orders.place-order", json=body, headers=headers | claims)
    assert placed.status_code == 200, placed.text
    assert placed.json()["commandsource"] == shop
    own_write = {"Tidemark-Consistency": placed.headers["tidemark-consistency"], "Prefer": "wait=20"}
    history = await secured.queries.get(f"/orders/{order}/history", headers=headers | own_write)
    assert [one["actor"] for one in history.json()["items"]] == [shop]
    connection = await asyncpg.connect(secured.servers.write_db_url)
    envelope = json.loads(await connection.fetchval("SELECT envelope FROM events WHERE stream = $1", f"orders/{order}"))
    await connection.close()
    assert (envelope["actor"], envelope["behind"]) == (shop, "ann@example.org")
    refused, _ = await register(secured, headers)
    assert (refused.status_code, refused.json()["scopes"]) == (403, ["commands:customers.register-customer"])
    for path, scope in (("/customers/c", "customers"), ("/search/products?q=x", "catalog"), ("/users", "accounts")):
        answer = await secured.queries.get(path, headers=headers)
        assert (answer.status_code, answer.json()["scopes"]) == (403, [f"queries:{scope}"])
    assert (await secured.queries.get("/search/orders?q=x", headers=headers)).status_code == 200


async def test_an_outcome_is_for_its_sender_and_for_those_who_may_see_all(secured: Secured) -> None:
    names = subject("shop"), subject("billing"), subject("support")
    shop, billing = [await secured.headers(name, "commands:customers.*") for name in names[:2]]
    support = await secured.headers(names[2], "outcomes:read")
    id_ = secrets.token_hex(8)
    sent, _ = await register(secured, shop, id_)
    assert sent.status_code == 200
    path = f"/commands/{id_}"
    assert sent.headers["location"] == f"{path}?source={names[0]}"
    found = await secured.commands.get(path, headers=shop)
    assert (found.status_code, found.content) == (200, sent.content)
    assert (await secured.commands.get(path, headers=billing)).status_code == 404
    by_source = await secured.commands.get(sent.headers["location"], headers=billing)
    assert (by_source.status_code, by_source.json()["scopes"]) == (403, ["outcomes:read"])
    other, _ = await register(secured, billing, id_)
    assert other.status_code == 200, "the same id from another sender is another command"
    assert (await secured.commands.get(path, headers=support)).json()["code"] == "source-needed"
    assert (await secured.commands.get(sent.headers["location"], headers=support)).content == sent.content


async def test_nobody_sends_as_another_source_without_the_scope_for_it(secured: Secured) -> None:
    shop, gateway = subject("shop"), subject("gateway")
    own = await secured.headers(shop, "commands:customers.*")
    through = await secured.headers(gateway, "commands:customers.*", f"sources:{shop}")
    refused, _ = await register(secured, own, **{"Tidemark-Source": gateway})
    assert (refused.status_code, refused.json()["scopes"]) == (403, [f"sources:{gateway}"])
    id_ = secrets.token_hex(8)
    first, _ = await register(secured, through, id_, **{"Tidemark-Source": shop})
    assert (first.status_code, first.json()["commandsource"]) == (200, shop)
    assert (await secured.commands.get(f"/commands/{id_}", headers=own)).content == first.content
    again, _ = await register(secured, own, id_)
    assert again.json()["code"] == "idempotency-key-reused", "one key, whoever of the two sends it"


async def test_scheduled_commands_are_their_senders_alone(secured: Secured) -> None:
    shop, other = [await secured.headers(subject(name), "commands:customers.*") for name in ("shop", "other")]
    operator = bearer(OPERATORS_KEY) | {"Tidemark-Actor": "ann"}
    id_, later = secrets.token_hex(8), (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    body = {"customer_id": id_, "name": "Ann"}
    own = shop | {"Idempotency-Key": id_, "Prefer": "wait=20"}
    sent = await secured.commands.post(REGISTER, params={"notbefore": later}, json=body, headers=own)
    assert (sent.status_code, sent.json()["reason"]) == (202, "scheduled")
    source, path, why = sent.json()["source"], f"/scheduled-commands/{id_}", {"reason": "not needed"}
    assert [
        one["command_id"] for one in (await secured.commands.get("/scheduled-commands", headers=shop)).json()["items"]
    ] == [id_]
    assert (await secured.commands.get("/scheduled-commands", headers=other)).json()["items"] == []
    everyone = (await secured.commands.get("/scheduled-commands?limit=200", headers=operator)).json()["items"]
    assert id_ in {one["command_id"] for one in everyone}
    assert (await secured.commands.get(path, headers=other)).status_code == 404
    for method, parameters in (("GET", {}), ("DELETE", why), ("PATCH", {})):
        query, moved = {"source": source, **parameters}, {"notbefore": later} if method == "PATCH" else None
        answer = await secured.commands.request(method, path, params=query, headers=other, json=moved)
        assert (answer.status_code, answer.json()["scopes"]) == (403, ["scheduled:act"])
    listed = await secured.commands.get("/scheduled-commands", params={"source": source}, headers=other)
    assert listed.status_code == 403
    cancelled = await secured.commands.delete(path, params=why, headers=operator)
    assert cancelled.status_code == 200, cancelled.text
    outcome = (await secured.commands.get(f"/commands/{id_}", headers=shop)).json()
    assert "cancelled before its time by operator, for ann: not needed" in outcome["data"]["message"]


async def test_a_rotation_at_full_rate_is_noticed_by_nobody_who_holds_a_valid_key(secured: Secured) -> None:
    shop = subject("shop")
    first = await secured.key(shop, "commands:customers.*")
    current, statuses, stopping = [bearer(str(first.key))], [], asyncio.Event()

    async def client() -> None:
        while not stopping.is_set():
            statuses.append((await register(secured, current[0]))[0].status_code)

    async with asyncio.TaskGroup() as clients:
        for _ in range(3):
            clients.create_task(client())
        await soon(lambda: done(statuses, 5))
        async with store.operations_database(settings_for(secured.servers)) as connection:
            made = await store.rotate(connection, first.key.id, None, timedelta(hours=1), actor="a test", reason="")
        current[0] = bearer(str(made.key))
        rotated = len(statuses)
        await soon(lambda: done(statuses, rotated + 10))
        async with store.operations_database(settings_for(secured.servers)) as connection:
            await store.revoke(connection, first.key.id, actor="a test", reason="rotated")
        revoked = len(statuses)
        await soon(lambda: done(statuses, revoked + 10))
        stopping.set()
    assert set(statuses) == {200}

    async def refused() -> bool:
        answers = [
            await each.get(path, headers=bearer(str(first.key)))
            for each, path in ((secured.queries, "/freshness"), (secured.commands, "/scheduled-commands"))
        ]
        return [answer.status_code for answer in answers] == [401, 401]

    await soon(refused)


async def done(statuses: list[int], number: int) -> bool:
    return len(statuses) >= number


async def test_a_key_that_is_expired_wrong_or_unknown_is_refused_by_both_services(secured: Secured) -> None:
    short = await secured.key(subject("short"), "*", lifetime=timedelta(seconds=3))
    good = str((await secured.key(subject("good"), "*")).key)

    async def status(credential: str) -> list[int]:
        headers = bearer(credential)
        return [
            (await secured.queries.get("/freshness", headers=headers)).status_code,
            (await secured.commands.get("/scheduled-commands", headers=headers)).status_code,
        ]

    assert await status(good) == [200, 200]
    for wrong in (good[:-1] + ("a" if good[-1] != "a" else "b"), good.replace("tmk_", "tmk_x"), good + "a", good[4:]):
        assert await status(wrong) == [401, 401]

    async def expired() -> bool:
        return await status(str(short.key)) == [401, 401]

    await soon(expired)


async def test_tokens_are_accepted_their_keys_rotate_and_other_algorithms_are_refused(secured: Secured) -> None:
    person = subject("person")

    async def get(token: str, path: str = "/freshness") -> int:
        return (await secured.queries.get(path, headers=bearer(token))).status_code

    assert await get(OLD.token(sub=person, scope="queries:freshness openid")) == 200
    assert await get(OLD.token(sub=person, scope="queries:freshness"), "/orders") == 403
    assert await get(OLD.token(sub=person, scope="queries:*", aud="another")) == 401
    assert await get(OLD.token(sub="operator", scope="*")) == 401
    secured.issuer.keys = [OLD, NEW]
    token = NEW.token(sub=person, scope="queries:* commands:customers.*")

    async def known() -> bool:
        return await get(token) == 200

    await soon(known)
    sent, customer = await register(secured, bearer(token))
    assert (sent.status_code, sent.json()["commandsource"]) == (200, person)
    secured.issuer.status = 503  # the issuer is away: what is known goes on
    assert await get(OLD.token(sub=person, scope="queries:*")) == 200
    secured.issuer.status = 200
    foreign = signing_key("new", "RS256")
    assert await get(foreign.token(sub=person, scope="*")) == 401
    assert customer


async def test_live_updates_need_the_scope_of_every_kind_they_show(secured: Secured) -> None:
    headers = await secured.headers(subject("dashboard"), "queries:customers", "commands:customers.*")
    url = str(secured.queries.base_url)
    async with aiohttp.ClientSession() as session:
        for given, path, status in (
            ({}, "/events/ws?kind=customers", 401),
            (headers, "/events/ws", 403),
            (headers, "/events/ws?kind=customers&kind=orders", 403),
            (headers, "/events/ws?stream=orders/o-1", 403),
        ):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url + path, headers=given)
            assert refused.value.status == status
        async with (
            session.ws_connect(f"{url}/events/ws?kind=customers&projection=summary", headers=headers) as socket,
            session.get(f"{url}/events?kind=customers&projection=summary", headers=headers) as stream,
        ):
            assert stream.status == 200
            assert (await socket.receive_json(timeout=WITHIN_S))["event"] in ("ready", "reset")
            _, customer = await register(secured, headers)
            async with asyncio.timeout(WITHIN_S):
                while (await socket.receive_json()).get("data", {}).get("stream") != f"customers/{customer}":
                    pass
                while f"customers/{customer}".encode() not in await stream.content.readline():
                    pass


async def test_what_is_public_needs_no_credential_and_nothing_else_is(secured: Secured) -> None:
    for client in (secured.queries, secured.commands):
        for path in ("/health/live", "/health/serving", "/health/ready", "/schema", "/schema/openapi.json"):
            answer = await client.get(path)
            assert answer.status_code in (200, 503), path  # a projection may be behind
            assert answer.status_code == 200 or path == "/health/ready"
    assert (await secured.commands.get("/contracts")).status_code == 200
    document = (await secured.queries.get("/schema/openapi.json")).json()
    for path in document["paths"]:
        if (
            not path.startswith("/health")
            and "{" not in path
            and path != "/events"
            and "get" in document["paths"][path]
        ):
            assert (await secured.queries.get(path)).status_code == 401, path


async def test_a_refusal_is_in_the_audit_with_the_subject_and_the_scope(secured: Secured, tmp_path: Path) -> None:
    reader, chosen = subject("reader"), ports()
    headers = await secured.headers(reader, "dead-letters:read", "audit:read")
    with (tmp_path / "log").open("w") as output:
        async with Supervisor(output) as supervisor:
            await supervisor.start([secured.own("query", **chosen)])
            async with httpx.AsyncClient(base_url=address(chosen, "QUERY"), trust_env=False, timeout=30) as client:
                acts = {"Tidemark-Actor": "ann"}
                for _ in range(3):
                    assert (
                        await client.post("/dead-letters/discard", headers=headers | acts, json={})
                    ).status_code == 403
                assert (await client.get("/orders/secret-order", headers=headers)).status_code == 403
        # What it has counted is published when it stops.
    connection = await asyncpg.connect(secured.servers.operations_db_url)
    found: list[Any] = []

    async def recorded() -> bool:
        found[:] = [tuple(row) for row in await connection.fetch(DENIED, reader)]
        return len(found) >= 2

    await soon(recorded)
    await connection.close()
    assert sorted(found) == [
        (reader, "GET /orders/{order_id}", "forbidden", "queries:orders", None),
        (reader, "POST /dead-letters/discard", "forbidden", "dead-letters:discard", "ann"),
    ]
    trail = await secured.queries.get(f"/dead-letters/audit?actor={reader}&act=denied", headers=headers)
    assert {one["details"]["count"] for one in trail.json()["items"]} == {1, 3}


async def test_every_deployable_that_has_started_and_the_epoch_are_in_the_audit(secured: Secured) -> None:
    headers = bearer(OPERATORS_KEY)

    async def of_kind(kind: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await secured.queries.get(f"/audit?kind={kind}", headers=headers)).json()[
            "items"
        ]
        return items

    async def all_there() -> bool:
        return {one["details"]["process"] for one in await of_kind("deployment")} >= set(DEPLOYABLES) - {
            "payment_provider"
        }

    await soon(all_there)
    (first,) = await of_kind("epoch")
    assert (first["act"], first["actor"], first["reason"]) == ("begin-epoch", "tidemark", "the first")


async def test_while_acts_are_forbidden_only_senders_change_what_is_scheduled(secured: Secured) -> None:
    admin = await secured.headers(subject("admin"), "operations:read-only")
    operator = await secured.headers(subject("op"), "scheduled:act")
    sender = await secured.headers(subject("shop"), "commands:customers.*")
    path = "/scheduled-commands/none"
    moved = {"notbefore": "2100-01-01T00:00:00Z"}
    on = await secured.queries.post("/read-only/on", headers=admin, json={"reason": "moving"})
    assert on.status_code == 200, on.text
    try:
        for refused in (
            await secured.commands.delete(path, params={"reason": "x"}, headers=operator),
            await secured.commands.patch(path, json=moved, headers=operator),
        ):
            assert (refused.status_code, refused.json()["code"]) == (423, "read-only")
        assert (await secured.commands.patch(path, json=moved, headers=sender)).status_code == 404
        assert (await secured.commands.get("/scheduled-commands", headers=operator)).status_code == 200
    finally:
        assert (await secured.queries.post("/read-only/off", headers=admin, json={"reason": "done"})).status_code == 200
    assert (await secured.commands.patch(path, json=moved, headers=operator)).status_code == 404


async def test_the_operators_key_is_one_identity_with_the_operators_scopes(secured: Secured) -> None:
    headers = bearer(OPERATORS_KEY)
    assert (await secured.queries.get("/dead-letters", headers=headers)).status_code == 200
    assert (await secured.commands.get("/streams/orders/none", headers=headers)).status_code == 404
    # It may edit dead commands of every type, so it may send them.
    assert (await register(secured, headers))[0].status_code == 200
    assert "keys:admin" not in OPERATOR


@pytest.mark.parametrize("name", ["query", "http"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])  # noqa: S104
async def test_authentication_is_not_switched_off_where_others_can_reach_it(
    secured: Secured, name: str, host: str
) -> None:
    chosen = {"TIDEMARK_HOST": host, "TIDEMARK_AUTH": "off"} | ports()
    environ = environment(name, secured.servers, os.environ | chosen)
    arguments = ("query_service",) if name == "query" else ("command_service", "http")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(200):
        out, errors = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    [line] = errors.decode().splitlines()
    assert "TIDEMARK_AUTH=off is for this machine alone" in line
