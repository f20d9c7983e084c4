"""Search for products and orders. ``search.search_terms`` parses the search text; the SQL files contain the queries."""

import math
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import asyncpg
import msgspec
from litestar import Response
from litestar.params import QueryParameter
from pydantic import BaseModel, Field

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import LATEST
from query_service.http.problems import InvalidParameterError, RebuildRequiredError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from query_service.routes.shop.products import Category
from query_service.search import search_terms
from query_service.search.stemming import InLanguage, StemQuery, stem_query
from query_service.search.unindexed_terms import FormerQuery, former_query
from query_service.stores.postgres_store import PostgresStore
from shared.contracts.values import MAX_AMOUNT
from shared.views.search import OrderHit, ProductHit

PRODUCTS: Final = Path(__file__).with_name("search_products.sql").read_text()
ORDERS: Final = Path(__file__).with_name("search_orders.sql").read_text()

# The longest of the words ($1, in order of length) to which a word of any product name is similar.
SIMILAR_WORD: Final = """
SELECT word FROM unnest($1::text[]) WITH ORDINALITY AS asked (word, place)
WHERE EXISTS (SELECT FROM products WHERE word <% name) ORDER BY place LIMIT 1
"""
ANY_PRODUCT: Final = """
SELECT EXISTS (SELECT FROM products WHERE terms @@ $1::text::tsquery)
    OR EXISTS (SELECT FROM products WHERE terms IS NULL AND words @@ former_query($2, $3, $4))
"""
ANY_BY_STEM: Final = "SELECT EXISTS (SELECT FROM products WHERE stems(terms, $1::regdictionary) @@ $2::text::tsquery)"

# Products that older code has written: it is not known whether they match a filter by the facts of migration 0006, or where they belong.
WITHOUT_FACTS: Final = "SELECT EXISTS (SELECT FROM products WHERE created_at IS NULL)"

# What is searched, without the words themselves.
ORDER_ROW: Final = "SELECT (to_jsonb(orders) - '{terms,words}'::text[])::text AS body FROM orders WHERE order_id = $1"
PRODUCT_ROW: Final = (
    "SELECT (to_jsonb(products) - '{terms,words}'::text[])::text AS body FROM products WHERE product_id = $1"
)
CUSTOMER_ROW: Final = (
    "SELECT (to_jsonb(customers) - '{terms,words}'::text[])::text AS body FROM customers WHERE customer_id = $1"
)

Rank = Annotated[float, msgspec.Meta(ge=-1e16, le=1e16)]
Mode = Literal["words", "similar", "filters"]
_Terms = tuple[str | None, str | None, str | None, str | None, bool, str | None, list[str]]
"""The first seven parameters of PRODUCTS, which select by words or by similarity."""


class ProductKey(SortKey, frozen=True):
    mode: Mode
    rank: Rank
    product_id: str


class OrderKey(SortKey, frozen=True):
    score: Rank
    placed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    order_id: str


Brand = Annotated[
    str | None, QueryParameter(description="Only products of this brand; exact spelling.", max_length=200)
]
MinPrice = Annotated[int | None, QueryParameter(ge=0, le=MAX_AMOUNT, description="In minor units, inclusive.")]
MaxPrice = Annotated[int | None, QueryParameter(ge=0, le=MAX_AMOUNT, description="In minor units, inclusive.")]


MinRating = Annotated[
    float | None,
    QueryParameter(ge=1, le=5, description="Only products with at least this average rating; none without reviews."),
]
Available = Annotated[
    bool | None,
    QueryParameter(description="`true`: only products of which at least one can be had; `false`: only the others."),
]


class Sort(StrEnum):
    RELEVANCE = "relevance"
    PRICE = "price"
    PRICE_DESCENDING = "-price"
    RATING = "rating"
    NEWEST = "newest"


SortBy = Annotated[
    Sort,
    QueryParameter(
        description="`relevance`: the best match first. `price`: the lowest number first, whatever the currency; `-price`: the highest."
        " `rating`: the best average first, then the most reviews; products without reviews last. `newest`: the latest created first."
        " Ties are in the order of product ids."
    ),
]


class FacetValue(BaseModel):
    value: str
    count: int


class PriceFacet(BaseModel):
    """In minor units, regardless of currency; null if nothing matches."""

    min: int | None
    max: int | None


class RatingFacet(BaseModel):
    """How many of the matches `min_rating` would leave."""

    at_least: int
    count: int


class Facets(BaseModel):
    """Counts over all matches with all filters applied; the hundred most frequent values of each."""

    category: list[FacetValue]
    brand: list[FacetValue]
    price: PriceFacet
    rating: list[RatingFacet] = Field(
        default=[],
        description="For 4, 3, 2 and 1. Absent, as is `available`, if a match was written before an update that search is to be rebuilt"
        " after.",
    )
    available: int | None = Field(default=None, description="How many can be had; the others are sold out.")


class ProductHits(Page[ProductHit]):
    total: int = Field(description="The exact number of matching products.")
    facets: Facets
    matched: Mode = Field(
        description="`words`: the products contain the words. `similar`: no product contains them; these contain similarly spelt words."
        " `filters`: there was no search text."
    )


class OrderHits(Page[OrderHit]):
    total: int = Field(description="The exact number of matching orders.")


