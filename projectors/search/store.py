"""The search tables, written set-based. PostgreSQL makes the words, so that writer and reader parse text alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from projectors.folding import Fields
from projectors.postgres_store import PostgresStore
from projectors.projection import Advance
from projectors.search.projection import Changes, fold
from shared.views.search import SCHEMA

if TYPE_CHECKING:
    from projectors.postgres_positions import Connection

# Words: the order's own id above the names of its lines, and these above the customer's id.
# unnamed comes as a JSON array, since unnest flattens arrays of arrays.
CREATE_ORDERS: Final = """
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

_ORDER: Final = ("customer_id", "status", "currency", "item_count", "total", "placed_at", "version")
_PRODUCT: Final = ("name", "description", "category", "brand", "price", "currency", "version")

_ENCODER: Final = msgspec.json.Encoder()


class SearchStore(PostgresStore[Changes]):
    def __init__(self, url: str, schema: str = SCHEMA) -> None:
        super().__init__(url, schema)

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def write(self, connection: "Connection", changes: Changes) -> None:
        await _write_orders(connection, changes)
        if rows := changes.products.created:
            await connection.execute(CREATE_PRODUCTS, *_columns(rows, _PRODUCT))
        if rows := changes.products.changed:
            changed = [_ENCODER.encode(fields).decode() for fields in rows.values()]
            changes.products.require(_keys(await connection.fetch(CHANGE_PRODUCTS, list(rows), changed)))
        if rows := changes.customers.created:
            await connection.execute(CREATE_CUSTOMERS, *_columns(rows, ("name", "version")))
        if rows := changes.customers.changed:
            columns = _columns(rows, ("name", "version"))
            changes.customers.require(_keys(await connection.fetch(CHANGE_CUSTOMERS, *columns)))


async def _write_orders(connection: "Connection", changes: Changes) -> None:
    if rows := changes.orders.created:
        unnamed = [_ENCODER.encode(row["unnamed"]).decode() for row in rows.values()]
        names = [row["names"] for row in rows.values()]
        await connection.execute(CREATE_ORDERS, *_columns(rows, _ORDER), unnamed, names)
    if rows := changes.orders.changed:
        columns = _columns(rows, ("status", "version"))
        changes.orders.require(_keys(await connection.fetch(CHANGE_ORDERS, *columns)))


def _columns(rows: dict[str, Fields], names: Sequence[str]) -> list[list[Any]]:
    """The rows' ids, and a column for each name."""
    return [list(rows), *([row.get(name) for row in rows.values()] for name in names)]


def _keys(rows: Sequence[Any]) -> list[str]:
    return [row[0] for row in rows]
