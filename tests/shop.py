"""Events of a small shop, for tests: each builder gives what a test does not care about a plain value."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, force_setattr

from projectors.stores.port import Advance, Event
from shared.contracts.accounts import UserRenamed
from shared.contracts.catalog import (
    PriceChanged,
    ProductCreated,
    ProductUpdated,
    ReviewAdded,
    StockConsumed,
    StockReceived,
    StockReleased,
    StockReserved,
    Variant,
)
from shared.contracts.customers import CustomerRegistered, CustomerRenamed, EmailChanged, RegionChanged
from shared.contracts.orders import (
    Line,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
)
from shared.contracts.registry import EVENTS
from shared.contracts.values import EventData, Fact
from shared.read_models import READ_MODELS

WITH_ORDERS = tuple(model.name for model in READ_MODELS if "orders" in model.kinds)
"""The read models that an order ends up in."""

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
ACTOR = "chief@example.org"
"""Who renames users; nothing else says who requested it."""
LINES = (
    Line(product_id="p-1", name="Banana", quantity=3, amount=150),
    Line(product_id="p-2", quantity=1, amount=250),
)


async def at_once() -> None:
    """A turn that nobody has to wait for."""


def event(data: EventData, stream: str, version: int = 1, lane: int = 0) -> Event:
    kind = EVENTS.get(type(data), ("tests.something-new", 1))[0]
    actor = ACTOR if isinstance(data, UserRenamed) else None
    return Event(f"{stream}@{version}", kind, stream, version, NOON, data, lane, actor)


def run(stream: str, *facts: EventData, expected: int = 0) -> Advance:
    """The facts as the events of a stream that come after version ``expected``."""
    return Advance(stream, expected, [event(data, stream, expected + 1 + i) for i, data in enumerate(facts)])


def line(product_id: str = "p-1", *, quantity: int = 1, amount: int = 100, category: Fact = UNSET) -> Line:
    return Line(product_id=product_id, name="Banana", quantity=quantity, amount=amount, category=category)


def placed(
    order_id: str = "o-1",
    *,
    customer_id: str = "c-1",
    currency: str = "EUR",
    lines: Sequence[Line] = LINES,
    total: int | None = None,
    at: datetime = NOON,
    region: Fact = UNSET,
    fulfilment: Fact = UNSET,
) -> OrderPlaced:
    return OrderPlaced(
        order_id=order_id,
        customer_id=customer_id,
        currency=currency,
        lines=tuple(lines),
        item_count=sum(line.quantity for line in lines),
        total=sum(line.amount for line in lines) if total is None else total,
        placed_at=at,
        region=region,
        fulfilment=fulfilment,
    )


def paid(order_id: str = "o-1", *, customer_id: str = "c-1", amount: int = 400, at: datetime = NOON) -> OrderPaid:
    return OrderPaid(order_id=order_id, customer_id=customer_id, amount=amount, currency="EUR", paid_at=at)


def confirmed(order_id: str = "o-1", *, customer_id: str = "c-1", at: datetime = NOON) -> OrderConfirmed:
    return OrderConfirmed(order_id=order_id, customer_id=customer_id, fulfilment="managed", confirmed_at=at)


def shipped(order_id: str = "o-1", *, at: datetime = NOON, fulfilment: Fact = UNSET) -> OrderShipped:
    return OrderShipped(order_id=order_id, carrier="DHL", tracking="T1", shipped_at=at, fulfilment=fulfilment)


def delivered(order_id: str = "o-1", *, at: datetime = NOON) -> OrderDelivered:
    return OrderDelivered(order_id=order_id, delivered_at=at)


def cancelled(order: OrderPlaced, *, reason: str = "changed my mind", at: datetime = NOON) -> OrderCancelled:
    return OrderCancelled(**asdict(order), reason=reason, cancelled_at=at)


def created(product_id: str = "p-1", *, name: str = "Banana", price: int = 50) -> ProductCreated:
    return ProductCreated(
        product_id=product_id,
        name=name,
        description="yellow",
        category="Fruit",
        brand="Sunny",
        price=price,
        currency="EUR",
        variants=(Variant(sku=f"{product_id}-s", size="S"),),
        created_at=NOON,
    )


def repriced(product_id: str = "p-1", *, price: int = 60, previous: int = 50) -> PriceChanged:
    return PriceChanged(product_id=product_id, previous_price=previous, price=price, currency="EUR", changed_at=NOON)


def updated(product_id: str = "p-1", *, name: str = "Red banana") -> ProductUpdated:
    return ProductUpdated(product_id=product_id, name=name, category="Fruit", updated_at=NOON)


def received(
    product_id: str = "p-1", *, quantity: int = 5, stock: int = 5, reserved: int | UnsetType = UNSET
) -> StockReceived:
    return StockReceived(product_id=product_id, quantity=quantity, stock=stock, received_at=NOON, reserved=reserved)


def reserved(
    product_id: str = "p-1", *, reservation_id: str = "o-1", quantity: int = 2, stock: int = 5, reserved: int = 2
) -> StockReserved:
    return StockReserved(
        product_id=product_id,
        reservation_id=reservation_id,
        quantity=quantity,
        stock=stock,
        reserved=reserved,
        reserved_at=NOON,
    )


def released(product_id: str = "p-1", *, stock: int = 5, reserved: int = 1) -> StockReleased:
    return StockReleased(
        product_id=product_id,
        reservation_id="o-1",
        quantity=1,
        open=reserved,
        stock=stock,
        reserved=reserved,
        released_at=NOON,
    )


def consumed(product_id: str = "p-1", *, stock: int = 4, reserved: int = 0) -> StockConsumed:
    return StockConsumed(
        product_id=product_id,
        reservation_id="o-1",
        quantity=1,
        open=reserved,
        stock=stock,
        reserved=reserved,
        consumed_at=NOON,
    )


def reviewed(product_id: str = "p-1", *, rating: int = 4, count: int = 1, total: int = 4) -> ReviewAdded:
    return ReviewAdded(
        product_id=product_id,
        review_id=f"r-{count}",
        rating=rating,
        review_count=count,
        rating_sum=total,
        added_at=NOON,
    )


def registered(customer_id: str = "c-1", *, name: str = "Ada", region: Fact = UNSET) -> CustomerRegistered:
    return CustomerRegistered(customer_id=customer_id, name=name, region=region, registered_at=NOON)


def renamed(customer_id: str = "c-1", *, name: str = "Ada L.") -> CustomerRenamed:
    return CustomerRenamed(customer_id=customer_id, name=name, previous_name="Ada", renamed_at=NOON)


def new_email(customer_id: str = "c-1", *, email: str = "ada@example.org") -> EmailChanged:
    return EmailChanged(customer_id=customer_id, email=email, changed_at=NOON)


def moved(customer_id: str = "c-1", *, region: str = "North") -> RegionChanged:
    return RegionChanged(customer_id=customer_id, region=region, changed_at=NOON)


class SomethingNew(EventData, frozen=True):
    """An event that no projection knows."""

    note: str = "new"


def poison(order_id: str = "o-1") -> OrderPlaced:
    """An event that no projection can read: its id is no key, and it has no time."""
    event = placed(order_id)
    force_setattr(event, "order_id", [order_id])
    force_setattr(event, "placed_at", None)
    return event


def unstorable(order_id: str = "o-1") -> OrderPlaced:
    """An event that no read store takes: its total is more than an order may come to, and than 64 bits."""
    return placed(order_id, total=2**63)
