"""The OpenAPI document: every route of the public surface, its parameters, and every shape it may answer with."""

import json
import re
from typing import Any

import httpx
import pytest

from query_service.app import create_app
from query_service.http.requests import Stores
from query_service.stores.postgres_store import PostgresStore
from query_service.stores.redis_store import RedisStore
from shared.contracts.values import PATTERNS

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
FILTERS = {"origin", "fingerprint", "stream", "type", "failed_from", "failed_to", "text"}
OWN_WRITES = {"Tidemark-Consistency", "Prefer"}
BY_WHOM = {"Tidemark-Actor", "Idempotency-Key"}
AUDIT_FILTERS = {"letter_id", "job_id", "projection", "actor", "act"}
ROUTES = {
    "/processes": {"name", "state", "waiting_for", "limit", "cursor"},
    "/processes/figures": set(),
    "/processes/{process_id}": {"process_id", "name"},
    "/processes/{process_id}/history": {"process_id", "name", "limit", "cursor"},
    "/orders": {"customer_id", "status", "placed_from", "placed_to", "limit", "cursor"},
    "/orders/{order_id}": {"order_id"},
    "/orders/{order_id}/history": {"order_id", "limit", "cursor"},
    "/customers/{customer_id}": {"customer_id"},
    "/customers/{customer_id}/orders": {"customer_id", "status", "placed_from", "placed_to", "limit", "cursor"},
    "/products": {"category", "limit", "cursor"},
    "/products/{product_id}": {"product_id"},
    "/products/{product_id}/page": {"product_id"},
    "/products/{product_id}/related": {"product_id", "limit", "min_orders"},
    "/products/{product_id}/price-history": {"product_id", "limit", "cursor"},
    "/payments": {"order_id", "status", "limit", "cursor"},
    "/payments/{payment_id}": {"payment_id"},
    "/users": {"role", "active", "limit", "cursor"},
    "/users/{user_id}": {"user_id"},
    "/users/{user_id}/audit": {"user_id", "limit", "cursor"},
    "/users/{user_id}/at": {"user_id", "time"},
    "/bookings": {"doctor_id", "patient_id", "status", "from", "to", "limit", "cursor"},
    "/bookings/{booking_id}": {"booking_id"},
    "/bookings/{booking_id}/history": {"booking_id", "limit", "cursor"},
    "/doctors/{doctor_id}": {"doctor_id"},
    "/doctors/{doctor_id}/bookings": {"doctor_id", "status", "from", "to", "limit", "cursor"},
    "/doctors/{doctor_id}/free-times": {"doctor_id", "from", "to", "minutes"},
    "/patients/{patient_id}": {"patient_id"},
    "/patients/{patient_id}/bookings": {"patient_id", "status", "from", "to", "limit", "cursor"},
    "/search/doctors": {"q", "speciality", "limit", "cursor"},
    "/analytics/revenue": {"from", "to", "granularity", "currency"},
    "/analytics/top-products": {"from", "to", "by", "limit", "currency"},
    "/analytics/customers": {"from", "to"},
    "/analytics/categories": {"from", "to", "by", "limit", "currency"},
    "/analytics/segments": {"from", "to", "currency"},
    "/analytics/report": {"month", "by", "currency"},
    "/search/products": {
        *("q", "category", "brand", "min_price", "max_price", "min_rating", "available", "language", "sort"),
        *("limit", "cursor"),
    },
    "/search/orders": {"q", "limit", "cursor"},
    "/devices": {"site", "model", "status", "limit", "cursor"},
    "/devices/{device_id}": {"device_id"},
    "/devices/{device_id}/telemetry": {"device_id", "metric", "from", "to", "granularity"},
    "/devices/{device_id}/latest": {"device_id"},
    "/fleet": {"site", "model", "limit", "cursor"},
    "/alerts": {"state", "limit", "cursor"},
    "/dead-letters": {*FILTERS, "status", "limit", "cursor"},
    "/dead-letters/groups": {*FILTERS, "limit"},
    "/dead-letters/{letter_id}": {"letter_id"},
    "/dead-letters/jobs": {"limit", "cursor"},
    "/dead-letters/jobs/{job_id}": {"job_id"},
    "/dead-letters/jobs/{job_id}/letters": {"job_id", "status", "limit", "cursor"},
    "/status": set(),
    "/projections": set(),
    "/projections/{name}": {"name"},
    "/stream-positions/{kind}/{stream_id}": {"kind", "stream_id"},
    "/checks": {"kind", "limit", "cursor"},
    "/checks/{check_id}": {"check_id"},
    "/command-types": set(),
    "/command-types/{command_type}": {"command_type"},
    "/me": set(),
    "/roles": set(),
    "/read-only": set(),
    "/audit": {*AUDIT_FILTERS, "kind", "request_id", "at_from", "at_to", "limit", "cursor"},
    "/dead-letters/audit": {*AUDIT_FILTERS, "limit", "cursor"},
    "/events": {"stream", "kind", "projection", "last_event_id", "Last-Event-ID"},
    "/freshness": set(),
    "/health/live": set(),
    "/health/ready": set(),
    "/health/serving": set(),
}

