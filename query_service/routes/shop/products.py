"""Products: one product, lists, and price history."""

from typing import Annotated, Final

from litestar import Response
from litestar.params import QueryParameter

from query_service.http.conditional import conditional_response
from query_service.http.documents import StoredDocument, document, versions_page
from query_service.http.paging import DEFAULT_LIMIT, Cursor, Limit, ListQuery, Page, SortKey, page
from query_service.http.parameters import ProductId
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.views.summary import PricePoint, ProductView

Category = Annotated[
    str | None, QueryParameter(description="Only products of this category; exact spelling.", max_length=200)
]


class ProductKey(SortKey, frozen=True):
    product_id: str


PRODUCT: Final = "SELECT version, with_availability(doc)::text AS body FROM products WHERE product_id = $1"

# One branch runs, depending on whether a category ($1) is given.
LIST: Final = """
(SELECT product_id, with_availability(doc)::text AS item FROM products
 WHERE $1::text IS NULL AND product_id > $2 ORDER BY product_id LIMIT $3)
UNION ALL
(SELECT product_id, with_availability(doc)::text AS item FROM products
 WHERE category = $1 AND product_id > $2 ORDER BY product_id LIMIT $3)
"""

PRICES: Final = """
SELECT version, jsonb_build_object('version', version, 'price', price, 'currency', currency,
    'at', replace(to_jsonb(at) #>> '{}', '+00:00', 'Z'))::text AS item
FROM price_history WHERE product_id = $1 AND version > $2 ORDER BY version LIMIT $3
"""


@read_route("/products/{product_id:str}", needs="queries:catalog", one=True, tags=["products"], summary="One product")
async def product(request: QueryRequest, product_id: ProductId) -> Response[ProductView]:
    """One product with its variants, stock (of which some may be reserved, and the rest is available) and rating."""
    return await document(request, request.stores.postgres("summary"), PRODUCT, "product", product_id)


@read_route("/products", needs="queries:catalog", tags=["products"], summary="Products by id")
async def products(
    request: QueryRequest, category: Category = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[ProductView]]:
    """Products by id, all or those of a category."""
    query = ListQuery("products", category)
    after = query.key(cursor, ProductKey).product_id if cursor else ""
    summary, as_of = await request.read(request.stores.postgres("summary"))
    rows = await summary.fetch(LIST, category, after, limit + 1)
    following = query.cursor(ProductKey(rows[limit - 1]["product_id"])) if len(rows) > limit else None
    return conditional_response(request, page((row["item"] for row in rows[:limit]), following), as_of)


@read_route(
    "/products/{product_id:str}/price-history",
    needs="queries:catalog",
    one=True,
    tags=["products"],
    summary="A product's price history",
)
async def price_history(
    request: QueryRequest, product_id: ProductId, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response[Page[PricePoint]]:
    """The prices of a product since its creation; `version` is the product's version at that change."""
    summary = request.stores.postgres("summary")
    return await versions_page(request, summary, PRICES, "price-history", "product", product_id, limit, cursor)


STORED: Final = {("summary", "products"): StoredDocument(PRODUCT, "queries:catalog")}
ROUTES: Final = (
    product,
    products,
    price_history,
)
