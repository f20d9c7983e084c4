"""What every request passes: hosts, origins, the size of the head, proxies that are trusted; and what every response gets."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.screening.configuration import screening
from shared.http.screening.forwarded import TrustedProxies, networks
from shared.http.screening.hosts import AllowedHosts, InvalidHostError, MisdirectedError
from shared.http.screening.origins import ForeignOriginError, Origins, is_same, origins
from shared.http.screening.screen import HEADERS, MAX_HEAD_BYTES, MAX_PATH_BYTES, MAX_QUERY_BYTES, ONCE, Screen
from shared.runtime.process import CannotStartError
from shared.runtime.settings import Settings

SHOP = "https://shop.example.org"


class Recorded:
    """An application that answers, and keeps what reached it."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.scopes: list[Any] = []
        self._headers = list(headers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})


def client_of(app: Recorded, base: str = "http://127.0.0.1:8080", **settings: str) -> httpx.AsyncClient:
    screen: Any = Screen(app, screening(Settings(**settings)))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=httpx.ASGITransport(screen, client=("10.0.0.9", 999)), base_url=base)


async def refused(response: httpx.Response, app: Recorded) -> tuple[int, str]:
    """Status and code; the application was not called."""
    assert not app.scopes
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    document = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["code"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:8080", "localhost.", "10.1.2.3:80"]
)
def test_a_service_answers_to_loopback_names_and_to_the_address_that_it_listens_on(host: str) -> None:
    AllowedHosts(listening="10.1.2.3").require([host.encode()])


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.1.2.4", "255.255.255.255"]
)
def test_a_name_of_others_that_points_here_is_not_answered(host: str) -> None:
    for listening in ("10.1.2.3", "0.0.0.0", "::"):  # noqa: S104 - it listens on every address
        with pytest.raises(MisdirectedError):
            AllowedHosts(listening=listening).require([host.encode()])


@pytest.mark.parametrize(
    "hosts", [[], [b""], [b"localhost", b"localhost"], [b"localhost:x"], [b"a b"], [b"\xff"], [b"a@localhost"]]
)
def test_a_host_that_is_missing_twice_or_malformed_is_a_bad_request(hosts: list[bytes]) -> None:
    with pytest.raises(InvalidHostError):
        AllowedHosts(["*"]).require(hosts)


def test_listed_names_are_exact_and_a_star_stands_for_names_below() -> None:
    hosts = AllowedHosts(["shop.example.org", "*.internal"])
    for name in ("shop.example.org:8443", "Query.Internal", "a.b.internal"):
        hosts.require([name.encode()])
    for name in ("x.shop.example.org", "internal", "xinternal", "example.org"):
        with pytest.raises(MisdirectedError):
            hosts.require([name.encode()])
    AllowedHosts(["*"]).require([b"anything.example"])


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    hosts = AllowedHosts(["*"])
    for number in range(1_000):
        hosts.require([f"h{number}".encode()])
    assert len(hosts._known) == 100


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("https://shop.example.org", "shop.example.org", True),
        ("https://shop.example.org", "shop.example.org:443", True),
        ("http://shop.example.org", "SHOP.example.org:80", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("https://evil.example", "shop.example.org", False),
        ("https://shop.example.org.evil.example", "shop.example.org", False),
        ("https://shop.example.org@evil.example", "shop.example.org", False),
        ("null", "null", False),
        ("file://", "", False),
        ("chrome-extension://abc", "abc", False),
        ("", "localhost", False),
    ],
)
def test_a_page_is_of_the_same_origin_where_host_and_port_are_the_same(origin: str, host: str, same: bool) -> None:
    assert is_same(origin, host) is same


@given(st.text(max_size=50), st.text(max_size=30))
def test_no_origin_however_odd_is_an_error_of_ours(origin: str, host: str) -> None:
    try:
        Origins([SHOP]).require(origin, host, None)
    except ForeignOriginError:
        return
    assert is_same(origin, host) or origin.lower() == SHOP


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT", "FROBNICATE"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000", ""])
async def test_a_page_of_another_origin_changes_nothing(method: str, origin: str) -> None:
    app = Recorded()
    async with client_of(app) as client:
        response = await client.request(method, "/commands/x", headers={"Origin": origin})
        assert await refused(response, app) == (403, "origin-not-allowed")


