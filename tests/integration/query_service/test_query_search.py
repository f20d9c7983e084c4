"""Search: by words, spelt right or nearly, with filters, facets and pages."""

import httpx
import pytest

pytestmark = pytest.mark.usefixtures("shop")


async def products(client: httpx.AsyncClient, **params: str | int) -> list[str]:
    answer = await client.get("/search/products", params=params)
    assert answer.status_code == 200, answer.text
    return [hit["product_id"] for hit in answer.json()["items"]]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("milk", {"milk", "skimmed"}),
        ("whole milk", {"milk"}),
        ("MIL", {"milk", "skimmed"}),
        ("chocolate", {"choc"}),
        ("happy cows", {"milk"}),
        ("national", {"milk", "choc"}),
        ("bakery", {"choc", "bread"}),
        ("milk -whole", {"skimmed"}),
        ('"whole milk"', {"milk"}),
        ('"milk whole"', set()),
        ("chocolate or bread", {"choc", "bread"}),
        ("sourdough or choc", {"choc", "bread"}),
        ("choclate", {"choc"}),
        ("chocolat cookeis", {"choc"}),
        ("sourdouhg", {"bread"}),
        ("zzzz", set()),
    ],
)
async def test_products_are_found_by_words(client: httpx.AsyncClient, q: str, found: set[str]) -> None:
    assert set(await products(client, q=q)) & {"milk", "skimmed", "choc", "bread"} == found


async def test_words_spelt_right_are_never_mixed_with_similar_ones(client: httpx.AsyncClient) -> None:
    for q, matched in (("chocolate", "words"), ("choclate", "similar")):
        assert (await client.get("/search/products", params={"q": q})).json()["matched"] == matched
    answer = (await client.get("/search/products?q=chocolate&category=DAIRY")).json()
    assert (answer["matched"], answer["total"]) == ("words", 0)


async def test_a_whole_word_ranks_above_the_beginning_of_another(client: httpx.AsyncClient, shop: object) -> None:
    await shop.product("cook", "Cook", "OTHER", 1)  # type: ignore[attr-defined]
    assert await products(client, q="cook") == ["cook", "choc"]


async def test_filters_and_facets_describe_the_match(client: httpx.AsyncClient) -> None:
    body = (await client.get("/search/products?q=milk")).json()
    assert body["total"] == 2
    assert body["facets"] == {
        "category": [{"value": "DAIRY", "count": 2}],
        "brand": [{"value": "National", "count": 1}, {"value": "Private", "count": 1}],
        "price": {"min": 149, "max": 199},
    }
    assert await products(client, q="milk", max_price=150) == ["skimmed"]
    assert await products(client, category="DAIRY", min_price=199) == ["milk"]
    assert await products(client, brand="Private") == ["skimmed"]
    assert await products(client, q="milk", brand="private") == []


@pytest.mark.parametrize("params", [{"q": "milk or bread or chocolate"}, {"q": "choclate"}, {"min_price": 100}])
async def test_pages_show_every_hit_once(client: httpx.AsyncClient, params: dict[str, str | int]) -> None:
    whole = (await client.get("/search/products", params=params)).json()
    found: list[str] = []
    cursor = None
    while True:
        page: dict[str, str | int] = {**params, "limit": 1, **({"cursor": cursor} if cursor else {})}
        body = (await client.get("/search/products", params=page)).json()
        assert body["total"] == whole["total"]
        found += [hit["product_id"] for hit in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert found == [hit["product_id"] for hit in whole["items"]]
    assert len(found) == whole["total"]


@pytest.mark.parametrize(
    "q", ["'", '"', "\\", "&|!():*<->", "milk\\", "a:b", "or", "-", "- -", '""', "%", "🥛", "ſ", "milk & !"]
)
async def test_no_character_is_an_error(client: httpx.AsyncClient, q: str) -> None:
    for path in ("/search/products", "/search/orders"):
        assert (await client.get(path, params={"q": q})).status_code == 200


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("o07", [7]),
        ("anna", range(0, 40, 4)),
        ("milk", range(40)),
        ("anna sourd", range(0, 40, 4)),
        ("müller bread", range(2, 40, 4)),
        ("whole smith", range(0, 40, 4)),
        ('"sourdough bread"', range(40)),
        ("anna zzzz", []),
    ],
)
async def test_orders_are_found_by_their_words_their_customers_and_their_products(
    client: httpx.AsyncClient, q: str, numbers: list[int]
) -> None:
    found: list[str] = []
    cursor = None
    while True:
        params: dict[str, str | int] = {"q": q, "limit": 7, **({"cursor": cursor} if cursor else {})}
        body = (await client.get("/search/orders", params=params)).json()
        found += [hit["order_id"] for hit in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == [f"o{number:02}" for number in numbers]
    assert body["total"] == len(found)
    assert all(hit["customer_name"] for hit in body["items"] if hit["customer_id"] != "c3")
