"""The summary under verification: every column of every table, against what its own projection makes of the events."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deploy.verify.postgres import CUSTOMERS_ALONE, ORDERS_ALONE, PRODUCTS_ALONE, PostgresModel, Table, open_model
from projectors.models.summary.projection import Changes, fold
from projectors.models.summary.store import CUSTOMER_COLUMNS, ORDER_COLUMNS, PRODUCT_COLUMNS
from projectors.stores.folding import Fields

# json is equal to nothing, so rows that may have some are compared as jsonb.
ORDERS: Final = """
SELECT coalesce(found.order_id, expected.order_id) AS id, coalesce(found.order_id, expected.order_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM orders WHERE order_id = ANY ($1::text[])) AS found
FULL JOIN jsonb_populate_recordset(NULL::orders, $2::jsonb) AS expected ON found.order_id = expected.order_id
WHERE to_jsonb(found) IS DISTINCT FROM to_jsonb(expected)
"""
PRODUCTS: Final = """
SELECT coalesce(found.product_id, expected.product_id) AS id, coalesce(found.product_id, expected.product_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM products WHERE product_id = ANY ($1::text[])) AS found
FULL JOIN jsonb_populate_recordset(NULL::products, $2::jsonb) AS expected ON found.product_id = expected.product_id
WHERE found.* IS DISTINCT FROM expected.*
"""
CUSTOMERS: Final = """
SELECT coalesce(found.customer_id, expected.customer_id) AS id,
    coalesce(found.customer_id, expected.customer_id) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM customers WHERE customer_id = ANY ($1::text[])) AS found
FULL JOIN jsonb_populate_recordset(NULL::customers, $2::jsonb) AS expected ON found.customer_id = expected.customer_id
WHERE found.* IS DISTINCT FROM expected.*
"""
HISTORY: Final = """
SELECT coalesce(found.stream, expected.stream) AS id,
    coalesce(found.stream, expected.stream) || '@' || coalesce(found.version, expected.version) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM history WHERE stream = ANY ($1::text[])) AS found
FULL JOIN jsonb_populate_recordset(NULL::history, $2::jsonb) AS expected
    ON found.stream = expected.stream AND found.version = expected.version
WHERE to_jsonb(found) IS DISTINCT FROM to_jsonb(expected)
"""
PRICES: Final = """
SELECT coalesce(found.product_id, expected.product_id) AS id,
    coalesce(found.product_id, expected.product_id) || '@' || coalesce(found.version, expected.version) AS key,
    to_jsonb(found) AS found, to_jsonb(expected) AS expected
FROM (SELECT * FROM price_history WHERE product_id = ANY ($1::text[])) AS found
FULL JOIN jsonb_populate_recordset(NULL::price_history, $2::jsonb) AS expected
    ON found.product_id = expected.product_id AND found.version = expected.version
WHERE found.* IS DISTINCT FROM expected.*
"""

HISTORY_ALONE: Final = """
SELECT DISTINCT stream FROM history WHERE NOT EXISTS (SELECT FROM positions WHERE positions.stream = history.stream)
"""
PRICES_ALONE: Final = """
SELECT DISTINCT 'products/' || product_id AS stream FROM price_history
WHERE NOT EXISTS (SELECT FROM positions WHERE stream = 'products/' || product_id)
"""


async def summary(url: str, generation: int | None) -> PostgresModel[Changes]:
    """Raises AwayError."""
    return await open_model("summary", url, generation, fold, TABLES)


def _documents(rows: Mapping[str, Fields], columns: Sequence[str]) -> list[Mapping[str, Any]]:
    return [{name: document[name] for name in columns} | {"doc": document} for document in rows.values()]


TABLES: Final[tuple[Table[Changes], ...]] = (
    Table("orders", "orders", lambda found: _documents(found.orders.created, ORDER_COLUMNS), ORDERS, ORDERS_ALONE),
    Table(
        "products",
        "products",
        lambda found: _documents(found.products.created, PRODUCT_COLUMNS),
        PRODUCTS,
        PRODUCTS_ALONE,
    ),
    Table(
        "customers",
        "customers",
        lambda found: _documents(found.customers.created, CUSTOMER_COLUMNS),
        CUSTOMERS,
        CUSTOMERS_ALONE,
    ),
    Table("history", None, lambda found: [moment._asdict() for moment in found.history], HISTORY, HISTORY_ALONE),
    Table("price_history", "products", lambda found: [price._asdict() for price in found.prices], PRICES, PRICES_ALONE),
)
