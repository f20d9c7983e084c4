"""Who may use which route: every route of both services, with every credential that should open it, and with those that should not.

Behind the guard there are no servers here: a request that is let through fails for another reason than its credential.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from litestar import Litestar, WebSocket, get, websocket

from command_service.http import scheduled
from command_service.http.ingress import Ingress
from command_service.http.ingress import create_app as command_app
from command_service.http.outcome_waiting import OutcomeReader
from command_service.http.stream_reading import StreamReader
from command_service.http.streams import Streams
from query_service.app import create_app as query_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.contracts.registry import COMMANDS, CONTEXT_OF_KIND
from shared.http.identities import scopes
from shared.http.identities.credentials import Credentials
from shared.http.identities.guard import AUTHENTICATED, NEEDS, PUBLIC, UndeclaredRouteError
from shared.http.identities.jwks import Jwks
from shared.http.identities.key_cache import ApiKeyCache
from shared.http.identities.tokens import TokenRules, TokenVerifier
from shared.http.service import Service
from shared.messaging.broker import Publisher
from shared.processes import PROCESSES
from tests.issuer import AUDIENCE, ISSUER, SigningKey, jwks, signing_key

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
NO_BROKER = "amqp://nobody:x@127.0.0.1:1/"
PUBLIC_PATHS = ("/health/live", "/health/ready", "/health/serving", "/schema", "/contracts", "/console")
"""What may be used without a credential, and all below it. Anything else needs one."""
VALUES = {"command_type": "orders.pay-order", "kind": "orders"}
KEY: SigningKey = signing_key("k")


def stores() -> Stores:
    return Stores(
        *(PostgresStore(name, NOWHERE, name) for name in ("summary", "search", "telemetry")),
        RedisStore("analytics", "redis://127.0.0.1:1"),
        process_managers=[PostgresStore(each.name, NOWHERE, each.folder) for each in PROCESSES],
    )


class Denials:
    def __init__(self) -> None:
        self.noted: list[tuple[str, str, str, str | None, str | None]] = []

    def note(
        self, identity: str, action: str, code: str, *, scope: str | None = None, behind: str | None = None
    ) -> None:
        self.noted.append((identity, action, code, scope, behind))


@pytest.fixture(scope="module")
def denials() -> Denials:
    return Denials()


@pytest.fixture(scope="module")
async def apps(tmp_path_factory: pytest.TempPathFactory, denials: Denials) -> dict[str, Litestar]:
    path = tmp_path_factory.mktemp("issuer") / "jwks.json"
    path.write_bytes(jwks(KEY))
    verifier = TokenVerifier(TokenRules(ISSUER, AUDIENCE, ("ES256",), 30), Jwks(str(path), ("ES256",)))
    await verifier.jwks._fetch()
    credentials = Credentials(ApiKeyCache(NOWHERE), verifier, "the operators' key")
    ingress = Ingress(Publisher(NO_BROKER, "test", deadline_s=0.05), OutcomeReader(NOWHERE, NO_BROKER))
    streams = Streams(StreamReader(NOWHERE))
    both: dict[str, Any] = {"authenticator": credentials, "report_denial": denials.note}
    return {
        "query": query_app(stores(), **both),
        "command": command_app(ingress, streams, scheduled.ROUTES, **both),
    }


@pytest.fixture(scope="module")
async def clients(apps: dict[str, Litestar]) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        made = {}
        for name, app in apps.items():
            transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
            made[name] = await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url=f"http://{name}", timeout=30)
            )
        yield made


def routes(app: Litestar) -> Iterator[tuple[str, str, Any]]:
    """(method, path, what it needs) of every route that answers HTTP."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                yield method, route.path, handler.opt[NEEDS]


def filled(path: str) -> str:
    parts = [part.strip("{}").partition(":")[0] if part.startswith("{") else None for part in path.split("/")]
    return "/".join(
        part if name is None else VALUES.get(name, "7") for part, name in zip(path.split("/"), parts, strict=True)
    )


def needed(needs: Any, path: str) -> Sequence[str]:
    if isinstance(needs, str):
        return [needs]
    if needs == AUTHENTICATED:
        return []
    if "{command_type" in path:
        return [f"commands:{VALUES['command_type']}"]
    assert path == "/events"
    return sorted({f"queries:{context}" for context in CONTEXT_OF_KIND.values()})


def bearer(*granted: str, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY.token(scope=' '.join(granted), **claims)}"}


def all_but(needed: Sequence[str]) -> list[str]:
    """Every scope that does not allow the needed one."""
    names = {scope for scope, _ in scopes.described() if "<" not in scope}
    names |= {f"commands:{command}" for command in COMMANDS}
    return sorted(name for name in names if not any(scopes.allows({name}, one) for one in needed))


def is_denied(answer: httpx.Response) -> bool:
    return answer.status_code in (401, 403)


