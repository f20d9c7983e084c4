"""Products in the summary: a document of each, and every price that it has had."""

from collections.abc import Iterator
from typing import Final

from projectors.models.summary.documents import Appended, Documents, Row, Rule
from projectors.stores.folding import Fields
from projectors.stores.port import Event
from shared.contracts.catalog import (
    PriceChanged,
    ProductCreated,
    ProductUpdated,
    ReviewAdded,
    StockConsumed,
    StockReceived,
    StockReleased,
    StockReserved,
)

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

APPEND_PRICES: Final = """
INSERT INTO price_history (product_id, version, price, currency, at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])
"""


def _product_created(data: ProductCreated) -> Fields:
    return {
        "product_id": data.product_id,
        "name": data.name,
        "description": data.description,
        "category": data.category,
        "brand": data.brand,
        "price": data.price,
        "currency": data.currency,
        "variants": data.variants,
        "stock": 0,
        "rating_average": None,
        "review_count": 0,
    }


def _price_changed(data: PriceChanged) -> Fields:
    return {"price": data.price, "currency": data.currency}


def _product_updated(data: ProductUpdated) -> Fields:
    return {"name": data.name, "description": data.description, "category": data.category, "brand": data.brand}


def _stock_received(data: StockReceived) -> Fields:
    return {"stock": data.stock}


def _reservations_changed(data: StockReserved | StockReleased | StockConsumed) -> Fields:
    """Only these events put ``reserved`` into a document, so that the others' documents are the same as older code has written."""
    return {"stock": data.stock, "reserved": data.reserved}


def _review_added(data: ReviewAdded) -> Fields:
    return {"rating_average": round(data.rating_sum / data.review_count, 2), "review_count": data.review_count}


def _price(event: Event) -> Iterator[Row]:
    data = event.data
    if isinstance(data, ProductCreated | PriceChanged):
        at = data.created_at if isinstance(data, ProductCreated) else data.changed_at
        yield data.product_id, event.version, data.price, data.currency, at


DOCUMENTS: Final = Documents(
    name="products",
    columns=("product_id", "name", "category", "version"),
    create=CREATE_PRODUCTS,
    change=CHANGE_PRODUCTS,
    rules={
        ProductCreated: Rule("created_at", _product_created, creates=True),
        PriceChanged: Rule("changed_at", _price_changed),
        ProductUpdated: Rule("updated_at", _product_updated),
        StockReceived: Rule("received_at", _stock_received),
        StockReserved: Rule("reserved_at", _reservations_changed),
        StockReleased: Rule("released_at", _reservations_changed),
        StockConsumed: Rule("consumed_at", _reservations_changed),
        ReviewAdded: Rule("added_at", _review_added),
    },
)
PRICE_HISTORY: Final = Appended(
    name="price_history",
    columns=("product_id", "version", "price", "currency", "at"),
    key=("product_id", "version"),
    stream="product_id",
    kind="products",
    insert=APPEND_PRICES,
    rows={ProductCreated: _price, PriceChanged: _price},
)
