"""The search tables. In the oldest, ``words`` was searched before ``terms`` existed, and still is for rows that older code has written."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from projectors.models.search.projection import Changes
from projectors.stores.folding import Rows
from projectors.stores.tables import Table

PRODUCT_FACTS: Final = ("created_at", "available", "review_count", "rating_average")
"""Empty in rows that older code has written, and not verified there: a rebuild fills them."""
ORDER_COLUMNS: Final = (
    *("order_id", "customer_id", "status", "currency", "item_count", "total", "placed_at", "version", "terms"),
    "unnamed",
)
PRODUCT_COLUMNS: Final = (
    *("product_id", "name", "description", "category", "brand", "price", "currency", "version", "terms"),
    *PRODUCT_FACTS,
)
CUSTOMER_COLUMNS: Final = ("customer_id", "name", "version", "terms")
DOCTOR_COLUMNS: Final = ("doctor_id", "name", "speciality", "time_zone", "version", "terms")
"""The columns that the store writes, the key first, in the order of its statements' parameters."""


def _table(name: str, columns: tuple[str, ...]) -> Table[Changes]:
    """A table named like the kind of its rows' streams, without ``words``."""
    key = columns[0]

    def rows(changes: Changes) -> list[Mapping[str, Any]]:
        found: Rows = getattr(changes, name)
        return [{key: row_id, **fields} for row_id, fields in found.created.items()]

    return Table(name=name, columns=columns, key=(key,), stream=key, kind=name, rows=rows)


def _with_words(table: Table[Changes]) -> Table[Changes]:
    return replace(
        table,
        columns=(*table.columns, "words"),
        unverified={"words": "PostgreSQL's parser makes them: the events do not say which there are"},
        replaces={"terms": "words"} | {fact: "version" for fact in PRODUCT_FACTS if fact in table.columns},
    )


ORDERS: Final = _with_words(_table("orders", ORDER_COLUMNS))
PRODUCTS: Final = _with_words(_table("products", PRODUCT_COLUMNS))
CUSTOMERS: Final = _with_words(_table("customers", CUSTOMER_COLUMNS))
DOCTORS: Final = _table("doctors", DOCTOR_COLUMNS)

TABLES: Final = (ORDERS, PRODUCTS, CUSTOMERS, DOCTORS)
