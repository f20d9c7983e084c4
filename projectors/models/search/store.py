"""Writes the search tables set-based. The projection determines a text's words; PostgreSQL only indexes them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec

from projectors.models.search.projection import Changes, doctor_terms, fold
from projectors.models.search.tables import CUSTOMER_COLUMNS, DOCTOR_COLUMNS, ORDER_COLUMNS, PRODUCT_COLUMNS
from projectors.stores.erasure import ids_of
from projectors.stores.folding import Fields
from projectors.stores.port import Advance
from projectors.stores.postgres_store import PostgresStore, raising_unavailable
from projectors.stores.postgres_writing import Row, columns_of, try_insert
from projectors.stores.projection import in_postgres
from shared.privacy.marks import ERASED
from shared.runtime.postgres import CONNECT_TIMEOUT_S, Connection
from shared.runtime.settings import Settings
from shared.views.generations import generation_name
from shared.views.search import Language

# unnamed comes as a JSON array, since unnest flattens arrays of arrays.
INSERT_ORDERS: Final = """
INSERT INTO orders (
    order_id, customer_id, status, currency, item_count, total, placed_at, version, terms, unnamed
)
SELECT order_id, customer_id, status, currency, item_count, total, placed_at, version, terms::tsvector,
    CASE WHEN unnamed = '[]' THEN '{}' ELSE ARRAY(SELECT jsonb_array_elements_text(unnamed)) END
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::bigint[],
    $9::text[], $10::jsonb[]
) AS placed (
    order_id, customer_id, status, currency, item_count, total, placed_at, version, terms, unnamed
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
    terms = excluded.terms,
    unnamed = excluded.unnamed
"""

CHANGE_ORDERS: Final = """
UPDATE orders SET status = changed.status, version = changed.version
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS changed (order_id, status, version)
WHERE orders.order_id = changed.order_id
RETURNING orders.order_id
"""

INSERT_PRODUCTS: Final = """
INSERT INTO products (
    product_id, name, description, category, brand, price, currency, version, terms,
    created_at, available, review_count, rating_average
)
SELECT product_id, name, description, category, brand, price, currency, version, terms::tsvector,
    created_at, available, review_count, rating_average
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::text[],
    $10::timestamptz[], $11::bigint[], $12::bigint[], $13::float8[]
) AS created (
    product_id, name, description, category, brand, price, currency, version, terms,
    created_at, available, review_count, rating_average
)
"""
UPSERT_PRODUCTS: Final = f"""
{INSERT_PRODUCTS}
ON CONFLICT (product_id) DO UPDATE SET
    name = excluded.name,
    description = excluded.description,
    category = excluded.category,
    brand = excluded.brand,
    price = excluded.price,
    currency = excluded.currency,
    version = excluded.version,
    terms = excluded.terms,
    created_at = excluded.created_at,
    available = excluded.available,
    review_count = excluded.review_count,
    rating_average = excluded.rating_average
"""

# The row keeps every field that the event does not contain; a null that it contains is written.
CHANGE_PRODUCTS: Final = """
UPDATE products SET
    (name, description, category, brand, price, currency, version, terms, available, review_count, rating_average) = (
        SELECT changes.name, changes.description, changes.category, changes.brand, changes.price, changes.currency,
            changes.version, changes.terms, changes.available, changes.review_count, changes.rating_average
        FROM jsonb_populate_record(products, changed.fields) AS changes
    )
FROM unnest($1::text[], $2::jsonb[]) AS changed (product_id, fields)
WHERE products.product_id = changed.product_id
RETURNING products.product_id
"""

INSERT_CUSTOMERS: Final = """
INSERT INTO customers (customer_id, name, version, terms)
SELECT customer_id, name, version, terms::tsvector
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS registered (customer_id, name, version, terms)
"""
UPSERT_CUSTOMERS: Final = f"""
{INSERT_CUSTOMERS}
ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, version = excluded.version, terms = excluded.terms
"""

# A null name or terms means unchanged.
CHANGE_CUSTOMERS: Final = """
UPDATE customers SET
    name = coalesce(changed.name, customers.name),
    version = changed.version,
    terms = coalesce(changed.terms::tsvector, customers.terms)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS changed (customer_id, name, version, terms)
WHERE customers.customer_id = changed.customer_id
RETURNING customers.customer_id
"""

INSERT_DOCTORS: Final = """
INSERT INTO doctors (doctor_id, name, speciality, time_zone, version, terms)
SELECT doctor_id, name, speciality, time_zone, version, terms::tsvector
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[])
    AS registered (doctor_id, name, speciality, time_zone, version, terms)
"""
UPSERT_DOCTORS: Final = f"""
{INSERT_DOCTORS}
ON CONFLICT (doctor_id) DO UPDATE SET
    name = excluded.name,
    speciality = excluded.speciality,
    time_zone = excluded.time_zone,
    version = excluded.version,
    terms = excluded.terms