async def test_a_browser_that_says_cross_site_without_an_origin_changes_nothing() -> None:
    app = Recorded()
    async with client_of(app) as client:
        response = await client.post("/commands/x", headers={"Sec-Fetch-Site": "cross-site"})
        assert await refused(response, app) == (403, "origin-not-allowed")
        assert (await client.post("/commands/x", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200


async def test_requests_that_only_read_and_those_of_own_pages_and_of_programs_pass() -> None:
    app = Recorded()
    async with client_of(app) as client:
        assert (await client.get("/orders", headers={"Origin": "https://evil.example"})).status_code == 200
        assert (await client.post("/commands/x", headers={"Origin": "http://127.0.0.1:8080"})).status_code == 200
        assert (await client.post("/commands/x")).status_code == 200
    assert len(app.scopes) == 3


async def test_health_is_answered_whatever_the_host() -> None:
    app = Recorded()
    async with client_of(app, "http://10.244.1.7:8080") as client:
        assert (await client.get("/health/ready")).status_code == 200
        app.scopes.clear()
        assert await refused(await client.get("/orders"), app) == (421, "host-not-allowed")


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/orders?q=" + "x" * MAX_QUERY_BYTES, {}, (414, "target-too-long")),
        ("/orders/" + "x" * MAX_PATH_BYTES, {}, (414, "target-too-long")),
        ("/orders", {"X-Large": "x" * MAX_HEAD_BYTES}, (431, "headers-too-large")),
        ("/health/live", {"X-Large": "x" * MAX_HEAD_BYTES}, (431, "headers-too-large")),
    ],
)
async def test_a_head_that_is_too_large_is_refused(
    path: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    app = Recorded()
    async with client_of(app) as client:
        assert await refused(await client.get(path, headers=headers), app) == expected


async def test_every_response_has_the_security_headers_and_keeps_its_own() -> None:
    async with client_of(Recorded()) as client:
        response = await client.get("/orders")
        assert {name.decode(): value.decode() for name, value in HEADERS}.items() <= dict(response.headers).items()
        assert "vary" not in response.headers
    own = (b"Cache-Control", b"no-store"), (b"content-security-policy", b"default-src 'self'"), (b"etag", b'"1"')
    async with client_of(Recorded(*own)) as client:
        response = await client.get("/console")
        for name, value in own:
            assert response.headers.get_list(name.decode()) == [value.decode()]
        assert response.headers["x-frame-options"] == "DENY"


async def test_without_a_list_no_origin_may_read() -> None:
    app = Recorded()
    async with client_of(app) as client:
        preflight = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
        for response in (await client.get("/orders", headers=preflight), await client.options("/x", headers=preflight)):
            assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_a_listed_origin_may_read_and_send_and_no_other() -> None:
    app = Recorded()
    async with client_of(app, cors_origins=f"{SHOP}, http://localhost:3000") as client:
        for origin in (SHOP, "http://localhost:3000"):
            response = await client.post("/commands/x", headers={"Origin": origin})
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == origin
            assert "ETag" in response.headers["access-control-expose-headers"]
            assert "access-control-allow-credentials" not in response.headers
        foreign = await client.get("/orders", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        assert foreign.headers["vary"] == "Origin"
        app.scopes.clear()
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        preflight = await client.options("/commands/x", headers=asked | {"Origin": SHOP})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, SHOP)
        assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
        evil = await client.options("/commands/x", headers=asked | {"Origin": "https://evil.example"})
        assert await refused(evil, app) == (403, "origin-not-allowed")


async def test_a_refusal_too_can_be_read_by_the_page_of_a_listed_origin() -> None:
    async with client_of(Recorded(), cors_origins=SHOP) as client:
        response = await client.get("/orders", headers={"Origin": SHOP, "X-Large": "x" * MAX_HEAD_BYTES})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (431, SHOP)


def resolved(trusted: str, peer: str, *headers: tuple[bytes, bytes]) -> tuple[str, str]:
    """The client's address, and the scheme."""
    scope = {"client": (peer, 1), "scheme": "http", "headers": list(headers)}
    scope = TrustedProxies(networks(trusted)).resolve(scope)
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ("", "10.0.0.9", "1.2.3.4", "10.0.0.9"),
        ("10.0.0.1", "10.0.0.9", "1.2.3.4", "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.9", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.9", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.9", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.9", "garbage", "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.9", "6.6.6.6, garbage, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.0/8", "10.0.0.9", "", "10.0.0.9"),
        ("10.0.0.0/8", "::ffff:10.0.0.9", "1.2.3.4", "1.2.3.4"),
        ("::1,127.0.0.1", "::1", "2001:DB8::7", "2001:db8::7"),
    ],
)
def test_the_client_is_the_last_address_that_a_trusted_proxy_has_seen(
    trusted: str, peer: str, forwarded: str, client: str
) -> None:
    assert resolved(trusted, peer, (b"x-forwarded-for", forwarded.encode()))[0] == client


def test_the_scheme_is_believed_from_trusted_proxies_only_and_several_headers_are_one_list() -> None:
    secure = (b"x-forwarded-proto", b"https")
    assert resolved("10.0.0.9", "10.0.0.9", secure)[1] == "https"
    assert resolved("10.0.0.1", "10.0.0.9", secure)[1] == "http"
    headers = (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")
    assert resolved("10.0.0.9", "10.0.0.9", *headers)[0] == "1.2.3.4"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("allowed_hosts", "https://shop.example.org"),
        ("allowed_hosts", "shop.example.org:8080"),
        ("cors_origins", "shop.example.org"),
        ("cors_origins", "https://shop.example.org/"),
        ("cors_origins", "*"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("trusted_proxies", "gateway"),
    ],
)
def test_a_setting_that_is_malformed_keeps_the_service_from_starting_and_is_named(setting: str, value: str) -> None:
    with pytest.raises(CannotStartError, match=f"TIDEMARK_{setting.upper()}: "):
        screening(Settings(**{setting: value}))  # type: ignore[arg-type]


def test_origins_are_compared_whatever_their_case() -> None:
    assert Origins(origins("HTTPS://Shop.Example.org")).is_listed("https://SHOP.example.org")


@pytest.mark.parametrize("name", sorted(ONCE))
async def test_a_header_that_says_who_sends_what_is_given_once(name: bytes) -> None:
    app = Recorded()
    async with client_of(app) as client:
        twice = [(name, b"one"), (name, b"two")]
        assert await refused(await client.get("/orders", headers=twice), app) == (400, "duplicate-header")
        assert (await client.get("/orders", headers=twice[:1])).status_code == 200