def test_every_route_declares_what_it_needs_and_only_the_documented_ones_nothing(apps: dict[str, Litestar]) -> None:
    found = [(path, needs) for app in apps.values() for _, path, needs in routes(app)]
    assert len(found) > 60
    for path, needs in found:
        public = any(path == one or path.startswith(f"{one}/") for one in PUBLIC_PATHS)
        assert (needs == PUBLIC) == public, path
        if isinstance(needs, str):
            assert scopes.checked(needs) == needs


def test_a_route_that_declares_nothing_cannot_be_served() -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return ""

    @websocket("/forgotten/ws")
    async def forgotten_socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
        return None

    for handler in (forgotten, forgotten_socket):
        with pytest.raises(UndeclaredRouteError, match="/forgotten"):
            Service(route_handlers=[handler])


@pytest.mark.parametrize("service", ["query", "command"])
async def test_the_whole_matrix_of_routes_and_credentials(
    service: str, apps: dict[str, Litestar], clients: dict[str, httpx.AsyncClient]
) -> None:
    client = clients[service]
    denied = allowed = 0

    async def status(method: str, path: str, headers: dict[str, str]) -> httpx.Response:
        if path == "/events":  # which would go on for ever
            method = "HEAD"
        return await client.request(method, path, headers=headers)

    for method, template, needs in routes(apps[service]):
        path = filled(template)
        if needs == PUBLIC:
            assert not is_denied(await status(method, path, {})), path
            allowed += 1
            continue
        wanted = needed(needs, template)
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Bearer {KEY.token(exp=1, scope='*')}"},
        ):
            answer = await status(method, path, headers)
            assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer"), (method, path)
            denied += 1
        for granted in ([], all_but(wanted)) if wanted else ():
            answer = await status(method, path, bearer(*granted))
            assert answer.status_code == 403, (method, path)
            if method != "HEAD" and path != "/events":
                assert answer.json()["scopes"] == list(wanted)
            denied += 1
        families = {f"{scope.partition(':')[0]}:*" for scope in wanted}
        for opening in (wanted, ["*"], families):
            answer = await status(method, path, bearer(*opening))
            assert not is_denied(answer), (method, path, opening, answer.text)
            allowed += 1
    assert denied > (150 if service == "query" else 20)
    assert allowed > (150 if service == "query" else 20)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "Bearer the operators' key")], 200),
        ([("authorization", "bearer the operators' key")], 200),
        ([("authorization", "Bearer  the operators' key ")], 200),
        ([("authorization", "Bearer the operators' keys")], 401),
        ([("authorization", "the operators' key")], 401),
        ([("authorization", "Basic dXNlcjpwYXNz")], 401),
        ([("authorization", "Bearer")], 401),
        ([("authorization", "Bearer ")], 401),
        ([("authorization", "Bearer " + "x" * 9000)], 401),
        ([("authorization", "Bearer é")], 401),
        ([("authorization", "")], 401),
        ([("authorization", "Bearer the operators' key"), ("authorization", "Bearer the operators' key")], 401),
        ([("authorization", "Bearer the operators' key"), ("authorization", "Bearer wrong")], 401),
        ([("authorization", "Bearer the operators' key"), ("tidemark-actor", "ann")], 200),
        ([("authorization", "Bearer the operators' key"), ("tidemark-actor", "")], 400),
        ([("authorization", "Bearer the operators' key"), ("tidemark-actor", "x" * 201)], 400),
        ([("cookie", "authorization=the operators' key")], 401),
        ([("x-api-key", "the operators' key")], 401),
    ],
)
async def test_a_credential_is_one_bearer_header_and_nothing_else(
    clients: dict[str, httpx.AsyncClient], headers: list[tuple[str, str]], status: int
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = await clients["query"].get("/freshness", headers=raw)
    assert answer.status_code == status, answer.text
    assert "operators' key" not in answer.text


async def test_a_refusal_does_not_say_what_is_wrong_with_the_credential(clients: dict[str, httpx.AsyncClient]) -> None:
    others = [KEY.token(exp=1), KEY.token(aud="x"), signing_key("k").token(), "a.b.c", "x"]
    answers = [await clients["query"].get("/orders", headers={"Authorization": f"Bearer {one}"}) for one in others]
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}


async def test_a_credential_is_checked_before_anything_else_of_a_request(clients: dict[str, httpx.AsyncClient]) -> None:
    for path in ("/orders?limit=x", "/orders/%00", "/orders?nonsense=1", "/dead-letters/x"):
        assert (await clients["query"].get(path)).status_code == 401
    assert (await clients["command"].post("/commands/orders.pay-order", content=b"\xff" * 100)).status_code == 401


async def test_a_command_that_there_is_not_is_said_to_anyone_with_a_credential(
    clients: dict[str, httpx.AsyncClient],
) -> None:
    answer = await clients["command"].post("/commands/orders.buy", json={}, headers=bearer())
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-command")