@read_route("/search/products", needs="queries:catalog", tags=["search"], summary="Find products")
async def search_products(
    request: QueryRequest,
    q: search_terms.OptionalWords = None,
    category: Category = None,
    brand: Brand = None,
    min_price: MinPrice = None,
    max_price: MaxPrice = None,
    min_rating: MinRating = None,
    available: Available = None,
    language: InLanguage = None,
    sort: SortBy = Sort.RELEVANCE,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response[ProductHits]:
    """Products by words and filters, the best match first. If no product has the words, products with similarly spelt words.

    `q` may be omitted only if there is a filter.
    """
    filters = (category, brand, min_price, max_price, min_rating, available)
    if q is not None and not q.strip():
        raise InvalidParameterError("q", "is empty")
    if q is None and all(one is None for one in filters):
        raise InvalidParameterError("q", "is required unless there is a filter")
    query = ListQuery("search-products", q, *filters, language, sort)
    after = query.key(cursor, ProductKey) if cursor else None
    store, as_of = await request.read(request.stores.postgres("search"))
    if min_rating is not None or available is not None or sort in (Sort.RATING, Sort.NEWEST):
        await _require_facts(store)
    by_stem = await stem_query(store, q, language)
    mode: Mode = "filters" if q is None else after.mode if after else "words"

    async def run_query(terms: _Terms, stems: StemQuery | None = None) -> asyncpg.Record:
        rank, product_id = (after.rank, after.product_id) if after else (math.inf, "")
        stem_arguments = (stems.dictionary, stems.query) if stems else (None, None)
        row = await store.fetchrow(PRODUCTS, *terms, *filters, sort, rank, product_id, limit + 1, *stem_arguments)
        assert row is not None  # noqa: S101 (the statement always gives one row)
        return row

    terms = await _terms_for(store, mode, q)
    row = await run_query(terms, by_stem if mode == "words" else None)
    if mode == "words" and after is None and not row["total"] and await _misspelt(store, q, terms, by_stem, filters):
        mode = "similar"
        row = await run_query(await _terms_for(store, mode, q))
    following = None
    if len(row["items"]) > limit:
        following = query.cursor(ProductKey(mode, row["ranks"][limit - 1], row["ids"][limit - 1]))
    body = page(row["items"][:limit], following, total=str(row["total"]), facets=row["facets"], matched=f'"{mode}"')
    return conditional_response(request, body, as_of)


@read_route("/search/orders", needs="queries:orders", tags=["search"], summary="Find orders")
async def search_orders(
    request: QueryRequest, q: search_terms.Words, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[OrderHits]:
    """Orders that match all words, in their products' names, their customer's name, or their own fields.

    An order's id finds that order only, not those whose ids start with it. The best match first, then the newest.
    """
    if not q.strip():
        raise InvalidParameterError("q", "is empty")
    terms = search_terms.terms(q)
    query = ListQuery("search-orders", q)
    after = query.key(cursor, OrderKey) if cursor else OrderKey(math.inf, LATEST, "")
    store, as_of = await request.read(request.stores.postgres("search"))
    row = await store.fetchrow(
        ORDERS,
        [search_terms.tsqueries(term).query for term in terms],
        search_terms.tsqueries(q).verbatim,
        q.strip(),
        after.score,
        after.placed_at,
        after.order_id,
        limit + 1,
        *_columns([former_query(term) for term in terms]),
    )
    assert row is not None  # noqa: S101 (the statement always gives one row)
    following = None
    if len(row["items"]) > limit:
        last = limit - 1
        following = query.cursor(OrderKey(row["scores"][last], row["times"][last], row["ids"][last]))
    return conditional_response(request, page(row["items"][:limit], following, total=str(row["total"])), as_of)


async def _require_facts(store: PostgresStore) -> None:
    (row,) = await store.fetch(WITHOUT_FACTS)
    if row[0]:
        raise RebuildRequiredError("search", "products without stock, rating and time of creation")


def _columns(former: Sequence[FormerQuery]) -> tuple[list[str], list[str | None], list[bool]]:
    return [one.head for one in former], [one.last for one in former], [one.either for one in former]


async def _terms_for(store: PostgresStore, mode: Mode, q: str | None) -> _Terms:
    if q is None or mode == "filters":
        return None, None, None, None, False, None, []
    if mode == "words":
        tsqueries, former = search_terms.tsqueries(q), former_query(q)
        return tsqueries.query, tsqueries.verbatim, former.head, former.last, former.either, None, []
    plain = search_terms.bare_words(q)
    similar = await store.fetchrow(SIMILAR_WORD, plain) if plain else None
    return None, None, None, None, False, similar["word"] if similar else "", plain


async def _misspelt(
    store: PostgresStore, q: str | None, terms: _Terms, by_stem: StemQuery | None, filters: Sequence[object]
) -> bool:
    """Whether to search for similarly spelt words, after a search without result: only if no product has the words, even one that the
    filters exclude. So a filter never causes a similarity search.

    A search with quotes, or that excludes words, is never extended.
    """
    if q is None or search_terms.is_exact(q):
        return False
    if all(one is None for one in filters):
        return True
    query, _, *former = terms[:5]
    (row,) = await store.fetch(ANY_PRODUCT, query, *former)
    if not row[0] and by_stem is not None:
        (row,) = await store.fetch(ANY_BY_STEM, by_stem.dictionary, by_stem.query)
    return not row[0]


STORED: Final = {
    ("search", "orders"): StoredDocument(ORDER_ROW, "queries:orders"),
    ("search", "products"): StoredDocument(PRODUCT_ROW, "queries:catalog"),
    ("search", "customers"): StoredDocument(CUSTOMER_ROW, "queries:customers"),
}
ROUTES: Final = (
    search_products,
    search_orders,
)
