"""Baskets in the summary: the products that were bought together, for each order that is not cancelled and has several."""

from typing import Final

from projectors.models.summary.documents import Current, Row
from shared.contracts.orders import OrderCancelled, OrderPlaced

# Products come as an array's text, since unnest flattens arrays of arrays.
WRITE_BASKETS: Final = """
INSERT INTO baskets (order_id, products)
SELECT order_id, products::text[] FROM unnest($1::text[], $2::text[]) AS placed (order_id, products)
ON CONFLICT (order_id) DO UPDATE SET products = excluded.products
"""
REMOVE_BASKETS: Final = "DELETE FROM baskets WHERE order_id = ANY($1::text[])"


def _placed(data: OrderPlaced) -> Row | None:
    """Sorted, so that the row does not depend on the order of the lines."""
    products = sorted({line.product_id for line in data.lines})
    return (data.order_id, products) if len(products) > 1 else None


def _cancelled(_: OrderCancelled) -> None:
    return None


def _values(row: Row) -> Row:
    """Ids have no quotation mark and no backslash, so nothing needs escaping."""
    order_id, products = row
    return order_id, '{"' + '","'.join(products) + '"}'


BASKETS: Final = Current(
    name="baskets",
    columns=("order_id", "products"),
    kind="orders",
    write=WRITE_BASKETS,
    remove=REMOVE_BASKETS,
    rows={OrderPlaced: _placed, OrderCancelled: _cancelled},
    values=_values,
)
