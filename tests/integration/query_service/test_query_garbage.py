"""Garbage at every parameter: a clear 4xx problem, never a 500, and never a wrong answer that looks right."""

import base64
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from query_service.http.paging import ListQuery, VersionKey

pytestmark = pytest.mark.usefixtures("shop")

GARBAGE = [
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%FF",
    "",
    "9" * 400,
    "-1",
    "99999999999999999999",
    "%F0%9F%A5%9B" * 200,
    "[]",
    "{}",
]
PARAMETERS = [
    ("/orders", ("customer_id", "status", "placed_from", "placed_to", "limit", "cursor")),
    ("/orders/o01/history", ("limit", "cursor")),
    ("/customers/c1/orders", ("status", "placed_from", "placed_to", "limit", "cursor")),
    ("/products", ("limit", "cursor")),
    ("/products/milk/price-history", ("limit", "cursor")),
    ("/analytics/revenue", ("from", "to", "granularity", "currency")),
    ("/analytics/top-products", ("from", "to", "by", "limit", "currency")),
    ("/analytics/customers", ("from", "to")),
    ("/search/products", ("limit", "cursor", "min_price", "max_price")),
    ("/search/orders", ("limit", "cursor")),
    ("/bookings", ("status", "from", "to", "limit", "cursor")),
    ("/doctors/d/bookings", ("status", "from", "to", "limit", "cursor")),
    ("/patients/p/bookings", ("status", "from", "to", "limit", "cursor")),
    ("/bookings/b/history", ("limit", "cursor")),
    ("/doctors/d/free-times", ("from", "to", "minutes")),
    ("/search/doctors", ("limit", "cursor")),
]
WITH_IDS = [
    "/orders/{}",
    "/orders/{}/history",
    "/customers/{}",
    "/customers/{}/orders",
    "/products/{}",
    "/products/{}/price-history",
    "/bookings/{}",
    "/bookings/{}/history",
    "/doctors/{}",
    "/doctors/{}/bookings",
    "/doctors/{}/free-times?from=2026-01-01&to=2026-01-02",
    "/patients/{}",
    "/patients/{}/bookings",
    "/dead-letters/{}",
    "/dead-letters/jobs/{}",
]


def is_problem(answer: httpx.Response, *statuses: int) -> bool:
    document = answer.json()
    return (
        answer.status_code in statuses
        and answer.headers["content-type"] == "application/problem+json"
        and document["status"] == answer.status_code
        and bool(document["detail"])
    )


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in PARAMETERS for name in names])
async def test_every_parameter_refuses_garbage(client: httpx.AsyncClient, path: str, name: str) -> None:
    needed = "&q=milk" if path.startswith("/search") else ""
    for value in GARBAGE:
        if (name, value) == ("customer_id", "-1") or (
            name in ("customer_id",) and value.isdigit() and len(value) < 129
        ):
            continue
        if name in ("min_price", "max_price") and value == "9":
            continue
        answer = await client.get(f"{path}?{name}={value}{needed}")
        assert is_problem(answer, 400), (value, answer.text)


@pytest.mark.parametrize("value", ["%00", "%ED%A0%80", "%FF", "", "%20", "x" * 501])
async def test_words_refuse_what_no_text_holds(client: httpx.AsyncClient, value: str) -> None:
    for path in ("/search/products", "/search/orders", "/search/doctors"):
        assert is_problem(await client.get(f"{path}?q={value}"), 400)


@pytest.mark.parametrize(
    "id_", ["%00", "a%00", "%ED%A0%80", "%FF", "x" * 129, "a%20b", "%0A", "'", "🥛", "a%2Fb", "%2f", "..%2F.."]
)
async def test_an_id_that_cannot_be_is_refused(client: httpx.AsyncClient, id_: str) -> None:
    for path in WITH_IDS:
        answer = await client.get(path.format(id_))
        assert is_problem(answer, 400), path
        assert answer.json()["code"] == "invalid-parameter"


@pytest.mark.parametrize(
    "query", ["satus=paid", "status=paid&status=placed", "Limit=3", "limit", "customer_id=", "%00=1"]
)
async def test_a_misspelt_repeated_or_empty_parameter_is_never_ignored(client: httpx.AsyncClient, query: str) -> None:
    assert is_problem(await client.get(f"/orders?{query}"), 400)


@pytest.mark.parametrize(
    "query",
    [
        "placed_from=0000-01-01",
        "placed_to=10000-01-01",
        "placed_from=2026-13-01",
        "placed_from=2026-02-30",
        "placed_from=9999-12-31T23:59:59-14:00",
        "placed_to=0001-01-01T00:00:00%2B14:00",
        "placed_from=2026-01-01T00:00:00",
        "placed_from=2026-01-01T00:00:00+02:00",
        "placed_from=1767225600",
    ],
)
async def test_a_time_outside_the_calendar_is_refused(client: httpx.AsyncClient, query: str) -> None:
    assert is_problem(await client.get(f"/orders?{query}"), 400)


async def test_a_forged_cursor_is_refused(client: httpx.AsyncClient) -> None:
    fingerprint = json.loads(_decoded(ListQuery("history", "o01").cursor(VersionKey(1))))[0]
    for key in ([2**63], [-1], ["1"], [1, 2], [None], [True], [1.5], {"version": 1}, 7):
        forged = base64.urlsafe_b64encode(json.dumps([fingerprint, key]).encode()).decode().rstrip("=")
        assert is_problem(await client.get(f"/orders/o01/history?cursor={forged}"), 400)


def _decoded(cursor: str) -> bytes:
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\u0000b"', '"\\udfff\\ud800"'])
async def test_a_forged_cursor_with_text_no_store_takes_is_refused(client: httpx.AsyncClient, text: str) -> None:
    fingerprint = json.loads(_decoded(ListQuery("products", None).cursor(VersionKey(1))))[0]
    forged = base64.urlsafe_b64encode(f'["{fingerprint}",[{text}]]'.encode()).decode().rstrip("=")
    assert is_problem(await client.get(f"/products?cursor={forged}"), 400)


async def test_routes_and_methods_that_are_not_there_are_problems_too(client: httpx.AsyncClient) -> None:
    for path in ("/", "/nothing", "/orders/o01/nothing", "/schema/nothing", "/%00"):
        assert is_problem(await client.get(path), 404)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = await client.request(method, "/orders/o01", content=b"\xff" * 1000)
        assert is_problem(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    path=st.sampled_from([path for path, _ in PARAMETERS] + ["/orders/o01", "/products/milk", "/freshness"]),
    names=st.lists(
        st.sampled_from(["q", "limit", "cursor", "from", "to", "status", "category", "brand", "by"]), max_size=3
    ),
    values=st.lists(
        st.binary(max_size=12).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw)), min_size=3, max_size=3
    ),
)
async def test_no_query_string_is_an_error_of_ours(
    client: httpx.AsyncClient, path: str, names: list[str], values: list[str]
) -> None:
    query = "&".join(f"{name}={value}" for name, value in zip(names, values, strict=False))
    answer = await client.get(f"{path}?{query}")
    assert answer.status_code == 200 or is_problem(answer, 400, 404), answer.text
