"""Products are filtered and sorted by what a shop knows of them, and facets count under the filters."""

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from deploy.servers.provide import Servers
from projectors.stores.port import Advance, Commit
from shared.contracts.catalog import ProductCreated, ReviewAdded, StockReceived
from tests import shop
from tests.integration.query_service.searching import Searching, searching

SORTS: Final = ("price", "-price", "rating", "newest")


@dataclass(frozen=True)
class Product:
    id: str
    name: str
    category: str
    brand: str | None
    price: int
    stock: int
    ratings: tuple[int, ...]
    created_at: datetime

    @property
    def rating(self) -> float | None:
        return round(sum(self.ratings) / len(self.ratings), 2) if self.ratings else None

    @property
    def advance(self) -> Advance:
        facts: list[Any] = [
            ProductCreated(
                product_id=self.id,
                name=self.name,
                category=self.category,
                brand=self.brand,
                price=self.price,
                currency="EUR",
                created_at=self.created_at,
            )
        ]
        if self.stock:
            facts.append(
                StockReceived(product_id=self.id, quantity=self.stock, stock=self.stock, received_at=shop.NOON)
            )
        for count in range(1, len(self.ratings) + 1):
            facts.append(
                ReviewAdded(
                    product_id=self.id,
                    review_id=f"{self.id}-{count}",
                    rating=self.ratings[count - 1],
                    review_count=count,
                    rating_sum=sum(self.ratings[:count]),
                    added_at=shop.NOON,
                )
            )
        return shop.run(f"products/{self.id}", *facts)


def some_products() -> Iterator[Product]:
    chance = random.Random(3)
    for number in range(60):
        yield Product(
            id=f"p-{number:02}",
            name=chance.choice(("Red mug", "Blue mug", "Red plate", "Tea pot")),
            category=chance.choice(("Kitchen", "Table", "Gifts")),
            brand=chance.choice(("Acme", "Blå", None)),
            price=chance.choice((100, 200, 300, 2**53 - 1)),
            stock=chance.choice((0, 0, 5)),
            ratings=tuple(chance.choices(range(1, 6), k=chance.choice((0, 1, 2, 3)))),
            created_at=shop.NOON + timedelta(microseconds=chance.randint(0, 20)),
        )


PRODUCTS: Final = list(some_products())


@pytest.fixture(scope="module")
async def catalogue(servers: Servers) -> AsyncIterator[Searching]:
    """Committed in two steps each: created, then what came later."""
    async with searching(servers) as found:
        advances = [product.advance for product in PRODUCTS]
        first = [Advance(one.stream, 0, one.events[:1]) for one in advances]
        later = [Advance(one.stream, 1, one.events[1:]) for one in advances if len(one.events) > 1]
        await found.store.commit(Commit(first))
        await found.store.commit(Commit(later))
        yield found


