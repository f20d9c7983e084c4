"""Search under verification: every column of every table. Words are made again by PostgreSQL, from the text that the events say."""

from collections.abc import Mapping
from typing import Any, Final

from deploy.verify.postgres import CUSTOMERS_ALONE, ORDERS_ALONE, PRODUCTS_ALONE, PostgresModel, Table, open_model
from projectors.folding import Rows
from projectors.search.projection import Changes, fold

ORDERS: Final = """
WITH expected AS (
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said, jsonb_populate_record(NULL::orders, said
        || jsonb_build_object('words',
            setweight(to_tsvector('simple', said ->> 'order_id'), 'A')
            || setweight(to_tsvector('simple', said ->> 'names'), 'B')
            || setweight(to_tsvector('simple', said ->> 'customer_id'), 'C'))
    ) AS made
)
SELECT coalesce(found.order_id, expected.order_id) AS id, coalesce(found.order_id, expected.order_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM orders WHERE order_id = ANY ($1::text[])) AS found
FULL JOIN expected ON found.order_id = expected.order_id
WHERE found.* IS DISTINCT FROM expected.*
"""
PRODUCTS: Final = """
WITH expected AS (
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said, jsonb_populate_record(NULL::products, said
        || jsonb_build_object('words',
            setweight(to_tsvector('simple', said ->> 'name'), 'A')
            || setweight(to_tsvector('simple', coalesce(said ->> 'brand', '')), 'B')
            || setweight(to_tsvector('simple', said ->> 'category'), 'B')
            || setweight(to_tsvector('simple', coalesce(said ->> 'description', '')), 'C'))
    ) AS made
)
SELECT coalesce(found.product_id, expected.product_id) AS id, coalesce(found.product_id, expected.product_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM products WHERE product_id = ANY ($1::text[])) AS found
FULL JOIN expected ON found.product_id = expected.product_id
WHERE found.* IS DISTINCT FROM expected.*
"""
CUSTOMERS: Final = """
WITH expected AS (
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said, jsonb_populate_record(NULL::customers, said
        || jsonb_build_object('words', to_tsvector('simple', said ->> 'name'))
    ) AS made
)
SELECT coalesce(found.customer_id, expected.customer_id) AS id,
    coalesce(found.customer_id, expected.customer_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM customers WHERE customer_id = ANY ($1::text[])) AS found
FULL JOIN expected ON found.customer_id = expected.customer_id
WHERE found.* IS DISTINCT FROM expected.*
"""


async def search(url: str, generation: int | None) -> PostgresModel[Changes]:
    """Raises AwayError."""
    return await open_model("search", url, generation, fold, TABLES)


def _rows(rows: Rows, key: str) -> list[Mapping[str, Any]]:
    return [{key: row_id, **fields} for row_id, fields in rows.created.items()]


TABLES: Final[tuple[Table[Changes], ...]] = (
    Table("orders", "orders", lambda found: _rows(found.orders, "order_id"), ORDERS, ORDERS_ALONE),
    Table("products", "products", lambda found: _rows(found.products, "product_id"), PRODUCTS, PRODUCTS_ALONE),
    Table("customers", "customers", lambda found: _rows(found.customers, "customer_id"), CUSTOMERS, CUSTOMERS_ALONE),
)
