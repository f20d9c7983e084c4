"""A product's page in one answer, and the products that are bought together with it."""

from pathlib import Path
from typing import Annotated, Final

from litestar import Response
from litestar.params import QueryParameter
from pydantic import BaseModel, Field

from query_service.http.cached import Cached
from query_service.http.conditional import conditional_response
from query_service.http.parameters import ProductId
from query_service.http.problems import NotFoundError
from query_service.http.reading import read_route
from query_service.http.requests import QueryRequest
from shared.views.summary import PricePoint, ProductView

DEFAULT_RELATED: Final = 10
MAX_RELATED: Final = 100
MIN_ORDERS: Final = 2
"""Products that one order alone has in common are a coincidence."""
PRICES: Final = 50

PAGE: Final = Path(__file__).with_name("product_page.sql").read_text()
# Names and prices are those of now. A product that is only in orders has none, and no version.
RELATED: Final = """
WITH counted AS (
    SELECT other AS product_id, count(*) AS orders
    FROM baskets CROSS JOIN LATERAL unnest(products) AS other
    WHERE products @> ARRAY[$1::text] AND other <> $1
    GROUP BY other HAVING count(*) >= $2::bigint
    ORDER BY orders DESC, other LIMIT $3
)
SELECT coalesce((SELECT version FROM products WHERE product_id = $1), 0) AS version,
    EXISTS (SELECT FROM products WHERE product_id = $1) OR EXISTS (SELECT FROM baskets WHERE products @> ARRAY[$1]) AS known,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'product_id', counted.product_id, 'name', p.name, 'price', p.doc -> 'price', 'currency', p.doc -> 'currency',
        'orders', orders) ORDER BY orders DESC, counted.product_id), '[]')
     FROM counted LEFT JOIN products p ON p.product_id = counted.product_id COLLATE "default")::text AS items
"""

RelatedLimit = Annotated[
    int, QueryParameter(ge=1, le=MAX_RELATED, description="How many products, those with the most orders first.")
]
MinOrders = Annotated[
    int,
    QueryParameter(ge=1, le=1_000_000, description="Only products that at least this many orders have with this one."),
]


class RelatedProduct(BaseModel):
    """A product, and the exact number of orders, cancelled ones aside, that have it together with the one asked about."""

    product_id: str
    name: str | None
    """This and the price are null for a product that is not in the catalogue."""
    price: int | None
    currency: str | None
    orders: int


class RelatedProducts(BaseModel):
    items: list[RelatedProduct]


class ProductPage(ProductView):
    related: list[RelatedProduct] = Field(
        description=f"The {DEFAULT_RELATED} products bought together with it most often, in {MIN_ORDERS} orders at least."
    )
    price_history: list[PricePoint] = Field(
        description=f"The latest {PRICES} prices, the oldest of them first; `/products/<id>/price-history` has all."
    )


@read_route(
    "/products/{product_id:str}/page",
    needs="queries:catalog",
    one=True,
    tags=["products"],
    summary="A product's page in one answer",
    cached=Cached("summary", stream="products/{product_id}"),
)
async def product_page(request: QueryRequest, product_id: ProductId) -> Response[ProductPage]:
    """One product with its variants, stock and rating, the products bought together with it, and its latest prices."""
    summary, as_of = await request.read(request.stores.postgres("summary"))
    row = await summary.fetchrow(PAGE, product_id, MIN_ORDERS, DEFAULT_RELATED, PRICES)
    if row is None:
        raise NotFoundError("product", product_id, as_of)
    return conditional_response(request, row["body"].encode(), as_of, row["version"])


@read_route(
    "/products/{product_id:str}/related",
    needs="queries:catalog",
    one=True,
    tags=["products"],
    summary="Products bought together with a product",
    cached=Cached("summary", stream="products/{product_id}"),
)
async def related_products(
    request: QueryRequest,
    product_id: ProductId,
    limit: RelatedLimit = DEFAULT_RELATED,
    min_orders: MinOrders = MIN_ORDERS,
) -> Response[RelatedProducts]:
    """The products that most orders have together with this one, counted exactly; ties are in the order of product ids.

    Cancelled orders do not count. 404 only if the product is neither in the catalogue nor in an order with other products.
    """
    summary, as_of = await request.read(request.stores.postgres("summary"))
    row = await summary.fetchrow(RELATED, product_id, min_orders, limit)
    if row is None or not row["known"]:
        raise NotFoundError("product", product_id, as_of)
    return conditional_response(request, f'{{"items":{row["items"]}}}'.encode(), as_of, row["version"])


ROUTES: Final = (
    product_page,
    related_products,
)
