"""What an event is in the journal: one row for an order, one for each of its lines, one for a product's name. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from projectors.stores.folding import each_event
from projectors.stores.port import Advance, Event
from shared.contracts.catalog import ProductCreated, ProductUpdated
from shared.contracts.orders import OrderCancelled, OrderPlaced
from shared.contracts.values import MAX_AMOUNT

Row = dict[str, Any]


def fold(advances: Sequence[Advance]) -> list[Row]:
    """Raises ProjectionError."""
    rows: list[Row] = []
    each_event(advances, lambda event: rows.extend(list(_rows(event))))
    return rows


def time_text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _rows(event: Event) -> Iterator[Row]:
    match event.data:
        case OrderPlaced() | OrderCancelled() as order:
            if not (0 <= order.total <= MAX_AMOUNT and 0 <= order.item_count <= MAX_AMOUNT):
                raise ValueError(f"no order is of {order.item_count} units and {order.total} {order.currency}")
            sign = 1 if isinstance(order, OrderPlaced) else -1
            key = {"stream": event.stream, "version": event.version}
            facts = {
                "sign": sign,
                "currency": order.currency,
                "placed_at": time_text(order.placed_at),
                "customer_id": order.customer_id,
            }
            sums = {"value": order.region or "", "items": order.item_count, "revenue": order.total}
            yield {"kind": "order", **key, **facts, **sums}
            for place, line in enumerate(order.lines):
                sums = {"value": line.category or "", "items": line.quantity, "revenue": line.amount}
                product = {"product_id": line.product_id, "name": (line.name or "") if sign > 0 else ""}
                yield {"kind": "line", "place": place, **key, **facts, **sums, **product}
        case ProductCreated() | ProductUpdated() as product:
            key = {"stream": event.stream, "version": event.version}
            yield {"kind": "name", **key, "product_id": product.product_id, "name": product.name}
        case _:
            pass  # not counted