ACTS = {
    "/dead-letters/replay": BY_WHOM,
    "/dead-letters/discard": BY_WHOM,
    "/dead-letters/edit": BY_WHOM,
    "/dead-letters/groups/annotate": BY_WHOM,
    "/audit/alerts": BY_WHOM,
    "/checks/verify": BY_WHOM,
    "/checks/compare": BY_WHOM,
    "/checks/{check_id}/cancel": {*BY_WHOM, "check_id"},
    "/read-only/on": BY_WHOM,
    "/read-only/off": BY_WHOM,
    **{f"/processes/{{process_id}}/{verb}": {*BY_WHOM, "process_id"} for verb in ("retry", "cancel", "compensate")},
    **{
        f"/projections/{{name}}/{verb}": {*BY_WHOM, "name"}
        for verb in ("rebuild", "activate", "rollback", "adopt-epoch", "drop")
    },
    "/dead-letters/jobs/{job_id}/pause": {*BY_WHOM, "job_id"},
    "/dead-letters/jobs/{job_id}/resume": {*BY_WHOM, "job_id"},
    "/dead-letters/jobs/{job_id}/cancel": {*BY_WHOM, "job_id"},
}


REPORTS = {"/audit/alerts"}
"""Acts of machines, which have no reason to give."""
OTHER_POSTS = {"/command-types/{command_type}/validate": {"command_type"}}
"""What changes nothing."""
FOR_ANY_CREDENTIAL = {
    *("/events", "/me", "/roles", "/read-only", "/command-types", "/command-types/{command_type}"),
    *OTHER_POSTS,
}

