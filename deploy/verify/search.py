"""Search under verification: every column of every table but ``words``. By these, rows are found that have no terms, since they were
written before there were any: of such a row, everything else is held against the events.
"""

from collections.abc import Mapping
from typing import Any, Final

from deploy.verify.postgres import CUSTOMERS_ALONE, ORDERS_ALONE, PRODUCTS_ALONE, PostgresModel, Table, open_model
from projectors.models.search.projection import Changes, fold
from projectors.stores.folding import Rows

# What the events say nothing of, ``words``, is expected to be as it is stored.
ORDERS: Final = """
WITH expected AS (
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said
    CROSS JOIN LATERAL (
        SELECT (SELECT stored FROM orders AS stored WHERE stored.order_id = said ->> 'order_id') AS stored OFFSET 0
    ) AS known
    CROSS JOIN LATERAL jsonb_populate_record(
        stored, CASE WHEN (stored).terms IS NULL AND (stored).words IS NOT NULL THEN said - 'terms' ELSE said END
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
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said
    CROSS JOIN LATERAL (
        SELECT (SELECT stored FROM products AS stored WHERE stored.product_id = said ->> 'product_id') AS stored OFFSET 0
    ) AS known
    CROSS JOIN LATERAL jsonb_populate_record(
        stored, CASE WHEN (stored).terms IS NULL AND (stored).words IS NOT NULL THEN said - 'terms' ELSE said END
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
    SELECT made.* FROM jsonb_array_elements($2::jsonb) AS said
    CROSS JOIN LATERAL (
        SELECT (SELECT stored FROM customers AS stored WHERE stored.customer_id = said ->> 'customer_id') AS stored OFFSET 0
    ) AS known
    CROSS JOIN LATERAL jsonb_populate_record(
        stored, CASE WHEN (stored).terms IS NULL AND (stored).words IS NOT NULL THEN said - 'terms' ELSE said END
    ) AS made
)
SELECT coalesce(found.customer_id, expected.customer_id) AS id, coalesce(found.customer_id, expected.customer_id) AS key,
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
