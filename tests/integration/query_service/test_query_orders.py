"""Orders, customers and products as dashboards ask for them."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from query_service.consistency.as_of import HEADER

pytestmark = pytest.mark.usefixtures("shop")

LATER = datetime(2026, 4, 1, 12, tzinfo=UTC)
AS_OF = "2026-03-09T09:30:00.250000Z"


async def pages(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Every item, page after page."""
    items: list[dict[str, Any]] = []
    while True:
        answer = await client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= params["limit"]
        items += answer.json()["items"]
        if answer.json()["next_cursor"] is None:
            return items
        params["cursor"] = answer.json()["next_cursor"]


async def test_a_stream_is_shown_with_what_each_store_has_of_it(client: httpx.AsyncClient) -> None:
    found = {one["projection"]: one["document"] for one in await _stores(client, "orders/o01")}
    assert found["summary"]["lines"][0]["product_id"] == "milk"
    assert found["search"]["total"] == 848
    assert found["search"].keys().isdisjoint({"terms", "words"})
    assert found["analytics"] is None, "it keeps sums"
    assert {one["document"] for one in await _stores(client, "orders/none")} == {None}


async def test_every_kind_of_stream_is_shown(client: httpx.AsyncClient) -> None:
    for kind in ("products", "customers", "doctors", "patients", "bookings", "users", "payments", "devices"):
        for one in await _stores(client, f"{kind}/none"):
            stored = client._transport.app.state.stored_documents  # type: ignore[attr-defined]
            assert one["error"] is None
            assert (one["projection"], kind) in stored or one["projection"] == "analytics"


async def _stores(client: httpx.AsyncClient, stream: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(f"/stream-positions/{stream}")).json()["items"]
    return found


async def test_an_order_borrows_the_names_of_its_customer_and_of_products_its_lines_do_not_name(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/orders/o00")
    order = answer.json()
    assert order["customer_name"] == "Anna Smith"
    assert [line["name"] for line in order["lines"]] == ["Whole milk", "Sourdough bread"]
    assert (order["item_count"], order["total"], order["placed_at"]) == (3, 848, "2026-03-01T12:00:00Z")
    assert answer.headers[HEADER] == AS_OF


async def test_the_etag_follows_the_order_and_everything_it_borrows(client: httpx.AsyncClient, shop: Any) -> None:
    await shop.order("tagged", "late", LATER, [{"product_id": "new", "name": None, "quantity": 1, "amount": 5}])
    tags = [(await client.get("/orders/tagged")).headers["etag"]]
    await shop.customer("late", "Registered Later")
    tags.append((await client.get("/orders/tagged")).headers["etag"])
    await shop.product("new", "Named later", "OTHER", 5)
    tags.append((await client.get("/orders/tagged")).headers["etag"])
    await shop.product("new", "Renamed", "OTHER", 5, version=2)
    tags.append((await client.get("/orders/tagged")).headers["etag"])
    assert [tag.split("-")[0] for tag in tags] == ['"1.0.0', '"1.1.0', '"1.1.1', '"1.1.2']
    order = (await client.get("/orders/tagged")).json()
    assert (order["customer_name"], order["lines"][0]["name"]) == ("Registered Later", "Renamed")


async def test_who_has_the_current_answer_gets_304_with_its_time(client: httpx.AsyncClient) -> None:
    for path in ("/orders/o01", "/orders?limit=3", "/products/milk", "/customers/c1", "/orders/o01/history"):
        tag = (await client.get(path)).headers["etag"]
        again = await client.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert (again.headers["etag"], again.headers[HEADER]) == (tag, AS_OF)


@pytest.mark.parametrize("path", ["/orders/none", "/orders/none/history", "/customers/none", "/products/none"])
async def test_what_is_not_there_is_a_problem_that_says_as_of_when(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.headers[HEADER] == AS_OF
    assert answer.json()["type"].endswith("-not-found")


async def test_pages_show_every_order_once_the_newest_first(client: httpx.AsyncClient) -> None:
    orders = await pages(client, "/orders", limit=7, placed_to="2026-03-11T12:00:00Z")
    assert [order["order_id"] for order in orders] == [f"o{number:02}" for number in reversed(range(40))]
    assert "lines" not in orders[0]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"customer_id": "c1"}, range(1, 40, 4)),
        ({"status": "paid"}, range(1, 40, 3)),
        ({"customer_id": "c1", "status": "paid"}, [1, 13, 25, 37]),
        ({"placed_from": "2026-03-02", "placed_to": "2026-03-03"}, range(2, 6)),
        ({"placed_from": "2026-03-02T06:00:00Z", "placed_to": "2026-03-02T12:00:00Z", "status": "placed"}, [3]),
        ({"customer_id": "c3", "placed_from": "2026-03-10"}, [35, 39]),
        ({"customer_id": "nobody"}, []),
        ({"placed_from": "9999-12-31"}, []),
    ],
)
async def test_filters_keep_what_they_say(
    client: httpx.AsyncClient, filters: dict[str, str], numbers: list[int]
) -> None:
    params = {"placed_to": "2026-03-11T12:00:00Z", **filters, "limit": 2}
    found = [order["order_id"] for order in await pages(client, "/orders", **params)]
    assert found == [f"o{number:02}" for number in sorted(numbers, reverse=True)]


async def test_a_cursor_is_good_for_its_own_filters_only(client: httpx.AsyncClient) -> None:
    cursor = (await client.get("/orders?status=paid&limit=1")).json()["next_cursor"]
    for path in (
        f"/orders?limit=1&cursor={cursor}",
        f"/orders?status=placed&cursor={cursor}",
        f"/products?cursor={cursor}",
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")


async def test_a_customers_orders_are_found_even_before_the_customer_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/customers/c3")).status_code == 404
    orders = await pages(client, "/customers/c3/orders", limit=3)
    assert len(orders) == 10
    assert orders[0]["customer_name"] is None
    assert (await client.get("/customers/nobody/orders")).status_code == 404
    assert (await client.get("/customers/c0/orders?placed_from=2030-01-01")).json() == {
        "items": [],
        "next_cursor": None,
    }


async def test_history_and_prices_tell_what_happened_in_order(client: httpx.AsyncClient) -> None:
    prices = await pages(client, "/products/milk/price-history", limit=2)
    assert [(point["version"], point["price"]) for point in prices] == [(1, 199), (4, 189), (9, 209)]
    assert prices[0]["at"] == "2026-03-01T12:00:00Z"
    history = (await client.get("/orders/o05/history")).json()["items"]
    assert [(entry["version"], entry["type"]) for entry in history] == [(1, "order.placed")]


async def test_products_are_listed_by_id_and_category(client: httpx.AsyncClient) -> None:
    assert [one["product_id"] for one in await pages(client, "/products", limit=1, category="DAIRY")] == [
        "milk",
        "skimmed",
    ]
    everything = [one["product_id"] for one in await pages(client, "/products", limit=3)]
    assert everything == sorted(everything)
    assert {"bread", "choc", "milk", "skimmed"} <= set(everything)
    product = (await client.get("/products/milk")).json()
    assert (product["price"], product["brand"], product["variants"]) == (199, "National", [])


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    got, head = await client.get("/orders/o01"), await client.head("/orders/o01")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", got.headers["etag"])