PROJECTED = {
    *("orders", "customers", "products", "payments", "users"),
    *("analytics", "search", "bookings", "doctors", "patients", "processes"),
    *("devices", "fleet", "alerts"),
}
READ = {path for path in ROUTES if path.split("/")[1] in PROJECTED}
"""Those that are answered from a projection."""


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By path: each has one."""
    found = {path: list(item.items()) for path, item in document["paths"].items()}
    assert {path: method for path, ((method, _),) in found.items()} == {
        **dict.fromkeys(ROUTES, "get"),
        **dict.fromkeys(ACTS, "post"),
        **dict.fromkeys(OTHER_POSTS, "post"),
    }
    return {path: operation for path, ((_, operation),) in found.items()}


@pytest.fixture(scope="module")
async def document() -> dict[str, Any]:
    stores = Stores(
        PostgresStore("summary", NOWHERE, "summary"),
        PostgresStore("search", NOWHERE, "search"),
        PostgresStore("telemetry", NOWHERE, "telemetry"),
        RedisStore("analytics", "redis://127.0.0.1:1"),
    )
    transport = httpx.ASGITransport(app=create_app(stores))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
        answer = await client.get("/schema")
        assert answer.json() == (await client.get("/schema/openapi.json")).json()
    assert answer.headers["content-type"].startswith("application/vnd.oai.openapi+json")
    found: dict[str, Any] = answer.json()
    return found


def test_every_route_is_there_with_its_parameters(document: dict[str, Any]) -> None:
    assert {
        path: {parameter["name"] for parameter in operation.get("parameters", [])}
        for path, operation in operations(document).items()
    } == {
        path: names | (OWN_WRITES if path in READ else set()) for path, names in (ROUTES | ACTS | OTHER_POSTS).items()
    }


def test_every_answer_from_a_projection_may_say_that_a_write_is_not_in_it(document: dict[str, Any]) -> None:
    assert len(READ) == 43
    assert {path for path, one in operations(document).items() if "412" in one["responses"]} == READ


def test_every_act_says_its_body(document: dict[str, Any]) -> None:
    for path in OTHER_POSTS:
        assert operations(document)[path]["requestBody"]["content"]["application/json"]["schema"] == {"type": "object"}
    for path in ACTS:
        operation = operations(document)[path]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert ("reason" in schema["properties"]) is (path not in REPORTS)
        assert not {"actor", "behind", "job_id", "to"} & schema["properties"].keys()
        assert {"404", "409", "422", "503", "504"} <= operation["responses"].keys()


def test_every_route_but_health_says_which_scope_it_needs(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["credential"]["scheme"] == "bearer"
    for path, operation in operations(document).items():
        if path.startswith("/health/"):
            assert "security" not in operation
            continue
        [[scopes]] = [list(each.values()) for each in operation["security"]]
        assert {"401", "403"} <= operation["responses"].keys()
        said = operation["responses"]["403"]["description"]
        assert all(scope in said for scope in scopes)
        assert scopes or path in FOR_ANY_CREDENTIAL


def test_every_operation_says_what_it_is_and_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = operations(document).values()
    assert all(one["summary"] and one["description"] and one["tags"] for one in found)
    assert len({one["operationId"] for one in found}) == len(found)
    assert document["info"]["title"] == "Tidemark query service"


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, operation in operations(document).items():
        responses = operation["responses"]
        assert "400" in responses
        if "{" in path:
            assert "404" in responses
        for status, response in responses.items():
            if int(status) >= 400:
                content = response["content"]["application/problem+json"]
                shape = "UnmetDocument" if status == "412" else "ProblemDocument"
                assert content["schema"]["$ref"].endswith(f"/{shape}")
                assert content["examples"]


def test_every_answer_has_a_shape_and_its_headers(document: dict[str, Any]) -> None:
    for path, operation in operations(document).items():
        ok = operation["responses"].get("200") or operation["responses"]["202"]
        assert ok["content"]["text/event-stream" if path == "/events" else "application/json"]["schema"]["$ref"]
    for path in ROUTES.keys() - {"/events"}:
        headers = operations(document)[path]["responses"]["200"]["headers"]
        own = {"Preference-Applied"} if path in READ else set()
        assert {"ETag", "Tidemark-As-Of"} | own == {name for name, header in headers.items() if header["schema"]}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    found = references(document)
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_every_pattern_of_a_parameter_has_words(document: dict[str, Any]) -> None:
    patterns = {
        found[1]
        for operation in operations(document).values()
        for parameter in operation.get("parameters", [])
        for found in re.finditer(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(parameter))
    }
    assert len(patterns) >= 2
    assert {json.loads(pattern) for pattern in patterns} <= PATTERNS.keys()


def test_decimals_are_numbers_and_fields_have_the_names_of_answers(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("sum", "min", "max", "last", "average"):
        assert schemas["TelemetryBucket"]["properties"][name]["type"] == "number"
    assert schemas["MetricView"]["properties"]["low"]["oneOf"] == [{"type": "number"}, {"type": "null"}]
    assert {"from", "to"} < set(schemas["FreeTimes"]["required"])
    assert "from_" not in schemas["FreeTimes"]["properties"]
