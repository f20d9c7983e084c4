"""A product's page and search show what was just bought, received and reviewed, to whoever asks for their own write; verify agrees."""

from typing import Any

import pytest
from rich.console import Console

from deploy.demo.display import Display
from deploy.demo.system import settings_for
from deploy.verify.command import verify
from deploy.verify.options import Options
from tests.e2e.system import System

pytestmark = pytest.mark.timeout(90)


async def test_a_page_and_a_search_show_one_s_own_writes(system: System) -> None:
    for product_id, name, price in (("page-mug", "Blå mug", 700), ("page-pot", "Tea pot", 1900)):
        fields = {"product_id": product_id, "name": name, "category": "Pages", "price": price, "currency": "EUR"}
        await system.bus.accepted("catalog.create-product", fields)
    await system.bus.accepted("catalog.receive-stock", {"quantity": 5}, subject="page-mug")
    reviewed = await system.bus.accepted("catalog.add-review", {"review_id": "page-1", "rating": 4}, subject="page-mug")
    placed = [await _place(system, number) for number in range(3)]
    page = await _own(system, "/products/page-mug/page", *placed, reviewed)
    assert (page["stock"], page["rating_average"], page["review_count"]) == (5, 4.0, 1)
    assert [point["price"] for point in page["price_history"]] == [700]
    pot = {"product_id": "page-pot", "name": "Tea pot", "price": 1900, "currency": "EUR"}
    assert page["related"] == [pot | {"orders": 3}]

    cancelled = await system.bus.accepted("orders.cancel-order", {"reason": "enough"}, subject="page-order-0")
    related = await _own(system, "/products/page-mug/related", cancelled)
    assert related["items"] == [pot | {"orders": 2}]

    filters = {"q": "bla ", "category": "Pages", "min_rating": 4, "available": "true", "sort": "rating"}
    found = await _own(system, "/search/products", reviewed, **filters)
    assert [hit["product_id"] for hit in found["items"]] == ["page-mug"]
    assert found["facets"]["available"] == 1

    options = Options(recheck_interval_s=0.5)
    report = await verify(settings_for(system.servers), options, Display(Console(quiet=True), None), limit=100)
    assert not [one for one in report.findings if "page-" in one.place], report.as_json()


async def _place(system: System, number: int) -> dict[str, Any]:
    lines = [{"product_id": product_id, "quantity": 1, "amount": 700} for product_id in ("page-mug", "page-pot")]
    order = {"order_id": f"page-order-{number}", "customer_id": "page-customer", "currency": "EUR", "lines": lines}
    return await system.bus.accepted("orders.place-order", order)


async def _own(system: System, path: str, *outcomes: dict[str, Any], **parameters: Any) -> Any:
    tokens = ", ".join(f"{outcome['stream']}@{outcome['version']}" for outcome in outcomes)
    headers = {"Tidemark-Consistency": tokens, "Prefer": "wait=20"}
    answer = await system.queries.get(path, params=parameters, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()
