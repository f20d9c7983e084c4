"""The summary's tables: documents with the columns that queries search by, and the history, one row for each event."""

from collections.abc import Mapping
from typing import Any, Final

from projectors.models.summary.projection import Changes, HistoryRow, PriceRow
from projectors.stores.folding import Rows
from projectors.stores.tables import Table

ORDER_COLUMNS: Final = (
    *("order_id", "customer_id", "status", "currency", "item_count", "total", "placed_at", "updated_at", "version"),
)
PRODUCT_COLUMNS: Final = ("product_id", "name", "category", "version")
CUSTOMER_COLUMNS: Final = ("customer_id", "name", "version")
"""The fields of the document that are columns too, the key first."""


def _documents(name: str, fields: tuple[str, ...]) -> Table[Changes]:
    """A table of documents, named like the kind of their streams."""
    key = fields[0]

    def rows(changes: Changes) -> list[Mapping[str, Any]]:
        found: Rows = getattr(changes, name)
        return [{field: document[field] for field in fields} | {"doc": document} for document in found.created.values()]

    return Table(name=name, columns=(*fields, "doc"), key=(key,), stream=key, kind=name, rows=rows, json=("doc",))


ORDERS: Final = _documents("orders", ORDER_COLUMNS)
PRODUCTS: Final = _documents("products", PRODUCT_COLUMNS)
CUSTOMERS: Final = _documents("customers", CUSTOMER_COLUMNS)
HISTORY: Final = Table[Changes](
    name="history",
    columns=HistoryRow._fields,
    key=("stream", "version"),
    stream="stream",
    kind=None,
    rows=lambda changes: [row._asdict() for row in changes.history],
    json=("data",),
)
PRICE_HISTORY: Final = Table[Changes](
    name="price_history",
    columns=PriceRow._fields,
    key=("product_id", "version"),
    stream="product_id",
    kind="products",
    rows=lambda changes: [price._asdict() for price in changes.prices],
)

TABLES: Final = (ORDERS, PRODUCTS, CUSTOMERS, HISTORY, PRICE_HISTORY)
