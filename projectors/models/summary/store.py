"""The summary's tables: documents, history and prices, written set-based; see the migrations for the DDL."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from projectors.models.summary.projection import Changes, fold
from projectors.models.summary.tables import CUSTOMERS, HISTORY, ORDERS, PRICE_HISTORY, PRODUCTS
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from projectors.stores.postgres_store import PostgresStore
from projectors.stores.postgres_writing import append, create
from projectors.stores.projection import in_postgres
from projectors.stores.tables import Table
from shared.runtime.postgres import Connection

CREATE_ORDERS: Final = """
INSERT INTO orders (
    order_id, customer_id, status, currency, item_count, total, placed_at, updated_at, version, doc
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::timestamptz[],
    $9::bigint[], $10::json[]
)
ON CONFLICT (order_id) DO UPDATE SET
    customer_id = excluded.customer_id,
    status = excluded.status,
    currency = excluded.currency,
    item_count = excluded.item_count,
    total = excluded.total,
    placed_at = excluded.placed_at,
    updated_at = excluded.updated_at,
    version = excluded.version,
    doc = excluded.doc
"""

# Columns that no event changes after an order is placed (customer, currency, items, total, placed_at) are left out.
CHANGE_ORDERS: Final = """
UPDATE orders SET
    status = coalesce(fields ->> 'status', orders.status),
    updated_at = (fields ->> 'updated_at')::timestamptz,
    version = (fields ->> 'version')::bigint,
    doc = (doc::jsonb || fields)::json
FROM unnest($1::text[], $2::jsonb[]) AS changed (order_id, fields)
WHERE orders.order_id = changed.order_id
RETURNING orders.order_id
"""

CREATE_PRODUCTS: Final = """
INSERT INTO products (product_id, name, category, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[])
ON CONFLICT (product_id) DO UPDATE SET
    name = excluded.name,
    category = excluded.category,
    version = excluded.version,
    doc = excluded.doc
"""

CHANGE_PRODUCTS: Final = """
UPDATE products SET
    name = coalesce(fields ->> 'name', products.name),
    category = coalesce(fields ->> 'category', products.category),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (product_id, fields)
WHERE products.product_id = changed.product_id
RETURNING products.product_id
"""

CREATE_CUSTOMERS: Final = """
INSERT INTO customers (customer_id, name, version, doc)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[])
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, version = excluded.version, doc = excluded.doc
"""

CHANGE_CUSTOMERS: Final = """
UPDATE customers SET
    name = coalesce(fields ->> 'name', customers.name),
    version = (fields ->> 'version')::bigint,
    doc = doc || fields
FROM unnest($1::text[], $2::jsonb[]) AS changed (customer_id, fields)
WHERE customers.customer_id = changed.customer_id
RETURNING customers.customer_id
"""

APPEND_HISTORY: Final = """
INSERT INTO history (stream, version, type, at, data)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::json[])
"""
APPEND_PRICES: Final = """
INSERT INTO price_history (product_id, version, price, currency, at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])
"""

_ENCODER: Final = msgspec.json.Encoder()


class SummaryStore(PostgresStore[Changes]):
    def __init__(self, url: str, schema: str = "summary") -> None:
        super().__init__(url, schema)

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def write(self, connection: Connection, changes: Changes) -> None:
        if changes.history:
            history = [(*row[:-1], _ENCODER.encode(row.data).decode()) for row in changes.history]
            await append(connection, HISTORY.name, HISTORY.columns, history, APPEND_HISTORY)
        if rows := changes.orders.created:
            await _create(connection, ORDERS, rows, CREATE_ORDERS)
        if rows := changes.orders.changed:
            changes.orders.require(_keys(await connection.fetch(CHANGE_ORDERS, list(rows), _json(rows))))
        if rows := changes.products.created:
            await _create(connection, PRODUCTS, rows, CREATE_PRODUCTS)
        if rows := changes.products.changed:
            changes.products.require(_keys(await connection.fetch(CHANGE_PRODUCTS, list(rows), _json(rows))))
        if changes.prices:
            await append(connection, PRICE_HISTORY.name, PRICE_HISTORY.columns, changes.prices, APPEND_PRICES)
        if rows := changes.customers.created:
            await _create(connection, CUSTOMERS, rows, CREATE_CUSTOMERS)
        if rows := changes.customers.changed:
            changes.customers.require(_keys(await connection.fetch(CHANGE_CUSTOMERS, list(rows), _json(rows))))


async def _create(connection: Connection, table: Table[Changes], documents: dict[str, Fields], upsert: str) -> None:
    """Write the columns that are fields of the document, then the document itself."""
    fields = itemgetter(*table.columns[:-1])
    rows = [(*fields(document), text) for document, text in zip(documents.values(), _json(documents), strict=True)]
    await create(connection, table.name, table.columns, rows, upsert)


def _json(documents: dict[str, Fields]) -> list[str]:
    return [_ENCODER.encode(document).decode() for document in documents.values()]


def _keys(rows: Sequence[Any]) -> list[str]:
    return [row[0] for row in rows]


PROJECTION: Final = in_postgres("summary", SummaryStore)
