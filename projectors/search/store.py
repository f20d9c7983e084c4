"""The search tables, written set-based. PostgreSQL makes the words, so that writer and reader parse text alike."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from projectors.folding import Fields
from projectors.postgres_store import PostgresStore
from projectors.postgres_writing import Row, columns_of, create, none_was_there
from projectors.projection import Advance
from projectors.search.projection import Changes, fold
from shared.postgres import Connection
from shared.views.search import SCHEMA

# Words: the order's own id above the names of its lines, and these above the customer's id.
# unnamed comes as a JSON array, since unnest flattens arrays of arrays.
INSERT_ORDERS: Final = """
INSERT INTO orders (
    order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, words
)
SELECT order_id, customer_id, status, currency, item_count, total, placed_at, version,
    CASE WHEN unnamed = '[]' THEN '{}' ELSE ARRAY(SELECT jsonb_array_elements_text(unnamed)) END,
    setweight(to_tsvector('simple', order_id), 'A') || setweight(to_tsvector('simple', names), 'B')
        || setweight(to_tsvector('simple', customer_id), 'C')
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::bigint[],
    $9::jsonb[], $10::text[]
) AS placed (
    order_id, customer_id, status, currency, item_count, total, placed_at, version, unnamed, names
)
"""
UPSERT_ORDERS: Final = f"""
{INSERT_ORDERS}
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = excluded.customer_id,
    status = excluded.status,
    currency = excluded.currency,
    item_count = excluded.item_count,
    total = excluded.total,
    placed_at = excluded.placed_at,
    version = excluded.version,
    unnamed = excluded.unnamed,
    words = excluded.words
"""

CHANGE_ORDERS: Final = """
UPDATE orders SET status = changed.status, version = changed.version
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS changed (order_id, status, version)
WHERE orders.order_id = changed.order_id
RETURNING orders.order_id
"""

CREATE_PRODUCTS: Final = """
INSERT INTO products (product_id, name, description, category, brand, price, currency, version)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[]
)
ON CONFLICT (product_id) DO UPDATE SET
    name = excluded.name,
    description = excluded.description,
    category = excluded.category,
    brand = excluded.brand,
    price = excluded.price,
    currency = excluded.currency,
    version = excluded.version
"""

# The row keeps every field that the event does not speak of; a null it does speak of is written.
CHANGE_PRODUCTS: Final = """
UPDATE products SET
    (name, description, category, brand, price, currency, version) = (
        SELECT changes.name, changes.description, changes.category, changes.brand, changes.price, changes.currency,
            changes.version
        FROM jsonb_populate_record(products, changed.fields) AS changes
    )
FROM unnest($1::text[], $2::jsonb[]) AS changed (product_id, fields)
WHERE products.product_id = changed.product_id
RETURNING products.product_id
"""

CREATE_CUSTOMERS: Final = """
INSERT INTO customers (customer_id, name, version)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, version = excluded.version
"""

# A null name is one that has not changed.
CHANGE_CUSTOMERS: Final = """
UPDATE customers SET name = coalesce(changed.name, customers.name), version = changed.version
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS changed (customer_id, name, version)
WHERE customers.customer_id = changed.customer_id
RETURNING customers.customer_id
"""

# Where many come, the index takes in a long pending list at a time, which is half the work. Searches read that list: short otherwise.
MANY: Final = 200
LONG_LISTS: Final = "SET LOCAL gin_pending_list_limit = '4MB'"
SHORT_LISTS: Final = {"gin_pending_list_limit": "512kB"}

ORDER_COLUMNS: Final = ("order_id", "customer_id", "status", "currency", "item_count", "total", "placed_at", "version")
PRODUCT_COLUMNS: Final = ("product_id", "name", "description", "category", "brand", "price", "currency", "version")
CUSTOMER_COLUMNS: Final = ("customer_id", "name", "version")

_ENCODER: Final = msgspec.json.Encoder()


class SearchStore(PostgresStore[Changes]):
    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        super().__init__(url, schema, session=SHORT_LISTS)

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def write(self, connection: Connection, changes: Changes) -> None:
        if len(changes.orders.created) + len(changes.products.created) >= MANY:
            await connection.execute(LONG_LISTS)
        await _write_orders(connection, changes)
        if rows := changes.products.created:
            await create(connection, "products", PRODUCT_COLUMNS, _rows(rows, PRODUCT_COLUMNS), CREATE_PRODUCTS)
        if rows := changes.products.changed:
            changed = [_ENCODER.encode(fields).decode() for fields in rows.values()]
            changes.products.require(_keys(await connection.fetch(CHANGE_PRODUCTS, list(rows), changed)))
        if rows := changes.customers.created:
            await create(connection, "customers", CUSTOMER_COLUMNS, _rows(rows, CUSTOMER_COLUMNS), CREATE_CUSTOMERS)
        if rows := changes.customers.changed:
            changed_rows = _rows(rows, CUSTOMER_COLUMNS)
            changes.customers.require(_keys(await connection.fetch(CHANGE_CUSTOMERS, *columns_of(changed_rows))))


async def _write_orders(connection: Connection, changes: Changes) -> None:
    if rows := changes.orders.created:
        placed = columns_of(_rows(rows, ORDER_COLUMNS))
        placed.append(tuple(_ENCODER.encode(row["unnamed"]).decode() for row in rows.values()))
        placed.append(tuple(row["names"] for row in rows.values()))
        plainly = partial(connection.execute, INSERT_ORDERS, *placed)
        if len(rows) < MANY or not await none_was_there(connection, plainly):
            await connection.execute(UPSERT_ORDERS, *placed)
    if rows := changes.orders.changed:
        changed = columns_of(_rows(rows, ("order_id", "status", "version")))
        changes.orders.require(_keys(await connection.fetch(CHANGE_ORDERS, *changed)))


def _rows(rows: dict[str, Fields], columns: Sequence[str]) -> list[Row]:
    """The rows' ids, and the fields of these names; the first is the id's."""
    return [(key, *map(row.get, columns[1:])) for key, row in rows.items()]


def _keys(rows: Sequence[Any]) -> list[str]:
    return [row[0] for row in rows]