async def search(catalogue: Searching, **params: Any) -> dict[str, Any]:
    answer = await catalogue.client.get("/search/products", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


FILTERS: Final[list[tuple[dict[str, Any], Callable[[Product], bool]]]] = [
    ({"q": "red"}, lambda product: "Red" in product.name),
    ({"min_rating": 4}, lambda product: (product.rating or 0) >= 4),
    ({"min_rating": 2.5, "q": "mug"}, lambda product: (product.rating or 0) >= 2.5 and "mug" in product.name),
    ({"available": "true"}, lambda product: product.stock > 0),
    ({"available": "false", "category": "Table"}, lambda product: product.stock == 0 and product.category == "Table"),
    (
        {"q": "red mug", "available": "true", "brand": "Acme", "min_price": 150, "max_price": 300, "min_rating": 1},
        lambda product: (
            product.name == "Red mug"
            and product.stock > 0
            and product.brand == "Acme"
            and 150 <= product.price <= 300
            and product.rating is not None
        ),
    ),
]


@pytest.mark.parametrize(("params", "matches"), FILTERS)
async def test_filters_leave_what_matches_them_all_and_facets_count_it(
    catalogue: Searching, params: dict[str, Any], matches: Callable[[Product], bool]
) -> None:
    expected = [product for product in PRODUCTS if matches(product)]
    body = await search(catalogue, limit=200, **params)
    assert {hit["product_id"] for hit in body["items"]} == {product.id for product in expected}
    assert body["total"] == len(expected)
    facets = body["facets"]
    for name in ("category", "brand"):
        values = [getattr(product, name) for product in expected]
        assert {one["value"]: one["count"] for one in facets[name]} == {
            value: values.count(value) for value in values if value is not None
        }
    prices = [product.price for product in expected]
    assert facets["price"] == {"min": min(prices, default=None), "max": max(prices, default=None)}
    assert facets["rating"] == [
        {"at_least": floor, "count": sum((product.rating or 0) >= floor for product in expected)}
        for floor in (4, 3, 2, 1)
    ]
    assert facets["available"] == sum(product.stock > 0 for product in expected)


def key_of(sort: str, product: Product) -> tuple[Any, ...]:
    keys: dict[str, tuple[Any, ...]] = {
        "price": (product.price,),
        "-price": (-product.price,),
        "rating": (-(product.rating or 0), -len(product.ratings)),
        "newest": (-(product.created_at - shop.NOON).microseconds,),
    }
    return (*keys[sort], product.id)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("params", [{"q": "red or pot"}, {"min_price": 1}, {"q": "redd"}])
async def test_pages_in_every_order_show_every_product_once(
    catalogue: Searching, sort: str, params: dict[str, Any]
) -> None:
    names = ("Red mug", "Red plate") if params.get("q") == "redd" else ("Red mug", "Red plate", "Tea pot")
    matching = PRODUCTS if "q" not in params else [product for product in PRODUCTS if product.name in names]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = await search(catalogue, limit=7, sort=sort, **params, **cursor)
        assert body["total"] == len(matching)
        found += [hit["product_id"] for hit in body["items"]]
        if body["next_cursor"] is None:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert found == [product.id for product in sorted(matching, key=lambda product: key_of(sort, product))]


async def test_a_hit_has_the_facts(catalogue: Searching) -> None:
    product = next(product for product in PRODUCTS if product.stock and product.ratings)
    body = await search(catalogue, q=product.name, limit=200)
    hit = next(hit for hit in body["items"] if hit["product_id"] == product.id)
    assert (hit["available"], hit["review_count"], hit["rating_average"]) == (
        product.stock,
        len(product.ratings),
        product.rating,
    )
    assert datetime.fromisoformat(hit["created_at"]) == product.created_at
    assert hit["score"] > 0


@pytest.mark.parametrize(
    "query", ["q=x&sort=cheapest", "q=x&min_rating=6", "q=x&available=maybe", "sort=newest", "q=x&min_rating=0"]
)
async def test_what_cannot_be_meant_is_refused(catalogue: Searching, query: str) -> None:
    answer = await catalogue.client.get(f"/search/products?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-parameter")


async def test_a_cursor_belongs_to_one_order(catalogue: Searching) -> None:
    cursor = (await search(catalogue, q="mug", sort="price", limit=1))["next_cursor"]
    answer = await catalogue.client.get("/search/products", params={"q": "mug", "sort": "rating", "cursor": cursor})
    assert answer.status_code == 400


async def test_products_that_older_code_wrote_are_found_and_never_filtered_or_sorted_wrongly(servers: Servers) -> None:
    async with searching(servers) as store:
        await store.store.commit(Commit([PRODUCTS[0].advance]))
        await store.owner.execute(
            "INSERT INTO products (product_id, name, category, price, currency, version, terms)"
            " VALUES ('old', 'Old mug', 'Table', 5, 'EUR', 1, '''mug'':1A')"
        )
        body = await search(store, q="mug", sort="price")
        assert [hit["product_id"] for hit in body["items"]][:1] == ["old"]
        assert body["facets"].keys() == {"category", "brand", "price"}
        assert body["items"][0]["available"] is None
        for refused in ({"min_rating": 1}, {"available": "true"}, {"sort": "rating"}, {"sort": "newest"}):
            answer = await store.client.get("/search/products", params={"q": "mug", **refused})
            assert (answer.status_code, answer.json()["code"]) == (503, "rebuild-required"), refused
        await store.owner.execute("INSERT INTO positions VALUES ('products/old', 1)")
        review = ReviewAdded(
            product_id="old", review_id="r", rating=5, review_count=1, rating_sum=5, added_at=shop.NOON
        )
        await store.store.commit(Commit([shop.run("products/old", review, expected=1)]))
        assert (await search(store, q="mug", sort="price"))["items"][0]["review_count"] == 1
