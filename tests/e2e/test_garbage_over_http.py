"""Garbage over HTTP: both services answer each with a problem document that says what is wrong, and go on."""

from typing import Any

import httpx
import pytest

from tests.e2e.system import System

pytestmark = pytest.mark.timeout(60)

LINE = '{"product_id": "p", "quantity": 1, "amount": 1}'
ORDER = '{"order_id": "http-garbage", "customer_id": "c", "currency": "EUR", "lines": [%s]}'
PLACE = "/commands/orders.place-order"


def line(member: str) -> str:
    return ORDER % LINE.replace('"amount": 1', member)


COMMANDS: dict[str, tuple[str, bytes | str, dict[str, str], int]] = {
    "not JSON": (PLACE, b"place an order", {}, 400),
    "not UTF-8": (PLACE, b'{"order_id": "\xff"}', {}, 400),
    "nothing at all": (PLACE, b"", {}, 400),
    "a list": (PLACE, "[]", {}, 400),
    "a list of one command": (PLACE, "[" + line('"amount": 1') + "]", {}, 400),
    "a number": (PLACE, "42", {}, 400),
    "a lone surrogate": (PLACE, line('"name": "\\ud800", "amount": 1'), {}, 400),
    "NaN": (PLACE, line('"amount": NaN'), {}, 400),
    "100,000 levels deep": (PLACE, '{"a":' * 100_000 + "1" + "}" * 100_000, {}, 400),
    "5 MB": (PLACE, line('"name": "' + "x" * 5_000_000 + '", "amount": 1'), {}, 413),
    "another content type": (PLACE, "<order/>", {"Content-Type": "application/xml"}, 415),
    "an unknown command": ("/commands/orders.frobnicate", "{}", {}, 404),
    "a type that is no name": ("/commands/DROP%20TABLE", "{}", {}, 422),
    "a slash in the type": ("/commands/orders%2Fplace-order", "{}", {}, 422),
    "NUL in the type": ("/commands/%00", "{}", {}, 422),
    "missing fields": (PLACE, "{}", {}, 422),
    "a negative amount": (PLACE, line('"amount": -1'), {}, 422),
    "an amount beyond 64 bits": (PLACE, line('"amount": 9223372036854775808'), {}, 422),
    "a number too large for a double": (PLACE, line('"amount": 1e999'), {}, 422),
    "NUL in a name": (PLACE, line('"name": "a\\u0000b", "amount": 1'), {}, 422),
    "the year 0": (PLACE, ORDER[:-1] % LINE + ', "placed_at": "0000-01-01T00:00:00Z"}', {}, 422),
    "the year 9999": (PLACE, ORDER[:-1] % LINE + ', "placed_at": "9999-12-31T23:59:59Z"}', {}, 422),
    "an id with blanks": (PLACE, ORDER % LINE, {"Idempotency-Key": "a b"}, 422),
    "an id of 129 letters": (PLACE, ORDER % LINE, {"Idempotency-Key": "x" * 129}, 422),
    "no subject": ("/commands/orders.deliver-order", "{}", {}, 422),
    "a negative expected version": (PLACE + "?expectedversion=-1", ORDER % LINE, {}, 400),
    "an expected version that is no number": (PLACE + "?expectedversion=last", ORDER % LINE, {}, 400),
    "an expected version beyond 64 bits": (PLACE + "?expectedversion=9223372036854775808", ORDER % LINE, {}, 422),
    "binary-mode CloudEvents": (PLACE, ORDER % LINE, {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s"}, 415),
    "structured-mode CloudEvents": (PLACE, ORDER % LINE, {"Content-Type": "application/cloudevents+json"}, 415),
    "an unknown path": ("/nothing/here", "{}", {}, 404),
    "a method that is not possible": ("/commands/a/b", "{}", {}, 404),
}

QUERIES = {
    "/orders?limit=0": 400,
    "/orders?limit=-1": 400,
    "/orders?limit=many": 400,
    "/orders?limit=99999999999999999999": 400,
    "/orders?cursor=garbage": 400,
    "/orders?cursor=%00": 400,
    "/orders?status=lost": 400,
    "/orders?colour=red": 400,
    "/orders?limit=1&limit=2": 400,
    "/orders?customer_id=": 400,
    "/orders?customer_id=%ff": 400,
    "/orders?customer_id=a%0d%0ab": 400,
    "/orders?placed_from=0000-01-01": 400,
    "/orders?placed_from=yesterday": 400,
    "/orders?placed_from=2026-02-30": 400,
    "/orders/" + "x" * 129: 400,
    "/orders/%00": 400,
    "/orders/a%20b": 400,
    "/orders/nobody-placed-it": 404,
    "/orders/nobody-placed-it/history": 404,
    "/customers/nobody": 404,
    "/products/nothing": 404,
    "/products/..%2f..%2fetc%2fpasswd": 400,
    "/orders/a%2Fb": 400,
    "/analytics/revenue?granularity=year": 400,
    "/analytics/revenue?from=2026-01-02&to=2026-01-01": 400,
    "/analytics/revenue?from=2026-01-01T00:30:00Z": 400,
    "/analytics/revenue?from=0001-01-01&to=9999-12-31&granularity=hour&currency=EUR": 400,
    "/analytics/revenue?currency=euro": 400,
    "/analytics/top-products?by=colour": 400,
    "/analytics/top-products?limit=0": 400,
    "/search/products": 400,
    "/search/products?q=%20": 400,
    "/search/products?q=%00": 400,
    "/search/products?q=" + "x" * 501: 400,
    "/search/products?q=a&min_price=-1": 400,
    "/search/products?q=a&max_price=9223372036854775808": 400,
    "/search/orders?q=" + "a+" * 33: 400,
    "/dev/null": 404,
}
ODD_BUT_SOUND = (
    "/search/products?q=%27%3B+DROP+TABLE+products%3B+--",
    "/search/products?q=%21%26%7C%28%29%3A%2A%3C-%3E",
    "/search/products?q=%22unclosed",
    "/search/products?q=%25%5F%5C",
    "/search/orders?q=-",
    "/search/orders?q=%F0%9F%A6%8A",
    "/orders?placed_from=9999-12-31",
    "/analytics/revenue?from=9999-12-30&to=9999-12-31&currency=EUR",
    "/analytics/revenue?currency=XXX",
)


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"].startswith("application/problem+json"), response.text
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    assert document["type"].startswith("urn:tidemark:problem:")
    assert document["detail"]
    assert "Traceback" not in response.text
    return document


@pytest.mark.parametrize(("path", "body", "headers", "status"), COMMANDS.values(), ids=COMMANDS)
async def test_the_ingress_refuses_with_a_problem(
    system: System, path: str, body: bytes | str, headers: dict[str, str], status: int
) -> None:
    given = {"Content-Type": "application/json", "Prefer": "wait=5"} | headers
    response = await system.commands.post(path, content=body, headers=given)
    assert response.status_code == status, response.text
    problem(response)


@pytest.mark.parametrize(
    "trace_parent", ["garbage", f"cc-{'a' * 32}-{'b' * 16}-01-what", f"00-{'0' * 32}-{'b' * 16}-01"]
)
async def test_a_trace_parent_is_never_a_reason_to_refuse(system: System, trace_parent: str) -> None:
    body = (ORDER % LINE).replace("http-garbage", f"traced-{abs(hash(trace_parent))}")
    headers = {"Content-Type": "application/json", "Prefer": "wait=5", "traceparent": trace_parent}
    response = await system.commands.post(PLACE, content=body, headers=headers)
    assert response.status_code == 200, response.text


async def test_binary_mode_is_refused_with_what_to_send_instead(system: System) -> None:
    headers = {"Content-Type": "application/json", "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s"}
    refused = problem(await system.commands.post(PLACE, content=ORDER % LINE, headers=headers))
    assert refused["detail"].startswith(
        "binary-mode CloudEvents are not understood: send structured mode, application/cloudevents+json"
    )


async def test_an_error_names_the_field_what_is_allowed_and_what_came(system: System) -> None:
    body = ORDER % LINE.replace('"quantity": 1', '"quantity": 0')
    headers = {"Content-Type": "application/json"}
    refused = problem(await system.commands.post(PLACE, content=body, headers=headers))
    assert refused["errors"] == [{"field": "lines[0].quantity", "message": "more than 0 is needed; 0 came"}]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_methods_that_are_not_possible_are_refused(system: System, method: str) -> None:
    for client, path in ((system.commands, PLACE), (system.queries, "/orders")):
        assert problem(await client.request(method, path))["status"] == 405


@pytest.mark.parametrize("preference", ["wait=soon", "wait=-1", "wait=" + "9" * 50, "respond-async", ";;,,="])
async def test_a_preference_that_makes_no_sense_is_ignored(system: System, preference: str) -> None:
    order_id = str(abs(hash(preference)))
    body = (ORDER % LINE).replace("http-garbage", order_id)
    headers = {"Content-Type": "application/json", "Prefer": preference}
    assert (await system.commands.post(PLACE, content=body, headers=headers)).status_code == 202


@pytest.mark.parametrize("id_", ["unknown", "%00", "a%0d%0ab", "x" * 5000, "%ff", "a%2Fb"])
async def test_an_outcome_nobody_knows_is_a_problem(system: System, id_: str) -> None:
    assert problem(await system.commands.get(f"/commands/{id_}"))["status"] in (400, 404)


@pytest.mark.parametrize(("path", "status"), QUERIES.items(), ids=lambda value: str(value)[:60])
async def test_the_query_service_refuses_with_a_problem(system: System, path: str, status: int) -> None:
    response = await system.queries.get(path)
    assert response.status_code == status, response.text
    problem(response)


@pytest.mark.parametrize("path", ODD_BUT_SOUND)
async def test_odd_but_sound_questions_are_answered(system: System, path: str) -> None:
    assert (await system.queries.get(path)).status_code == 200


async def test_both_services_still_work(system: System) -> None:
    for client in (system.commands, system.queries):
        assert (await client.get("/health/ready")).status_code == 200
    body = (ORDER % LINE).replace("http-garbage", "after-the-garbage")
    headers = {"Content-Type": "application/json", "Prefer": "wait=5"}
    assert (await system.commands.post(PLACE, content=body, headers=headers)).status_code == 200
    await system.visible("/orders/after-the-garbage")