"""

# No event changes a doctor's speciality or time zone.
CHANGE_DOCTORS: Final = """
UPDATE doctors SET name = changed.name, version = changed.version, terms = changed.terms::tsvector
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS changed (doctor_id, name, version, terms)
WHERE doctors.doctor_id = changed.doctor_id
RETURNING doctors.doctor_id
"""

ERASE_CUSTOMERS: Final = "UPDATE customers SET name = '[erased]', terms = '' WHERE customer_id = ANY ($1::text[])"
DOCTORS_TO_ERASE: Final = "SELECT doctor_id, speciality FROM doctors WHERE doctor_id = ANY ($1::text[]) FOR UPDATE"
ERASE_DOCTORS: Final = """
UPDATE doctors SET name = '[erased]', terms = erased.terms::tsvector
FROM unnest($1::text[], $2::text[]) AS erased (doctor_id, terms)
WHERE doctors.doctor_id = erased.doctor_id
"""

# Once for each language: a generation that has the index keeps it.
INDEX_STEMS: Final = "SELECT index_stems($1)"
INDEX_WITHIN_S: Final = 3600.0

# For many rows a long pending list makes the index merge more at a time, which halves the work. Searches read that list, so it is short
# otherwise.
BULK_ROWS: Final = 200
LONG_LISTS: Final = "SET LOCAL gin_pending_list_limit = '4MB'"
SHORT_LISTS: Final = {"gin_pending_list_limit": "512kB"}

_ENCODER: Final = msgspec.json.Encoder()


class SearchStore(PostgresStore[Changes]):
    has_personal_data = True

    def __init__(self, url: str, schema: str = "search", *, languages: Sequence[Language] = ()) -> None:
        """``languages``: those in which products are found by stems as well."""
        super().__init__(url, schema, session=SHORT_LISTS)
        self._languages = languages

    async def open(self) -> None:
        await super().open()
        with raising_unavailable():
            pool = await self._database.pool()
            for language in self._languages:
                async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
                    await connection.execute(INDEX_STEMS, language, timeout=INDEX_WITHIN_S)

    def fold(self, advances: Sequence[Advance]) -> Changes:
        return fold(advances)

    async def write(self, connection: Connection, changes: Changes) -> None:
        if len(changes.orders.created) + len(changes.products.created) >= BULK_ROWS:
            await connection.execute(LONG_LISTS)
        if rows := changes.orders.created:
            placed = columns_of(_rows(rows, ORDER_COLUMNS))
            placed[-1] = tuple(_ENCODER.encode(unnamed).decode() for unnamed in placed[-1])
            await _create(connection, placed, INSERT_ORDERS, UPSERT_ORDERS)
        if rows := changes.orders.changed:
            changed = columns_of(_rows(rows, ("order_id", "status", "version")))
            changes.orders.require(_keys(await connection.fetch(CHANGE_ORDERS, *changed)))
        if rows := changes.products.created:
            await _create(connection, columns_of(_rows(rows, PRODUCT_COLUMNS)), INSERT_PRODUCTS, UPSERT_PRODUCTS)
        if rows := changes.products.changed:
            fields = [_ENCODER.encode(fields).decode() for fields in rows.values()]
            changes.products.require(_keys(await connection.fetch(CHANGE_PRODUCTS, list(rows), fields)))
        if rows := changes.customers.created:
            await _create(connection, columns_of(_rows(rows, CUSTOMER_COLUMNS)), INSERT_CUSTOMERS, UPSERT_CUSTOMERS)
        if rows := changes.customers.changed:
            changed = columns_of(_rows(rows, CUSTOMER_COLUMNS))
            changes.customers.require(_keys(await connection.fetch(CHANGE_CUSTOMERS, *changed)))
        if rows := changes.doctors.created:
            await _create(connection, columns_of(_rows(rows, DOCTOR_COLUMNS)), INSERT_DOCTORS, UPSERT_DOCTORS)
        if rows := changes.doctors.changed:
            changed = columns_of(_rows(rows, ("doctor_id", "name", "version", "terms")))
            changes.doctors.require(_keys(await connection.fetch(CHANGE_DOCTORS, *changed)))

    async def erase(self, connection: Connection, subjects: Collection[str]) -> None:
        if customers := ids_of(subjects, "customers"):
            await connection.execute(ERASE_CUSTOMERS, customers)
        if doctors := ids_of(subjects, "doctors"):
            found = await connection.fetch(DOCTORS_TO_ERASE, doctors)
            terms = [doctor_terms(ERASED, row["speciality"]) for row in found]
            await connection.execute(ERASE_DOCTORS, [row["doctor_id"] for row in found], terms)


async def _create(connection: Connection, columns: Sequence[Row], insert: str, upsert: str) -> None:
    """Write rows, replacing those that exist. By statement, since COPY cannot convert text to a tsvector."""
    insert_rows = partial(connection.execute, insert, *columns)
    if len(columns[0]) < BULK_ROWS or not await try_insert(connection, insert_rows):
        await connection.execute(upsert, *columns)


def _rows(rows: dict[str, Fields], columns: Sequence[str]) -> list[Row]:
    """Each row's id, for the first column, then its fields of the other columns."""
    return [(key, *map(row.get, columns[1:])) for key, row in rows.items()]


def _keys(rows: Sequence[Any]) -> list[str]:
    return [row[0] for row in rows]


def _store(settings: Settings, number: int) -> SearchStore:
    schema = generation_name("search", number)
    return SearchStore(settings.store_url("search"), schema, languages=settings.stemmed_languages)


PROJECTION: Final = replace(in_postgres("search", SearchStore), store=_store)
