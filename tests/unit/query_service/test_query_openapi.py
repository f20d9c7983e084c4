"""The OpenAPI document: every route of the public surface, its parameters, and every shape it may answer with."""

from typing import Any

import httpx
import pytest

from query_service.analytics_store import AnalyticsStore
from query_service.app import create_app
from query_service.postgres_store import PostgresStore
from query_service.requests import Stores

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
ROUTES = {
    "/orders": {"customer_id", "status", "placed_from", "placed_to", "limit", "cursor"},
    "/orders/{order_id}": {"order_id"},
    "/orders/{order_id}/history": {"order_id", "limit", "cursor"},
    "/customers/{customer_id}": {"customer_id"},
    "/customers/{customer_id}/orders": {"customer_id", "status", "placed_from", "placed_to", "limit", "cursor"},
    "/products": {"category", "limit", "cursor"},
    "/products/{product_id}": {"product_id"},
    "/products/{product_id}/price-history": {"product_id", "limit", "cursor"},
    "/analytics/revenue": {"from", "to", "granularity", "currency"},
    "/analytics/top-products": {"from", "to", "by", "limit", "currency"},
    "/analytics/customers": {"from", "to"},
    "/search/products": {"q", "category", "brand", "min_price", "max_price", "limit", "cursor"},
    "/search/orders": {"q", "limit", "cursor"},
    "/freshness": set(),
    "/health/live": set(),
    "/health/ready": set(),
}


@pytest.fixture(scope="module")
async def document() -> dict[str, Any]:
    stores = Stores(
        PostgresStore("summary", NOWHERE, "summary"),
        PostgresStore("search", NOWHERE, "search"),
        AnalyticsStore("redis://127.0.0.1:1"),
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
        path: {parameter["name"] for parameter in item["get"].get("parameters", [])}
        for path, item in document["paths"].items()
    } == ROUTES


def test_every_operation_says_what_it_is_and_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    operations = [item["get"] for item in document["paths"].values()]
    assert all(one["summary"] and one["description"] and one["tags"] for one in operations)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert document["info"]["title"] == "Tidemark query service"


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        responses = item["get"]["responses"]
        assert "400" in responses
        if "{" in path:
            assert "404" in responses
        for status, response in responses.items():
            if int(status) >= 400:
                content = response["content"]["application/problem+json"]
                assert content["schema"]["$ref"].endswith("/ProblemDocument")
                assert content["examples"]


def test_every_answer_has_a_shape_and_its_headers(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        ok = item["get"]["responses"]["200"]
        assert ok["content"]["application/json"]["schema"]["$ref"]
        assert {"ETag", "Tidemark-As-Of"} == {name for name, header in ok["headers"].items() if header["schema"]}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    found = references(document)
    assert found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