@pytest.mark.parametrize(
    ("query", "granted", "status"),
    [
        ("stream=orders/o-1", ["queries:orders"], 200),
        ("stream=orders/o-1&stream=customers/c-1", ["queries:orders"], 403),
        ("stream=orders/o-1&stream=customers/c-1", ["queries:orders", "queries:customers"], 200),
        ("kind=orders", ["queries:orders"], 200),
        ("kind=orders&kind=products", ["queries:orders"], 403),
        ("kind=products", ["queries:catalog"], 200),
        ("kind=doctors&kind=patients&kind=bookings", ["queries:bookings"], 200),
        ("stream=orders/o-1&kind=customers", ["queries:orders"], 200),
        ("stream=orders/o-1&kind=orders", ["queries:customers"], 403),
        ("projection=summary", ["queries:orders"], 403),
        ("projection=summary", ["queries:*"], 200),
        ("kind=nonsense", ["queries:orders"], 403),
        ("stream=nonsense/1", ["queries:orders"], 403),
        ("kind=nonsense", ["queries:*"], 400),
    ],
)
async def test_live_updates_are_for_those_who_may_read_these_kinds(
    clients: dict[str, httpx.AsyncClient], query: str, granted: list[str], status: int
) -> None:
    answer = await clients["query"].head(f"/events?{query}", headers=bearer(*granted))
    assert answer.status_code == status


async def handshake(app: Litestar, query: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """What the application sends to a WebSocket handshake whose client then goes away."""
    sent: list[dict[str, Any]] = []
    coming = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}])
    scope = {
        **{
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": "/events/ws",
        },
        **{"raw_path": b"/events/ws", "query_string": query.encode(), "root_path": "", "subprotocols": []},
        **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {"websocket.http.response": {}}},
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent


async def test_a_websocket_is_refused_in_its_handshake(apps: dict[str, Litestar], denials: Denials) -> None:
    denials.noted.clear()
    for headers, status in (({}, 401), (bearer("queries:catalog"), 403)):
        head, body = await handshake(apps["query"], "kind=orders", headers)
        assert (head["type"], head["status"]) == ("websocket.http.response.start", status)
        assert b'"status":%d' % status in body["body"]
    assert [(subject, action, code, scope) for subject, action, code, scope, _ in denials.noted] == [
        ("anonymous", "WEBSOCKET /events/ws", "unauthorised", None),
        ("ann", "WEBSOCKET /events/ws", "forbidden", "queries:orders"),
    ]
    accepted, *_ = await handshake(apps["query"], "kind=orders", bearer("queries:orders"))
    assert accepted["type"] == "websocket.accept"


async def test_a_refusal_is_reported_with_the_route_and_never_with_what_the_client_made_up(
    clients: dict[str, httpx.AsyncClient], denials: Denials
) -> None:
    denials.noted.clear()
    claims = bearer("commands:*") | {"Tidemark-Actor": "the queen"}
    await clients["query"].get("/orders/my-secret-id", headers=claims)
    await clients["query"].get("/orders/my-secret-id")
    await clients["command"].get("/commands/c?source=" + "x" * 300, headers=claims)
    body = {"amount": 1}
    sent = claims | {"Tidemark-Source": "made-up"}
    answer = await clients["command"].post("/commands/orders.pay-order?subject=o", json=body, headers=sent)
    assert (answer.status_code, answer.json()["scopes"]) == (403, ["sources:made-up"])
    assert denials.noted == [
        ("ann", "GET /orders/{order_id}", "forbidden", "queries:orders", "the queen"),
        ("anonymous", "GET /orders/{order_id}", "unauthorised", None, None),
        ("ann", "GET /commands/{command_id}", "forbidden", "outcomes:read", "the queen"),
        ("ann", "POST /commands/orders.pay-order", "forbidden", "sources:<source>", "the queen"),
    ]


async def test_a_source_that_is_no_header_text_cannot_break_the_answer(clients: dict[str, httpx.AsyncClient]) -> None:
    source = b'a", error="none' + b"\xc3\xa9\xf0\x9f\x91\xbe"
    raw = [(b"tidemark-source", source), (b"authorization", bearer("commands:*")["Authorization"].encode())]
    answer = await clients["command"].post("/commands/orders.pay-order?subject=o", json={"amount": 1}, headers=raw)
    assert answer.status_code == 403
    assert answer.headers["www-authenticate"].count('"') == 6


async def test_without_a_decision_about_keys_the_answer_is_try_again(clients: dict[str, httpx.AsyncClient]) -> None:
    headers = {"Authorization": "Bearer tmk_abcdefghijkl_" + "s" * 43}
    answer = await clients["query"].get("/orders", headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        503,
        "credentials-unchecked",
        "2",
    )
