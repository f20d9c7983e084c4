"""No answer grows without bound: each list in an answer has a limit that a request may choose up to a maximum, or a bound of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from command_service.http import scheduled
from command_service.http.ingress import create_app as command_app
from query_service.app import create_app as query_app
from query_service.http.requests import Stores

MOST = 1000
BOUNDED = {
    "/commands/{command_id}": "what one message holds",
    "/doctors/{doctor_id}/free-times": "at most 32 days",
    "/devices/{device_id}": "at most 100 metrics of a device",
    "/devices/{device_id}/latest": "at most 100 metrics of a device, and those that were removed",
    "/devices/{device_id}/telemetry": "at most 10,000 buckets",
    "/dead-letters/{letter_id}": "the latest 100 of each list",
    "/freshness": "one for each projection and each process",
    "/status": "one for each projection, process manager and process; of causes the largest 100, of open jobs the latest 100",
    "/dead-letters/jobs/{job_id}": "a ramp has at most ten steps",
    "/projections": "one for each projection; at most 9,999 generations, which operators make and drop",
    "/projections/{name}": "at most 9,999 generations, which operators make and drop",
    "/stream-positions/{kind}/{stream_id}": "one for each projection",
    "/command-types": "one for each type of command",
    "/me": "at most 200 scopes of a key",
    "/roles": "one for each role",
    "/processes/figures": "one for each process manager",
    "/processes/{process_id}": "the latest of each list",
    "/analytics/revenue": "at most 10,000 buckets, and 20 currencies",
    "/analytics/report": "one row for each region, category or segment that there is",
    "/analytics/segments": "at most 125 cells",
    "/orders/{order_id}": "at most 5,000 lines of an order",
    "/products/{product_id}": "the variants of a product, which one message holds",
    "/products/{product_id}/page": "10 related products, the latest 50 prices",
}
"""Routes without ``limit`` whose answers have lists, and what bounds them."""


def documents() -> Iterator[Mapping[str, Any]]:
    for app in (query_app(Stores()), command_app(None, None, scheduled.ROUTES)):  # type: ignore[arg-type]
        yield app.openapi_schema.to_schema()


def has_list(document: Mapping[str, Any], schema: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name not in seen and has_list(document, document["components"]["schemas"][name], seen | {name})
    kinds = schema.get("type", ())
    if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
        return True
    inner = [*schema.get("oneOf", ()), *schema.get("anyOf", ()), *schema.get("properties", {}).values()]
    return any(has_list(document, each, seen) for each in inner)


def routes_with_lists() -> dict[str, float | None]:
    """Path → the maximum of its ``limit``; None: it has none."""
    found = {}
    for document in documents():
        for path, item in document["paths"].items():
            operation = item.get("get", {})
            contents = operation.get("responses", {}).get("200", {}).get("content", {}).values()
            if any(has_list(document, content.get("schema", {})) for content in contents):
                limits = [
                    each["schema"].get("maximum") for each in operation.get("parameters", ()) if each["name"] == "limit"
                ]
                found[path] = limits[0] if limits else None
    return found


@pytest.fixture(scope="module")
def routes() -> dict[str, float | None]:
    return routes_with_lists()


def test_every_list_has_a_limit_with_a_maximum_or_a_bound_of_its_own(routes: dict[str, float | None]) -> None:
    assert len(routes) > 30
    unbounded = [path for path, most in routes.items() if (most is None or most > MOST) and path not in BOUNDED]
    assert not unbounded


def test_what_is_said_to_be_bounded_by_itself_is_there_and_has_no_limit(routes: dict[str, float | None]) -> None:
    assert {path for path, most in routes.items() if most is None} == set(BOUNDED)
